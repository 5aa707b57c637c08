#include "base/error.hpp"
#include "base/limits.hpp"
#include "base/text.hpp"
#include "server/config.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

}  // namespace

/** Whatever an mcp.json says, it gives servers within their limits or an error that names the file. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hal;
  const server::ConfigOptions options{"/var/lib/hal9000/server",
                                      {{"LIBEXEC", "/usr/libexec"}, {"EMPTY", ""}},
                                      "/usr/libexec/hal9000/hal9000-remote",
                                      ""};
  const auto result = server::parse_servers({reinterpret_cast<const char*>(data), size}, "mcp.json", options);
  if (!result) {
    require(result.error().message.starts_with("mcp.json: "));
    require(result.error().code == Errc::invalid_argument || result.error().code == Errc::limit);
    return 0;
  }
  require(result->servers.size() <= server::max_servers);
  for (const auto& config : result->servers) {
    require(text::is_name(config.name));
    require(!config.argv.empty() && !config.argv.front().empty() && config.argv.size() <= limits::argv_words);
    require(config.env.size() <= limits::env_entries);
    require(config.cwd.empty() || config.cwd.front() == '/');
    require(config.max_sessions > 0 && config.stop_timeout.count() >= 0 && config.request_timeout.count() >= 0);
    for (const auto& word : config.argv) {
      require(word.find('\0') == std::string::npos);
    }
    for (const auto& [name, value] : config.remote ? config.remote->headers : decltype(config.env)()) {
      require((name + value).find_first_of(std::string_view("\0\r\n", 3)) == std::string::npos);
    }
    require(!config.remote || config.remote->url.starts_with("http"));
    require(server::fingerprint(config).size() == 16);
  }
  return 0;
}
