#include "host/claude_settings.hpp"
#include "host/kernel_log.hpp"
#include "host/usage.hpp"

#include <cstdint>
#include <cstdlib>
#include <string_view>

/** Whatever the kernel's texts hold, a name is short and printable; settings without secrets have no more of them. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const char c : hal::host::memory_victim(text, "c1")) {
    if (c < ' ' || c == 0x7f) {
      std::abort();
    }
  }
  bool version_1 = false;
  (void)hal::host::cgroup_folder(hal::host::parse_cgroup_mounts(text), text, "pids", version_1);
  if (const auto settings = hal::host::settings_for_worker(text)) {
    const auto again = hal::host::settings_for_worker(*settings);
    if (!again || *again != *settings) {
      std::abort();
    }
  }
  return 0;
}
