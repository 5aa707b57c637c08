#include "install/inspect.hpp"
#include "install/package.hpp"
#include "install/recipe.hpp"

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

/** A package's name is itself again or refused and never an option; what others print or write stays within bounds. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hal;
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  const auto first = text.substr(0, text.find('\n'));
  if (const auto package = install::parse_package(first); package) {
    require(package->text() == first);
    require(!package->requirement().starts_with("-") && package->requirement().find(' ') == std::string::npos);
  }
  for (const auto& name : install::console_scripts(text)) {
    require(!name.empty() && name.find('/') == std::string::npos);
  }
  require(install::failure({install::Registry::npm, "a", "1"}, text, "exited").message.size() < 4096);
  return 0;
}
