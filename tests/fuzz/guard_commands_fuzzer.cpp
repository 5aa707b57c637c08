#include "guard/hook.hpp"
#include "guard/rules.hpp"
#include "guard/shell.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

// What is refused by itself is refused behind another command, and as a script of a shell's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr hal::guard::Guards guards{true, true, true};
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)hal::guard::objection_to_tool(text, guards);
  if (!hal::guard::objection_to_script(text, guards)) {
    return 0;
  }
  if (!hal::guard::objection_to_script("true\n" + std::string(text), guards)) {
    std::abort();
  }
  if (text.find('\'') == std::string_view::npos &&
      !hal::guard::objection_to_script("sh -c '" + std::string(text) + "'", guards)) {
    std::abort();
  }
  return 0;
}
