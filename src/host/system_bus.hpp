#pragma once

#include "base/result.hpp"
#include "event/sources.hpp"

#include <systemd/sd-bus.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace hal::host {

namespace detail {
struct BusDeleter {
  void operator()(sd_bus* bus) const noexcept;
};
struct MessageDeleter {
  void operator()(sd_bus_message* message) const noexcept;
};
struct SlotDeleter {
  void operator()(sd_bus_slot* slot) const noexcept;
};
}  // namespace detail

using MessagePtr = std::unique_ptr<sd_bus_message, detail::MessageDeleter>;
/** A match; it ends with its owner. */
using SlotPtr = std::unique_ptr<sd_bus_slot, detail::SlotDeleter>;

/**
 * A connection of its own to the system bus, for what this process asks of others; nothing is offered on it. Nothing
 * blocks: calls answer from the loop. When the bus goes away it is called again every second.
 */
class SystemBus {
 public:
  struct Callbacks {
    /** Connected: once from the loop after construction where a bus is there, and again after each loss. */
    std::function<void()> on_up;
    /** All matches and calls under way are gone; the calls have been answered with Errc::unavailable. */
    std::function<void(const Error&)> on_down;
  };
  /** The message is good until the callback returns. */
  using OnReply = std::function<void(Result<sd_bus_message*>)>;
  using OnSignal = std::function<void(sd_bus_message*)>;

  SystemBus(event::Loop& loop, Callbacks callbacks);
  ~SystemBus();
  SystemBus(const SystemBus&) = delete;
  SystemBus& operator=(const SystemBus&) = delete;

  [[nodiscard]] bool up() const noexcept { return bus_ != nullptr; }
  [[nodiscard]] sd_bus* raw() const noexcept { return bus_.get(); }

  /** A call to fill and to send; null while there is no bus. */
  [[nodiscard]] MessagePtr method(const std::string& service, const std::string& path, const std::string& interface,
                                  const std::string& member) const;
  /** Answers from the loop, exactly once unless this is destroyed; a null message is Errc::unavailable. */
  void call(MessagePtr message, OnReply on_reply);
  /** Null while there is no bus. */
  [[nodiscard]] SlotPtr match(const std::string& sender, const std::string& path, const std::string& interface,
                              const std::string& member, OnSignal on_signal);

 private:
  struct Closure;
  static int on_message(sd_bus_message* message, void* userdata, sd_bus_error* error) noexcept;

  void connect();
  void lose(const Error& reason);

  event::Loop& loop_;
  Callbacks callbacks_;
  std::unique_ptr<sd_bus, detail::BusDeleter> bus_;
  SlotPtr disconnected_;
  /** Calls that could not be sent. */
  std::vector<std::pair<OnReply, Error>> refused_;
  event::Defer refuse_later_;
  event::Defer lost_;
  event::Timer reconnect_;
};

}  // namespace hal::host
