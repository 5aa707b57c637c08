#include "bus/calls.hpp"

#include "bus/compat.hpp"

#include <string>

namespace hal::bus {

Caller current_caller(const sdbus::IObject& object) {
  auto* message = compat::current_message(object);
  const char* sender = message != nullptr ? sd_bus_message_get_sender(message) : nullptr;
  if (sender == nullptr) {
    return {};
  }
  return {sender, sd_bus_message_get_allow_interactive_authorization(message) > 0};
}

std::string current_member(const sdbus::IObject& object) {
  auto* message = compat::current_message(object);
  const char* member = message != nullptr ? sd_bus_message_get_member(message) : nullptr;
  return member != nullptr ? member : "";
}

}  // namespace hal::bus
