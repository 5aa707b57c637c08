#include "link/messages.hpp"

#include <cstdint>
#include <string>
#include <utility>

using namespace hal;

/** What one end understands, it can say again. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (auto message = link::decode_to_gateway({text, {}})) {
    (void)link::encode(std::move(*message));
  }
  if (auto message = link::decode_to_daemon({text, {}})) {
    (void)link::encode(std::move(*message));
  }
  return 0;
}
