#include "claudy/exit_code.hpp"

#include "base/names.hpp"
#include "base/text.hpp"
#include "build_config.hpp"

#include <systemd/sd-daemon.h>

#include <array>
#include <utility>

#include <fmt/format.h>

namespace hal::claudy {

namespace {

/** What is left of a message for a terminal: it may quote names others chose. */
constexpr std::size_t max_message_bytes = 2'000;

constexpr std::array<std::pair<std::string_view, Errc>, 11> own_errors = {{
    {"InvalidArgument", Errc::invalid_argument},
    {"NotFound", Errc::not_found},
    {"AlreadyExists", Errc::already_exists},
    {"Busy", Errc::busy},
    {"LimitExceeded", Errc::limit},
    {"TimedOut", Errc::timed_out},
    {"Cancelled", Errc::cancelled},
    {"Disconnected", Errc::disconnected},
    {"Unavailable", Errc::unavailable},
    {"Protocol", Errc::protocol},
    {"Internal", Errc::internal},
}};

/** The bus' own errors; those not here are Errc::internal. */
constexpr std::array<std::pair<std::string_view, Errc>, 17> bus_errors = {{
    {"AccessDenied", Errc::denied},
    {"AuthFailed", Errc::denied},
    {"InteractiveAuthorizationRequired", Errc::denied},
    {"UnknownObject", Errc::not_found},
    {"InvalidArgs", Errc::invalid_argument},
    {"InvalidSignature", Errc::invalid_argument},
    {"LimitsExceeded", Errc::limit},
    {"NoMemory", Errc::limit},
    {"Timeout", Errc::timed_out},
    {"TimedOut", Errc::timed_out},
    {"NoReply", Errc::unavailable},
    {"Disconnected", Errc::unavailable},
    {"NoServer", Errc::unavailable},
    {"UnknownMethod", Errc::protocol},
    {"UnknownInterface", Errc::protocol},
    {"UnknownProperty", Errc::protocol},
    {"InconsistentMessage", Errc::protocol},
}};

template <class Table>
Errc find_code(const Table& table, std::string_view name) {
  for (const auto& [known, code] : table) {
    if (known == name) {
      return code;
    }
  }
  return Errc::internal;
}

/** What a person can do about a failure the message does not say it for. */
std::string_view advice(std::string_view name, Errc code) {
  if (name == "NoReply" || name == "Disconnected") {
    return "the daemon ended meanwhile: see `claudy daemon status`";
  }
  switch (code) {
    case Errc::denied:
      return "run it as the worker's owner or as root";
    case Errc::protocol:
      return "claudy and the daemon are of different versions: see `claudy status`";
    default:
      return {};
  }
}

}  // namespace

int exit_code(Errc code) {
  switch (code) {
    case Errc::invalid_argument:
      return 2;
    case Errc::unavailable:
      return 3;
    case Errc::denied:
      return 4;
    case Errc::not_found:
      return 5;
    case Errc::already_exists:
    case Errc::busy:
    case Errc::limit:
      return 6;
    case Errc::timed_out:
      return 7;
    case Errc::cancelled:
    case Errc::disconnected:
    case Errc::protocol:
    case Errc::internal:
      return 1;
  }
  return 1;
}

Error from_bus_error(std::string_view name, std::string_view message) {
  constexpr std::string_view bus_prefix = "org.freedesktop.DBus.Error.";
  const std::string text = text::printable(text::trim(message), max_message_bytes);
  if (name.substr(0, std::string_view(names::error_prefix).size()) == names::error_prefix) {
    return {find_code(own_errors, name.substr(std::string_view(names::error_prefix).size())), text};
  }
  if (name.substr(0, bus_prefix.size()) != bus_prefix) {
    return {Errc::internal, text};
  }
  const auto word = name.substr(bus_prefix.size());
  if (word == "ServiceUnknown" || word == "NameHasNoOwner" || word.substr(0, 6) == "Spawn.") {
    return daemon_not_running();
  }
  const auto code = find_code(bus_errors, word);
  const auto hint = advice(word, code);
  return {code, hint.empty() ? text : fmt::format("{}; {}", text, hint)};
}

Error daemon_not_running() {
  if (sd_booted() > 0) {
    return {Errc::unavailable, "the daemon is not running: systemctl start hal9000"};
  }
  return {Errc::unavailable, fmt::format("the daemon is not running: start {}/hal9000d as root", build::libexecdir)};
}

}  // namespace hal::claudy
