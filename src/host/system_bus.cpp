#include "host/system_bus.hpp"

#include <cerrno>
#include <exception>

#include <fmt/format.h>

namespace hal::host {

namespace {

constexpr std::chrono::seconds reconnect_delay{1};
/** A job is not a call: systemd answers calls at once. */
constexpr std::uint64_t call_timeout_usec = 30'000'000;

Error error_of(const sd_bus_error& error) {
  const int number = sd_bus_error_get_errno(&error);
  auto result = errno_error("", number);
  if (sd_bus_error_has_name(&error, SD_BUS_ERROR_NO_REPLY) != 0 ||
      sd_bus_error_has_name(&error, SD_BUS_ERROR_DISCONNECTED) != 0 ||
      sd_bus_error_has_name(&error, SD_BUS_ERROR_SERVICE_UNKNOWN) != 0) {
    result.code = Errc::unavailable;
  }
  result.message = error.message != nullptr ? error.message : error.name != nullptr ? error.name : "unknown error";
  return result;
}

}  // namespace

void detail::BusDeleter::operator()(sd_bus* bus) const noexcept {
  sd_bus_close_unref(bus);
}

void detail::MessageDeleter::operator()(sd_bus_message* message) const noexcept {
  sd_bus_message_unref(message);
}

void detail::SlotDeleter::operator()(sd_bus_slot* slot) const noexcept {
  sd_bus_slot_unref(slot);
}

/** What a slot's userdata points to; freed with the slot. */
struct SystemBus::Closure {
  event::Loop& loop;
  OnReply on_reply;
  OnSignal on_signal;

  static void destroy(void* userdata) { delete static_cast<Closure*>(userdata); }

  void operator()(sd_bus_message* message) const {
    if (on_signal) {
      on_signal(message);
    } else if (const auto* error = sd_bus_message_get_error(message); error != nullptr) {
      on_reply(error_of(*error));
    } else {
      on_reply(message);
    }
  }
};

namespace {

/** sd-bus must not see an exception. */
template <class Call>
int guarded(event::Loop& loop, Call call) noexcept {
  try {
    call();
  } catch (const std::exception& error) {
    loop.fail("system bus", error.what());
  } catch (...) {
    loop.fail("system bus", "unknown exception");
  }
  return 0;
}

}  // namespace

int SystemBus::on_message(sd_bus_message* message, void* userdata, sd_bus_error* /*error*/) noexcept {
  auto& closure = *static_cast<Closure*>(userdata);
  return guarded(closure.loop, [&] { closure(message); });
}

SystemBus::SystemBus(event::Loop& loop, Callbacks callbacks)
    : loop_(loop),
      callbacks_(std::move(callbacks)),
      refuse_later_(loop, "system bus calls refused",
                    [this] {
                      for (const auto& [on_reply, error] : std::exchange(refused_, {})) {
                        on_reply(error);
                      }
                    }),
      lost_(loop, "system bus lost",
            [this] {
              lose({Errc::unavailable, "the connection to the system bus was lost"});
            }),
      reconnect_(loop, "system bus connect", [this] { connect(); }) {
  reconnect_.arm(std::chrono::microseconds(0));
}

SystemBus::~SystemBus() = default;

void SystemBus::connect() {
  sd_bus* bus = nullptr;
  int result = sd_bus_open_system_with_description(&bus, "hal9000-units");
  bus_.reset(bus);
  if (result >= 0) {
    (void)sd_bus_set_exit_on_disconnect(bus, 0);
    result = sd_bus_attach_event(bus, loop_.raw(), 0);
  }
  if (result < 0) {
    lose(errno_error("the system bus", -result));
    return;
  }
  disconnected_ = match("", "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local", "Disconnected",
                        [this](sd_bus_message*) { lost_.schedule(); });
  callbacks_.on_up();
}

void SystemBus::lose(const Error& reason) {
  const bool was_up = disconnected_ != nullptr;
  disconnected_.reset();
  bus_.reset();
  reconnect_.arm(reconnect_delay);
  if (was_up) {
    callbacks_.on_down(reason);
  }
}

MessagePtr SystemBus::method(const std::string& service, const std::string& path, const std::string& interface,
                             const std::string& member) const {
  sd_bus_message* message = nullptr;
  if (bus_) {
    (void)sd_bus_message_new_method_call(bus_.get(), &message, service.c_str(), path.c_str(), interface.c_str(),
                                         member.c_str());
  }
  return MessagePtr(message);
}

void SystemBus::call(MessagePtr message, OnReply on_reply) {
  int result = -ENOTCONN;
  if (bus_ && message) {
    auto closure = std::make_unique<Closure>(Closure{loop_, on_reply, nullptr});
    sd_bus_slot* slot = nullptr;
    result = sd_bus_call_async(bus_.get(), &slot, message.get(), on_message, closure.get(), call_timeout_usec);
    if (result >= 0) {
      (void)sd_bus_slot_set_destroy_callback(slot, Closure::destroy);
      (void)closure.release();
      (void)sd_bus_slot_set_floating(slot, 1);
      sd_bus_slot_unref(slot);
    }
  }
  if (result < 0) {
    refused_.emplace_back(std::move(on_reply),
                          Error{Errc::unavailable, errno_error("the system bus", -result).message});
    refuse_later_.schedule();
  }
}

SlotPtr SystemBus::match(const std::string& sender, const std::string& path, const std::string& interface,
                         const std::string& member, OnSignal on_signal) {
  if (!bus_) {
    return nullptr;
  }
  auto closure = std::make_unique<Closure>(Closure{loop_, nullptr, std::move(on_signal)});
  sd_bus_slot* slot = nullptr;
  const int result =
      sd_bus_match_signal_async(bus_.get(), &slot, sender.empty() ? nullptr : sender.c_str(), path.c_str(),
                                interface.c_str(), member.c_str(), on_message, nullptr, closure.get());
  if (result < 0) {
    return nullptr;
  }
  (void)sd_bus_slot_set_destroy_callback(slot, Closure::destroy);
  (void)closure.release();
  return SlotPtr(slot);
}

}  // namespace hal::host
