#include "base/text.hpp"
#include "claudy/import_reader.hpp"
#include "json/json.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <nlohmann/json.hpp>

namespace {

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

}  // namespace

/** Whatever a file says, each server has either an entry that is a JSON object or the reason why not. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hal;
  const claudy::ImportContext context{[](const std::string& name) -> std::optional<std::string> {
                                        return name == "SET" ? std::optional<std::string>("${x}") : std::nullopt;
                                      },
                                      "/people/u", "/people/u/project"};
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  for (const auto format : {claudy::ImportFormat::mcp_json, claudy::ImportFormat::claude_code}) {
    const auto servers = claudy::read_import(text, format, context);
    if (!servers) {
      require(!servers.error().message.empty());
      continue;
    }
    require(servers->size() <= claudy::max_import_servers);
    for (const auto& server : *servers) {
      require(server.skipped.empty() != server.entry.empty());
      if (server.skipped.empty()) {
        const auto entry = json::parse(server.entry);
        require(text::is_name(server.name) && entry && entry->is_object());
        require(entry->contains("command") != entry->contains("url"));
      }
      require(!server.package || server.package->package.starts_with("npm:") ||
              server.package->package.starts_with("pypi:"));
    }
  }
  return 0;
}
