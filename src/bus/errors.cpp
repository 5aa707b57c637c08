#include "bus/errors.hpp"

#include "base/text.hpp"

namespace hal::bus {

std::string_view dbus_error_name(Errc code) {
  switch (code) {
    case Errc::invalid_argument:
      return "org.hal9000.Error.InvalidArgument";
    case Errc::not_found:
      return "org.hal9000.Error.NotFound";
    case Errc::already_exists:
      return "org.hal9000.Error.AlreadyExists";
    case Errc::busy:
      return "org.hal9000.Error.Busy";
    case Errc::limit:
      return "org.hal9000.Error.LimitExceeded";
    case Errc::denied:
      return "org.freedesktop.DBus.Error.AccessDenied";
    case Errc::timed_out:
      return "org.hal9000.Error.TimedOut";
    case Errc::cancelled:
      return "org.hal9000.Error.Cancelled";
    case Errc::disconnected:
      return "org.hal9000.Error.Disconnected";
    case Errc::unavailable:
      return "org.hal9000.Error.Unavailable";
    case Errc::protocol:
      return "org.hal9000.Error.Protocol";
    case Errc::internal:
      return "org.hal9000.Error.Internal";
  }
  return "org.hal9000.Error.Internal";
}

std::string bus_text(std::string_view text) {
  if (text::is_utf8(text) && text.find('\0') == std::string_view::npos) {
    return std::string(text);
  }
  return text::printable(text, text.size() * 4);
}

}  // namespace hal::bus
