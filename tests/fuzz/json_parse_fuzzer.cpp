#include "json/json.hpp"

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <nlohmann/json.hpp>

/** What is read can be written and read again, and is the same. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto value = hal::json::parse({reinterpret_cast<const char*>(data), size});
  if (value) {
    const auto text = hal::json::dump(*value);
    const auto again = hal::json::parse(text);
    if (!again || hal::json::dump(*again) != text) {
      std::abort();
    }
  }
  return 0;
}
