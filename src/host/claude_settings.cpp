#include "host/claude_settings.hpp"

#include "json/json.hpp"

#include <algorithm>
#include <array>
#include <cctype>

#include <nlohmann/json.hpp>

namespace hal::host {

namespace {

using nlohmann::json;

constexpr hal::json::Limits settings_limits{std::size_t{256} << 10, 32, 20'000};

constexpr std::array<const char*, 10> of_the_host = {
    "apiKeyHelper",      "awsAuthRefresh", "awsCredentialExport", "fileSuggestion",    "gcpAuthRefresh", "hooks",
    "otelHeadersHelper", "sandbox",        "statusLine",          "subagentStatusLine"};

constexpr std::array<std::string_view, 9> signs_of_secrets = {"AUTH",   "COOKIE",   "CREDENTIAL", "HEADERS", "KEY",
                                                              "PASSWD", "PASSWORD", "SECRET",     "TOKEN"};

bool is_secret(std::string name, const json& value) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  const auto is_in_name = [&name](std::string_view sign) { return name.find(sign) != std::string::npos; };
  if (std::any_of(signs_of_secrets.begin(), signs_of_secrets.end(), is_in_name) || !value.is_string()) {
    return true;
  }
  // A URL with a password.
  const auto& text = value.get_ref<const std::string&>();
  const auto host = text.find("://");
  return host != std::string::npos && text.find('@', host) != std::string::npos;
}

}  // namespace

Result<std::string> settings_for_worker(std::string_view text) {
  auto settings = hal::json::parse(text, settings_limits);
  if (!settings) {
    return settings.error();
  }
  if (!settings->is_object()) {
    return Error{Errc::protocol, "not a JSON object"};
  }
  for (const char* key : of_the_host) {
    settings->erase(key);
  }
  if (const auto env = settings->find("env"); env != settings->end()) {
    if (!env->is_object()) {
      return Error{Errc::protocol, "env: must be an object"};
    }
    for (auto at = env->begin(); at != env->end();) {
      at = is_secret(at.key(), *at) ? env->erase(at) : std::next(at);
    }
  }
  return hal::json::dump_pretty(*settings) + "\n";
}

}  // namespace hal::host
