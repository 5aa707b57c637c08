#include "relay/greeting.hpp"

#include "json/json.hpp"

#include <nlohmann/json.hpp>

namespace hal::relay {

namespace {

constexpr unsigned protocol = 1;

}  // namespace

std::string opening_line(std::string_view server, std::string_view session) {
  nlohmann::json line{{"hal9000", protocol}, {"server", server}};
  if (!session.empty()) {
    line["resume"] = session;
  }
  return json::dump(line) + "\n";
}

std::optional<Answer> parse_answer(std::string_view line) {
  const auto document = json::parse(line, {max_greeting_bytes, 4, 16});
  if (!document) {
    return std::nullopt;
  }
  const auto version = json::unsigned_at(*document, "hal9000");
  const auto session = json::optional_string_at(*document, "session");
  const auto error = json::optional_string_at(*document, "error");
  if (!version || *version != protocol || !session || !error) {
    return std::nullopt;
  }
  Answer answer{session->value_or(""), error->value_or("")};
  if (answer.session.empty() == answer.error.empty()) {
    return std::nullopt;
  }
  return answer;
}

}  // namespace hal::relay
