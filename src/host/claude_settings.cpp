#include "host/claude_settings.hpp"

#include "base/text.hpp"
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

/** How a part of a name between underscores ends, of one that holds a secret: MY_API_KEY, AUTHTOKEN_OF_X. */
constexpr std::array<std::string_view, 14> signs_of_secrets = {
    "AUTH", "COOKIE",     "CREDENTIAL", "CREDENTIALS", "HEADERS", "KEY",     "KEYS",
    "PASS", "PASSPHRASE", "PASSWD",     "PASSWORD",    "SECRET",  "SECRETS", "TOKEN"};

bool is_secret(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  const auto parts = text::split(name, '_');
  return std::any_of(parts.begin(), parts.end(), [](std::string_view part) {
    return std::any_of(signs_of_secrets.begin(), signs_of_secrets.end(),
                       [part](std::string_view sign) { return part.ends_with(sign); });
  });
}

bool has_password(std::string_view value) {
  const auto host = value.find("://");
  return host != std::string_view::npos && value.find('@', host) != std::string_view::npos;
}

bool is_of_the_host(std::string_view name) {
  return name == "PATH" || name.starts_with("LD_");
}

bool may_be_told(const std::string& name, const json& value) {
  return value.is_string() && !is_secret(name) && !is_of_the_host(name) &&
         !has_password(value.get_ref<const std::string&>());
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
      at = may_be_told(at.key(), *at) ? std::next(at) : env->erase(at);
    }
  }
  return hal::json::dump_pretty(*settings) + "\n";
}

}  // namespace hal::host
