#include "worker/pool_state.hpp"

#include "base/log.hpp"
#include "json/json.hpp"
#include "worker/state_file.hpp"

#include <limits>

#include <nlohmann/json.hpp>

namespace hal::worker {

namespace {

template <class T, class Number>
Result<void> take(const nlohmann::json& object, const char* key, std::optional<T>& target) {
  const auto number = json::optional_unsigned_at(object, key);
  if (!number) {
    return number.error();
  }
  if (*number && **number > static_cast<std::uint64_t>(std::numeric_limits<Number>::max())) {
    return Error{Errc::protocol, std::string(key) + ": is too large"};
  }
  if (*number) {
    target = T(static_cast<Number>(**number));
  }
  return {};
}

}  // namespace

Result<PoolState> pool_state_from_json(std::string_view text) {
  const auto document = json::parse(text);
  if (!document) {
    return document.error();
  }
  PoolState state;
  const auto drained = json::optional_bool_at(*document, "drained");
  if (!drained) {
    return drained.error();
  }
  state.drained = drained->value_or(false);
  for (const auto& read :
       {take<std::uint32_t, std::uint32_t>(*document, "min", state.change.min),
        take<std::uint32_t, std::uint32_t>(*document, "max", state.change.max),
        take<std::chrono::microseconds, std::int64_t>(*document, "idle_timeout_usec", state.change.idle_timeout)}) {
    if (!read) {
      return read.error();
    }
  }
  return state;
}

std::string to_json(const PoolState& state) {
  nlohmann::json document{{"drained", state.drained}};
  if (state.change.min) {
    document["min"] = *state.change.min;
  }
  if (state.change.max) {
    document["max"] = *state.change.max;
  }
  if (state.change.idle_timeout) {
    document["idle_timeout_usec"] = static_cast<std::uint64_t>(state.change.idle_timeout->count());
  }
  return json::dump(document) + "\n";
}

PoolState load_pool_state(const std::string& path) {
  const auto text = read_state_file(path);
  auto state = text ? pool_state_from_json(*text) : Result<PoolState>(text.error());
  if (state) {
    return *std::move(state);
  }
  if (state.error().code != Errc::not_found) {
    log::warning({}, "{}: {}; the pool is as the configuration says", path, state.error().message);
  }
  return {};
}

Result<void> save_pool_state(const std::string& path, const PoolState& state) {
  return replace_state_file(path, to_json(state));
}

}  // namespace hal::worker
