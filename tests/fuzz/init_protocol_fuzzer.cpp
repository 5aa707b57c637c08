#include "init/protocol.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

// What decodes is a message that encodes to the same bytes: nothing is taken for something else.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view datagram(reinterpret_cast<const char*>(data), size);
  if (const auto request = hal::init::decode_request(datagram)) {
    const auto again = hal::init::encode(*request);
    if (!again || *again != datagram) {
      std::abort();
    }
  }
  if (const auto record = hal::init::decode_record(datagram)) {
    if (hal::init::encode(*record) != datagram) {
      std::abort();
    }
  }
  return 0;
}
