#include "image/build_output.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace {

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

}  // namespace

/** Whatever scripts print, and in whatever pieces it comes: steps are steps, and what is kept stays within bounds. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hal;
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  image::BuildOutput whole;
  image::BuildOutput split;
  const auto last = whole.feed(text);
  std::optional<image::Step> last_of_pieces;
  for (std::size_t i = 0; i < size; i += 7) {
    if (auto step = split.feed(text.substr(i, 7))) {
      last_of_pieces = std::move(step);
    }
  }
  require(last.has_value() == last_of_pieces.has_value());
  if (last) {
    require(last->fraction >= 0 && last->fraction <= 1 && last->message == last_of_pieces->message);
  }
  require(whole.last_lines() == split.last_lines() && whole.last_lines().size() < 4096);
  if (const auto generations = image::read_generations(text)) {
    require(generations->size() <= 256);
  }
  return 0;
}
