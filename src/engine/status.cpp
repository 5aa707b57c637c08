#include "base/text.hpp"
#include "engine/messages.hpp"
#include "json/json.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::engine {

namespace {

Errc errc_of(int status, Errc conflict) {
  switch (status) {
    case 400:
      return Errc::invalid_argument;
    case 401:
    case 403:
      return Errc::denied;
    case 404:
      return Errc::not_found;
    case 409:
      return conflict;
    case 500:
      return Errc::internal;
    case 501:
    case 502:
    case 503:
    case 504:
      return Errc::unavailable;
    default:
      return Errc::protocol;
  }
}

}  // namespace

std::string error_text(std::string_view body) {
  if (const auto document = json::parse(body)) {
    const auto message = json::optional_string_at(*document, "message");
    if (message && *message && !(*message)->empty()) {
      return text::printable(**message, 500);
    }
  }
  const auto start = text::trim(body);
  return start.empty() ? "the container engine gave no reason" : text::printable(start);
}

Result<void> check_status(int status, std::string_view body, std::string_view what, Errc conflict) {
  if (status / 100 == 2 || status == 304) {
    return {};
  }
  const auto code = errc_of(status, conflict);
  if (code == Errc::protocol) {
    return Error{code, fmt::format("{}: unexpected status {}: {}", what, status, error_text(body))};
  }
  return Error{code, fmt::format("{}: {}", what, error_text(body))};
}

}  // namespace hal::engine
