#include "remote/event_parser.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace hal;

namespace {

constexpr std::size_t limit = 64;

struct Outcome {
  std::vector<std::string> events;
  std::string last_id;
  std::size_t overlong = 0;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome read(std::string_view bytes, std::size_t step) {
  remote::EventParser parser(limit);
  Outcome outcome;
  while (!bytes.empty()) {
    std::optional<remote::Event> event;
    const auto taken = parser.feed(bytes.substr(0, step), event);
    if (taken == 0 || taken > bytes.size() || parser.pending() > limit) {
      std::abort();
    }
    bytes.remove_prefix(taken);
    if (event) {
      if (event->data.empty() || event->type.find_first_of("\r\n") != std::string::npos ||
          event->data.find('\r') != std::string::npos) {
        std::abort();
      }
      outcome.events.push_back(event->type + '\0' + event->data);
    }
    outcome.overlong += parser.take_overlong();
  }
  outcome.last_id = parser.last_id();
  if (outcome.last_id.find_first_of(std::string_view("\0\r\n", 3)) != std::string::npos) {
    std::abort();  // it goes into a header
  }
  return outcome;
}

}  // namespace

/** An event stream means the same in whatever pieces it comes, and nothing over the limit is kept. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (read(bytes, bytes.size()) != read(bytes, 1 + data[0] % 16U)) {
    std::abort();
  }
  return 0;
}
