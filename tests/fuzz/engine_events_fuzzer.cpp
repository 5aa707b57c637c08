#include "engine/event_reader.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct Outcome {
  std::vector<std::string> events;
  bool broken = false;

  bool operator==(const Outcome&) const = default;
};

Outcome read(std::string_view bytes, std::size_t pieces) {
  hal::engine::EventReader reader;
  Outcome outcome;
  while (!bytes.empty() && !outcome.broken) {
    reader.feed(bytes.substr(0, pieces));
    bytes.remove_prefix(std::min(pieces, bytes.size()));
    for (;;) {
      const auto event = reader.next();
      outcome.broken = !event;
      if (!event || !*event) {
        break;
      }
      outcome.events.push_back((*event)->id.value + std::to_string(static_cast<int>((*event)->kind)));
    }
  }
  return outcome;
}

}  // namespace

/** However the stream is cut, the same events come out up to the same error. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto whole = read(bytes, std::max<std::size_t>(size, 1));
  if (read(bytes, 1) != whole || read(bytes, 13) != whole) {
    std::abort();
  }
  return 0;
}
