#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace hal {

/** An identifier that cannot be mistaken for one of another kind: `using WorkerId = StrongId<struct WorkerTag, …>`. */
template <class Tag, class Value>
struct StrongId {
  Value value{};

  friend auto operator<=>(const StrongId&, const StrongId&) = default;
  friend bool operator==(const StrongId&, const StrongId&) = default;
};

/** Names one worker for all its life, in D-Bus paths, labels and folders: 12 lower-case hexadecimal digits. */
using WorkerId = StrongId<struct WorkerTag, std::string>;

/** A container's identifier as the engine gives it. */
using ContainerId = StrongId<struct ContainerTag, std::string>;

/** One running process of an MCP server; never used twice, not even over a restart of the daemon. */
using InstanceId = StrongId<struct InstanceTag, std::uint64_t>;

/** One program started inside a worker; never used twice, not even over a restart of the daemon. */
using ExecId = StrongId<struct ExecTag, std::uint64_t>;

}  // namespace hal

template <class Tag, class Value>
struct std::hash<hal::StrongId<Tag, Value>> {
  std::size_t operator()(const hal::StrongId<Tag, Value>& id) const noexcept { return std::hash<Value>{}(id.value); }
};
