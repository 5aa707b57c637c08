#pragma once

#include "event/loop.hpp"

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace sdbus {
class IConnection;
}

namespace hal::bus {

enum class BusKind {
  /** DBUS_SYSTEM_BUS_ADDRESS is honoured. */
  system,
  session,
};

/**
 * A connection to a bus, driven by the loop: one message a turn, so that a busy bus starves nobody.
 *
 * The constructor connects and waits for the bus, which is allowed only at start-up; it throws std::runtime_error.
 */
class Connection {
 public:
  /** Once, when the bus is gone for good. Called from the loop; the connection may be destroyed inside. */
  using OnLost = std::function<void(std::string_view reason)>;

  Connection(event::Loop& loop, BusKind kind, OnLost on_lost);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /** The library's; whoever holds on to it may do so longer than this lives, but hears nothing any more. */
  [[nodiscard]] std::shared_ptr<sdbus::IConnection> get() const noexcept;
  /** ":1.23" */
  [[nodiscard]] std::string unique_name() const;

  /** Waits for the bus, so only at start-up; throws std::runtime_error, also where the name is taken. */
  void request_name(const std::string& name);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hal::bus
