#include "claudy/trace_view.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace hal;

/** The first byte tells how long the pieces are. What is shown does not depend on it, and no terminal obeys it. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  const std::size_t piece = data[0] + std::size_t{1};
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  claudy::TraceView whole({});
  claudy::TraceView parted({});
  const auto expected = whole.feed(text);
  std::string shown;
  for (std::size_t at = 0; at < text.size(); at += piece) {
    shown += parted.feed(text.substr(at, piece));
  }
  const bool obeyed = std::any_of(shown.begin(), shown.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && byte != '\n') || byte == 0x7f;
  });
  if (shown != expected || obeyed || shown.find("\xc2\x9b") != std::string::npos) {
    std::abort();
  }
  return 0;
}
