#pragma once

#include "base/unique_fd.hpp"

#include <fcntl.h>
#include <systemd/sd-bus.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sdbus-c++/sdbus-c++.h>

/**
 * The one place that knows that there are sdbus-c++ 1.x (Debian 12) and 2.x (Debian 13). HAL_SDBUS_V2 comes from meson.
 * What is not here is the same in both.
 */
namespace hal::bus::compat {

#if HAL_SDBUS_V2

/** What an asynchronous call's reply handler gets first: true if the call failed. */
using ReplyError = std::optional<sdbus::Error>;
inline sdbus::Error make_error(std::string_view name, const std::string& message) {
  return sdbus::Error(sdbus::Error::Name{std::string(name)}, message);
}

inline void request_name(sdbus::IConnection& connection, const std::string& name) {
  connection.requestName(sdbus::ServiceName{name});
}

inline bool process_one(sdbus::IConnection& connection) {
  return connection.processPendingEvent();
}

/** Absolute, CLOCK_MONOTONIC, in microseconds; UINT64_MAX: never. */
inline std::uint64_t poll_deadline(const sdbus::IConnection::PollData& data) {
  return data.timeout == decltype(data.timeout)::max() ? UINT64_MAX : static_cast<std::uint64_t>(data.timeout.count());
}

inline std::unique_ptr<sdbus::IProxy> make_proxy(sdbus::IConnection& connection, const std::string& service,
                                                 const std::string& path) {
  return sdbus::createProxy(connection, sdbus::ServiceName{service}, sdbus::ObjectPath{path});
}

template <class Callback>
sdbus::Slot add_match(sdbus::IConnection& connection, const std::string& rule, Callback callback) {
  return connection.addMatch(
      rule, [callback = std::move(callback)](sdbus::Message message) { callback(message); }, sdbus::return_slot);
}

inline void emit_properties_changed(sdbus::IObject& object, const char* interface,
                                    const std::vector<std::string>& names) {
  std::vector<sdbus::PropertyName> typed;
  typed.reserve(names.size());
  for (const auto& name : names) {
    typed.emplace_back(name);
  }
  object.emitPropertiesChangedSignal(interface, typed);
}

#else

using ReplyError = const sdbus::Error*;
inline sdbus::Error make_error(std::string_view name, const std::string& message) {
  return sdbus::Error(std::string(name), message);
}

inline void request_name(sdbus::IConnection& connection, const std::string& name) {
  connection.requestName(name);
}

inline bool process_one(sdbus::IConnection& connection) {
  return connection.processPendingRequest();
}

inline std::uint64_t poll_deadline(const sdbus::IConnection::PollData& data) {
  return data.timeout_usec;
}

inline std::unique_ptr<sdbus::IProxy> make_proxy(sdbus::IConnection& connection, const std::string& service,
                                                 const std::string& path) {
  return sdbus::createProxy(connection, service, path);
}

template <class Callback>
sdbus::Slot add_match(sdbus::IConnection& connection, const std::string& rule, Callback callback) {
  return connection.addMatch(rule, [callback = std::move(callback)](sdbus::Message& message) { callback(message); });
}

inline void emit_properties_changed(sdbus::IObject& object, const char* interface,
                                    const std::vector<std::string>& names) {
  object.emitPropertiesChangedSignal(interface, names);
}

#endif

/** The library's message as libsystemd's, which can tell more; good as long as `message` is. */
inline sd_bus_message* raw_message(const sdbus::Message& message) {
  struct Peek : sdbus::Message {
    static void* of(const sdbus::Message& peeked) { return peeked.*(&Peek::msg_); }
  };
  return static_cast<sd_bus_message*>(Peek::of(message));
}

/** The message `object` is being called with; null outside of a call. */
inline sd_bus_message* current_message(const sdbus::IObject& object) {
#if HAL_SDBUS_V2
  return raw_message(object.getCurrentlyProcessedMessage());
#else
  const auto* message = object.getCurrentlyProcessedMessage();
  return message != nullptr ? raw_message(*message) : nullptr;
#endif
}

/** libsystemd's connection behind the library's; the same life. */
inline sd_bus* raw_bus(sdbus::IConnection& connection) {
  const auto proxy = make_proxy(connection, "org.freedesktop.DBus", "/org/freedesktop/DBus");
#if HAL_SDBUS_V2
  const auto call =
      proxy->createMethodCall(sdbus::InterfaceName{"org.freedesktop.DBus.Peer"}, sdbus::MethodName{"Ping"});
#else
  const auto call = proxy->createMethodCall(std::string("org.freedesktop.DBus.Peer"), std::string("Ping"));
#endif
  return sd_bus_message_get_bus(raw_message(call));
}

/** A descriptor to be sent; takes it over. */
inline sdbus::UnixFd to_bus(UniqueFd fd) {
  return sdbus::UnixFd(fd.release(), sdbus::adopt_fd);
}

/** A received descriptor as our own. The library's is not close-on-exec in 1.x. */
inline UniqueFd from_bus(const sdbus::UnixFd& fd) {
  return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
}

}  // namespace hal::bus::compat
