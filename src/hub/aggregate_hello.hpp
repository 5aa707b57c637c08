#pragma once

#include "base/result.hpp"

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

/** The handshake and the lists of the aggregated endpoint. Pure. */
namespace hal::hub {

/** What can be listed. */
enum class List { tools, prompts, resources, templates, tasks };
inline constexpr std::size_t list_count = 5;

struct ListSpec {
  std::string_view method;
  /** The array of the result, and the member that names each of its elements. */
  std::string_view key;
  std::string_view id;
  /** The name gets the server's before it. */
  bool prefixed;
};
[[nodiscard]] const ListSpec& spec_of(List list);

/** What a member's InitializeResult says. */
struct MemberHello {
  /** By List. */
  std::array<bool, list_count> has{};
  bool subscribe = false;
  bool logging = false;
  std::string instructions;
};
[[nodiscard]] Result<MemberHello> read_member_hello(std::string_view result);

/**
 * The answer to a client's initialize. It announces all that can be passed on, for the members have not been asked yet.
 */
[[nodiscard]] std::string aggregate_hello(std::string_view revision, const std::string& instructions);
/** In answer to a client that asks for this revision. */
[[nodiscard]] std::string_view aggregate_revision(std::string_view client_revision);

}  // namespace hal::hub
