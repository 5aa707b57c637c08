#include "bus/variant.hpp"

#include "bus/compat.hpp"

#include <cstdint>
#include <vector>

namespace hal::bus {

namespace {

constexpr std::size_t max_options = 64;

/** True if `variant` holds a T, which is then in `value`. */
template <class T>
bool read(const sdbus::Variant& variant, Value& value) {
  if (!variant.containsValueOfType<T>()) {
    return false;
  }
  value = variant.get<T>();
  return true;
}

Value to_value(const sdbus::Variant& variant) {
  Value value = OtherValue{};
  if (variant.containsValueOfType<sdbus::UnixFd>()) {
    return compat::from_bus(variant.get<sdbus::UnixFd>());
  }
  if (read<bool>(variant, value) || read<std::uint16_t>(variant, value) || read<std::uint32_t>(variant, value) ||
      read<std::uint64_t>(variant, value) || read<double>(variant, value) || read<std::string>(variant, value) ||
      read<std::vector<std::string>>(variant, value) || read<std::map<std::string, std::string>>(variant, value)) {
    return value;
  }
  return OtherValue{variant.peekValueType()};
}

}  // namespace

std::vector<LatencyBucket> to_buckets(const Latency& latency) {
  std::vector<LatencyBucket> buckets;
  for (std::size_t i = 0; i < Latency::buckets; ++i) {
    buckets.emplace_back(Latency::bound_usec(i), latency.counts[i]);
  }
  while (!buckets.empty() && buckets.back().get<1>() == 0) {
    buckets.pop_back();
  }
  return buckets;
}

Result<Values> to_values(const std::map<std::string, sdbus::Variant>& options) {
  if (options.size() > max_options) {
    return Error{Errc::limit, "there are not so many options"};
  }
  Values values;
  for (const auto& [key, variant] : options) {
    values.emplace(key, to_value(variant));
  }
  return values;
}

}  // namespace hal::bus
