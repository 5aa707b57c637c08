#include "engine/log_demux.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

struct Outcome {
  std::string text;
  bool broken = false;
  bool at_border = false;

  bool operator==(const Outcome&) const = default;
};

Outcome demux(std::string_view bytes, std::size_t pieces, std::size_t bites) {
  hal::engine::LogDemux demux;
  Outcome outcome;
  while (!bytes.empty() && !outcome.broken) {
    auto input = bytes.substr(0, pieces);
    bytes.remove_prefix(input.size());
    while (!input.empty()) {
      const auto piece = demux.next(input);
      if (!piece) {
        outcome.broken = true;
        break;
      }
      const auto bite = std::min(bites, piece->payload.size());
      if (piece->skipped + bite == 0) {
        std::abort();  // would never end
      }
      outcome.text += piece->payload.substr(0, bite);
      demux.took(bite);
      input.remove_prefix(piece->skipped + bite);
    }
  }
  outcome.at_border = demux.at_border();
  return outcome;
}

}  // namespace

/** However the stream is cut, the same comes out. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto whole = demux(bytes, std::max<std::size_t>(size, 1), SIZE_MAX);
  if (demux(bytes, 1, SIZE_MAX) != whole || demux(bytes, 13, 3) != whole) {
    std::abort();
  }
  return 0;
}
