#include "event/loop.hpp"
#include "hub/hub.hpp"
#include "io/listener.hpp"

#include <sys/socket.h>

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

using namespace hal;

namespace {

/** More than the seeds have. */
constexpr int pairs = 12;

}  // namespace

/** What a gateway has left is refused, or can be left again. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static event::Loop loop;
  std::vector<UniqueFd> descriptors;
  for (int i = 0; i < pairs; ++i) {
    auto pair = io::socket_pair(SOCK_STREAM);
    descriptors.push_back(std::move(pair->ours));
    descriptors.push_back(std::move(pair->theirs));
  }
  hub::Hub hub(loop, [](link::ToDaemon) {});
  Loader archive({reinterpret_cast<const char*>(data), size}, std::move(descriptors));
  hub.load(archive);
  if (archive.complete()) {
    Saver again;
    hub.save(again);
  }
  return 0;
}
