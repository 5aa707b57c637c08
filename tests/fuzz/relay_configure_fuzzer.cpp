#include "relay/configure.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

// What is merged once needs no change when merged again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)hal::relay::read_offer(text);
  const hal::relay::Offer offer{{"a", "b"}, {"c"}};
  if (const auto merged = hal::relay::merge(text, offer)) {
    const auto again = hal::relay::merge(*merged, offer);
    if (!again || *again != *merged) {
      std::abort();
    }
  }
  return 0;
}
