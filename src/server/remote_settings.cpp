#include "server/remote_settings.hpp"

#include "base/text.hpp"
#include "base/unique_fd.hpp"
#include "json/json.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::server {

namespace {

constexpr std::string_view marker = "credential:";
/** A token; certificates and keys are not for headers. */
constexpr std::size_t max_credential_bytes = 16 * 1024;

bool is_value(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= 0x20 && c <= 0x7e) || c == '\t'; });
}

/** Where in the value the name of a credential begins, behind the marker. */
std::size_t find_credential(std::string_view value) {
  const auto blank = value.find(' ');
  const std::size_t start = blank == std::string_view::npos ? 0 : blank + 1;
  if (value.substr(start).starts_with(marker)) {
    return start + marker.size();
  }
  return std::string_view::npos;
}

Result<std::string> read_credential(const std::string& directory, std::string_view name) {
  if (directory.empty()) {
    return Error{Errc::not_found,
                 fmt::format("there is no credential {}: hal9000d was started without any (LoadCredential=)", name)};
  }
  const UniqueFd fd(::open(fmt::format("{}/{}", directory, name).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) {
    return errno == ENOENT ? Error{Errc::not_found, fmt::format("there is no credential {}", name)}
                           : errno_error(fmt::format("credential {}", name));
  }
  std::string text(max_credential_bytes + 1, '\0');
  std::size_t size = 0;
  for (ssize_t bytes = 1; bytes > 0 && size < text.size(); size += static_cast<std::size_t>(bytes)) {
    bytes = ::read(fd.get(), text.data() + size, text.size() - size);
    if (bytes < 0) {
      return errno_error(fmt::format("credential {}", name));
    }
  }
  text.resize(size);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) {
    text.pop_back();
  }
  if (text.empty() || text.size() > max_credential_bytes || !is_value(text)) {
    return Error{Errc::invalid_argument, fmt::format("credential {}: is not one line of text", name)};
  }
  return text;
}

}  // namespace

Result<void> check_header_value(std::string_view value) {
  if (!is_value(value)) {
    return Error{Errc::invalid_argument, "has characters that no header may have"};
  }
  if (const auto start = find_credential(value);
      start != std::string_view::npos && !text::is_name(value.substr(start))) {
    return Error{Errc::invalid_argument, "a credential's name has letters, digits, '.', '_' and '-', 64 at most"};
  }
  return {};
}

Result<std::string> first_line(const ServerConfig& config) {
  if (!config.remote) {
    return std::string();
  }
  const auto& remote = *config.remote;
  auto headers = nlohmann::json::object();
  for (const auto& [name, value] : remote.headers) {
    const auto start = find_credential(value);
    if (start == std::string::npos) {
      headers[name] = value;
      continue;
    }
    auto secret = read_credential(remote.credentials_directory, std::string_view(value).substr(start));
    if (!secret) {
      return secret.error().with(fmt::format("header {}", name));
    }
    headers[name] = value.substr(0, start - marker.size()) + *secret;
  }
  return json::dump({{"url", remote.url},
                     {"transport", remote.transport == RemoteServer::Transport::sse ? "sse" : "http"},
                     {"headers", std::move(headers)},
                     {"timeout_ms", remote.timeout.count()},
                     {"proxy", remote.proxy}}) +
         "\n";
}

}  // namespace hal::server
