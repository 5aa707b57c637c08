#include "remote/settings.hpp"

#include "json/json.hpp"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::remote {

namespace {

Error unusable(std::string_view member) {
  return {Errc::invalid_argument, fmt::format("settings: {} is missing or wrong", member)};
}

/** The members that are texts; which of them have to be there is checked by their values. */
Result<void> read_texts(const nlohmann::json& document, std::string& url, std::string& transport, std::string& proxy) {
  for (const auto& [key, target] :
       {std::pair{"url", &url}, std::pair{"transport", &transport}, std::pair{"proxy", &proxy}}) {
    auto value = json::optional_string_at(document, key);
    if (!value) {
      return unusable(key);
    }
    *target = value->value_or("");
  }
  return {};
}

}  // namespace

Result<Settings> read_settings(std::string_view line) {
  const auto document = json::parse(line);
  if (!document || !document->is_object()) {
    return unusable("the line");
  }
  Settings settings;
  std::string url;
  std::string transport;
  if (auto done = read_texts(*document, url, transport, settings.proxy); !done) {
    return done.error();
  }
  auto place = curl::read_url(url);
  if (!place) {
    return place.error().with("settings: url");
  }
  settings.url = *std::move(place);
  if (transport != "http" && transport != "sse") {
    return unusable("transport");
  }
  settings.transport = transport == "http" ? Transport::http : Transport::sse;
  const auto headers = json::object_at(*document, "headers");
  const auto timeout = json::unsigned_at(*document, "timeout_ms");
  if (!headers || !timeout) {
    return unusable(!headers ? "headers" : "timeout_ms");
  }
  for (const auto& [name, value] : (*headers)->items()) {
    const auto* text = value.get_ptr<const std::string*>();
    if (text == nullptr) {
      return unusable("headers");
    }
    settings.headers.push_back(fmt::format("{}: {}", name, *text));
  }
  settings.timeout = std::chrono::milliseconds(*timeout);
  return settings;
}

}  // namespace hal::remote
