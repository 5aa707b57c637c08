#include "server/remote_reader.hpp"

#include "base/text.hpp"
#include "json/json.hpp"
#include "server/expand.hpp"
#include "server/remote_settings.hpp"
#include "server/units.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::server {

namespace {

using nlohmann::json;
using Variables = std::map<std::string, std::string>;

constexpr std::size_t max_url_bytes = 8192;
constexpr std::size_t max_headers = 64;
constexpr std::size_t max_header_bytes = 32 * 1024;
constexpr std::chrono::milliseconds min_timeout{1'000};

Error at(std::string_view path, std::string_view problem) {
  return {Errc::invalid_argument, fmt::format("{}: {}", path, problem)};
}

std::string below(std::string_view path, std::string_view key) {
  return fmt::format("{}.{}", path, text::printable(key));
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

/** Where the URL leads, without user, path and query; empty where it is none. */
std::string_view authority_of(std::string_view url) {
  const auto start = url.find("://");
  const auto rest = start == std::string_view::npos ? std::string_view() : url.substr(start + 3);
  return rest.substr(0, rest.find_first_of("/?#"));
}

bool is_loopback(std::string_view authority) {
  for (const auto host : {"localhost", "127.0.0.1", "[::1]"}) {
    const auto rest = authority.starts_with(host) ? authority.substr(std::string_view(host).size()) : "x";
    if (rest.empty() || rest.front() == ':') {
      return true;
    }
  }
  return false;
}

/** Errors do not repeat the URL: keys are in some. hal9000-remote reads it with the library it connects with. */
Result<void> check_url(std::string_view url, const std::string& path) {
  const bool plain = std::ranges::all_of(url, [](unsigned char c) { return c > 0x20 && c < 0x7f; });
  if (!plain || url.size() > max_url_bytes || !(url.starts_with("http://") || url.starts_with("https://")) ||
      authority_of(url).empty()) {
    return at(path, "must be a URL that begins with https:// or http://");
  }
  if (authority_of(url).find('@') != std::string_view::npos) {
    return at(path, "has a user in it; put credentials into \"headers\"");
  }
  return {};
}

bool is_header_name(std::string_view name) {
  return !name.empty() && name.size() <= 256 && std::ranges::all_of(name, [](unsigned char c) {
    return std::isalnum(c) != 0 || std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string::npos;
  });
}

/** Those that the transport sets itself. */
bool is_reserved(std::string_view name) {
  constexpr std::array reserved{"accept",     "content-length",    "content-type", "connection", "expect", "host",
                                "keep-alive", "transfer-encoding", "te",           "trailer",    "upgrade"};
  const auto word = lower(name);
  return std::ranges::find(reserved, word) != reserved.end() || word == "last-event-id" || word.starts_with("mcp-");
}

Result<void> read_headers(const json& object, const std::string& path, const Variables& variables,
                          RemoteServer& remote) {
  const auto headers = hal::json::optional_object_at(object, "headers", path);
  if (!headers) {
    return Error{Errc::invalid_argument, headers.error().message};
  }
  if (*headers == nullptr) {
    return {};
  }
  const auto inside = below(path, "headers");
  std::size_t bytes = 0;
  for (const auto& [name, ignored] : (*headers)->items()) {
    const auto place = below(inside, name);
    const auto raw = hal::json::string_at(**headers, name, inside);
    if (!raw) {
      return Error{Errc::invalid_argument, raw.error().message};
    }
    if (!is_header_name(name) || is_reserved(name)) {
      return at(place, is_reserved(name) ? "is set by the transport itself" : "is no name of a header");
    }
    auto value = expand_member(*raw, place, variables);
    if (!value) {
      return value.error();
    }
    if (auto checked = check_header_value(*value); !checked) {
      return at(place, checked.error().message);
    }
    bytes += name.size() + value->size();
    remote.headers[name] = *std::move(value);
  }
  if (remote.headers.size() > max_headers || bytes > max_header_bytes) {
    return at(inside, fmt::format("has more than {} headers or {} bytes", max_headers, max_header_bytes));
  }
  return {};
}

/** As other clients have it, a number is milliseconds. */
Result<void> read_timeout(const json& object, const std::string& path, RemoteServer& remote) {
  const auto* value = hal::json::find(object, "timeout");
  if (value == nullptr || value->is_null()) {
    return {};
  }
  const auto* text = value->get_ptr<const json::string_t*>();
  if (text == nullptr && !value->is_number_unsigned()) {
    return at(below(path, "timeout"), "must be milliseconds, or a text like '30s'");
  }
  const auto time = parse_duration(text != nullptr ? *text : fmt::format("{}ms", value->get<std::uint64_t>()));
  if (!time || *time < min_timeout) {
    return at(below(path, "timeout"), time ? "must be at least 1 s (a number is milliseconds)" : time.error().message);
  }
  remote.timeout = *time;
  return {};
}

Result<void> read_proxy(const json& object, const std::string& path, const Variables& variables, RemoteServer& remote) {
  const auto own = hal::json::optional_object_at(object, "hal9000", path);
  const auto place = below(path, "hal9000");
  if (!own || *own == nullptr) {
    return {};  // a wrong type is told by who reads the rest of it
  }
  const auto proxy = hal::json::optional_string_at(**own, "proxy", place);
  if (!proxy) {
    return Error{Errc::invalid_argument, proxy.error().message};
  }
  if (*proxy) {
    auto value = expand_member(**proxy, below(place, "proxy"), variables);
    if (!value) {
      return value.error();
    }
    if (!value->starts_with("http://") && !value->starts_with("https://")) {
      return at(below(place, "proxy"), "must be a URL that begins with http:// or https://");
    }
    remote.proxy = *std::move(value);
  }
  return {};
}

}  // namespace

Result<std::optional<RemoteServer::Transport>> read_transport(std::string_view type) {
  using Transport = RemoteServer::Transport;
  if (type == "stdio") {
    return std::optional<Transport>();
  }
  std::string letters;
  std::ranges::copy_if(lower(type), std::back_inserter(letters), [](char c) { return c != '-' && c != '_'; });
  if (letters == "http" || letters == "streamablehttp") {
    return std::optional(Transport::http);
  }
  if (letters == "sse") {
    return std::optional(Transport::sse);
  }
  return Error{Errc::invalid_argument,
               fmt::format("'{}' is not supported, only 'stdio', 'http' and 'sse' are", text::printable(type))};
}

const char* url_key(const json& object) {
  for (const auto* key : {"url", "serverUrl", "httpUrl"}) {
    if (const auto* value = hal::json::find(object, key); value != nullptr && !value->is_null()) {
      return key;
    }
  }
  return nullptr;
}

Result<void> read_remote(const json& object, const std::string& path, const Variables& variables, RemoteServer& remote,
                         std::vector<std::string>& notes) {
  const auto* key = url_key(object);
  const auto place = below(path, key != nullptr ? key : "url");
  const auto raw = hal::json::string_at(object, key != nullptr ? key : "url", path);
  if (!raw) {
    return Error{Errc::invalid_argument, raw.error().message};
  }
  auto url = expand_member(*raw, place, variables);
  if (!url) {
    return url.error();
  }
  if (auto checked = check_url(*url, place); !checked) {
    return checked;
  }
  remote.url = *std::move(url);
  if (auto done = read_headers(object, path, variables, remote); !done) {
    return done;
  }
  if (auto done = read_timeout(object, path, remote); !done) {
    return done;
  }
  if (remote.url.starts_with("http://") && !remote.headers.empty() && !is_loopback(authority_of(remote.url))) {
    notes.push_back(fmt::format("{}: headers go over the network unencrypted; https:// would protect them", place));
  }
  return read_proxy(object, path, variables, remote);
}

}  // namespace hal::server
