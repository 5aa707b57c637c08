#pragma once

#include "base/log.hpp"
#include "bus/compat.hpp"

#include <string>
#include <vector>

namespace hal::bus {

/** Sends a signal. That the bus is gone is the connection's news, not the sender's. */
template <class Emit>
void emit(Emit send) noexcept {
  try {
    send();
  } catch (const std::exception& error) {
    log::warning({}, "cannot send a D-Bus signal: {}", error.what());
  }
}

inline void emit_changed(sdbus::IObject& object, const char* interface,
                         const std::vector<std::string>& names) noexcept {
  if (!names.empty()) {
    emit([&] { compat::emit_properties_changed(object, interface, names); });
  }
}

}  // namespace hal::bus
