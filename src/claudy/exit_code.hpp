#pragma once

#include "base/error.hpp"

#include <string>
#include <string_view>

namespace hal::claudy {

/** claudy's exit code for a failure; every Errc has one. */
[[nodiscard]] int exit_code(Errc code);

/** What a D-Bus error means to us: one sentence that says what to do next, fit for a terminal whatever it quotes. */
[[nodiscard]] Error from_bus_error(std::string_view name, std::string_view message);

/** The one sentence for "nobody owns org.hal9000". */
[[nodiscard]] Error daemon_not_running();

}  // namespace hal::claudy
