#pragma once

#include "base/error.hpp"

#include <string>
#include <string_view>

namespace hal::bus {

/** The D-Bus error name of a code: org.hal9000.Error.X, for `denied` the standard AccessDenied. */
[[nodiscard]] std::string_view dbus_error_name(Errc code);

/** What polkit's "a password would have helped" is called where the call did not allow a question. */
inline constexpr std::string_view interactive_authorization_required =
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired";

/** `text` as D-Bus takes it: as it is if valid UTF-8 without NUL, else with what is not escaped as \xHH. */
[[nodiscard]] std::string bus_text(std::string_view text);

}  // namespace hal::bus
