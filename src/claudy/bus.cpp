#include "claudy/bus.hpp"

#include "claudy/exit_code.hpp"
#include "claudy/reply.hpp"
#include "event/loop.hpp"

#include <systemd/sd-bus.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <type_traits>

#include <fmt/format.h>

namespace hal::claudy {

namespace {

struct MessageDeleter {
  void operator()(sd_bus_message* message) const noexcept { sd_bus_message_unref(message); }
};
using MessagePtr = std::unique_ptr<sd_bus_message, MessageDeleter>;

/** An sd_bus_error with its memory. */
struct BusError {
  sd_bus_error raw = SD_BUS_ERROR_NULL;
  BusError() = default;
  BusError(const BusError&) = delete;
  BusError& operator=(const BusError&) = delete;
  ~BusError() { sd_bus_error_free(&raw); }
};

Error to_error(const sd_bus_error& error) {
  return from_bus_error(error.name != nullptr ? error.name : "", error.message != nullptr ? error.message : "failed");
}

Error to_error(int errno_value) {
  if (errno_value == ENOTCONN || errno_value == ECONNRESET || errno_value == EPIPE) {
    return {Errc::unavailable, "the connection to the bus was lost: try again"};
  }
  BusError error;
  (void)sd_bus_error_set_errno(&error.raw, errno_value);
  return to_error(error.raw);
}

int append(sd_bus_message* message, const Value& value);

/** What follows is the type string and the appending of each alternative of Value. */
template <class Type>
constexpr const char* signature() {
  if constexpr (std::is_same_v<Type, bool>) {
    return "b";
  } else if constexpr (std::is_same_v<Type, std::uint16_t>) {
    return "q";
  } else if constexpr (std::is_same_v<Type, std::uint32_t>) {
    return "u";
  } else if constexpr (std::is_same_v<Type, std::uint64_t>) {
    return "t";
  } else if constexpr (std::is_same_v<Type, double>) {
    return "d";
  } else if constexpr (std::is_same_v<Type, std::string>) {
    return "s";
  } else if constexpr (std::is_same_v<Type, std::vector<std::string>>) {
    return "as";
  } else if constexpr (std::is_same_v<Type, Fd>) {
    return "h";
  } else {
    return "a{ss}";
  }
}

int append_list(sd_bus_message* message, const std::vector<std::string>& list) {
  int r = sd_bus_message_open_container(message, 'a', "s");
  for (std::size_t i = 0; r >= 0 && i < list.size(); ++i) {
    r = sd_bus_message_append_basic(message, 's', list[i].c_str());
  }
  return r < 0 ? r : sd_bus_message_close_container(message);
}

int append_map(sd_bus_message* message, const std::map<std::string, std::string>& map) {
  int r = sd_bus_message_open_container(message, 'a', "{ss}");
  for (auto entry = map.begin(); r >= 0 && entry != map.end(); ++entry) {
    r = sd_bus_message_append(message, "{ss}", entry->first.c_str(), entry->second.c_str());
  }
  return r < 0 ? r : sd_bus_message_close_container(message);
}

template <class Type>
int append_one(sd_bus_message* message, const Type& value) {
  if constexpr (std::is_same_v<Type, bool>) {
    return sd_bus_message_append(message, "b", static_cast<int>(value));
  } else if constexpr (std::is_same_v<Type, std::string>) {
    return sd_bus_message_append_basic(message, 's', value.c_str());
  } else if constexpr (std::is_same_v<Type, std::vector<std::string>>) {
    return append_list(message, value);
  } else if constexpr (std::is_same_v<Type, std::map<std::string, std::string>>) {
    return append_map(message, value);
  } else if constexpr (std::is_same_v<Type, Fd>) {
    return sd_bus_message_append_basic(message, 'h', &value.number);
  } else {
    return sd_bus_message_append_basic(message, signature<Type>()[0], &value);
  }
}

int append(sd_bus_message* message, const Value& value) {
  return std::visit([message](const auto& one) { return append_one(message, one); }, value);
}

int append_variant(sd_bus_message* message, const Value& value) {
  const char* type = std::visit([](const auto& one) { return signature<std::decay_t<decltype(one)>>(); }, value);
  int r = sd_bus_message_open_container(message, 'v', type);
  r = r < 0 ? r : append(message, value);
  return r < 0 ? r : sd_bus_message_close_container(message);
}

int append(sd_bus_message* message, const Options& options) {
  int r = sd_bus_message_open_container(message, 'a', "{sv}");
  for (std::size_t i = 0; r >= 0 && i < options.size(); ++i) {
    r = sd_bus_message_open_container(message, 'e', "sv");
    r = r < 0 ? r : sd_bus_message_append_basic(message, 's', options[i].first.c_str());
    r = r < 0 ? r : append_variant(message, options[i].second);
    r = r < 0 ? r : sd_bus_message_close_container(message);
  }
  return r < 0 ? r : sd_bus_message_close_container(message);
}

Result<MessagePtr> make_call(sd_bus* bus, const Method& method, const std::vector<Argument>& arguments) {
  sd_bus_message* raw = nullptr;
  int r = sd_bus_message_new_method_call(bus, &raw, method.destination.c_str(), method.path.c_str(),
                                         method.interface.c_str(), method.member.c_str());
  MessagePtr message(raw);
  r = r < 0 ? r : sd_bus_message_set_auto_start(raw, method.start_service ? 1 : 0);
  for (std::size_t i = 0; r >= 0 && i < arguments.size(); ++i) {
    r = std::visit([raw](const auto& argument) { return append(raw, argument); }, arguments[i]);
  }
  if (r == -EINVAL) {  // sd-bus checks strings
    return Error{Errc::invalid_argument, "an argument is no valid UTF-8 text"};
  }
  if (r < 0) {
    return errno_error(fmt::format("call {}", method.member), -r);
  }
  return message;
}

std::uint64_t bus_timeout(std::chrono::microseconds timeout) {
  return timeout == Bus::forever ? UINT64_MAX : static_cast<std::uint64_t>(timeout.count());
}

/** Neither sd-bus nor sd-event may see an exception; one here is a message the daemon should not have sent. */
template <class Call>
int guarded(sd_bus_message* message, Call call) noexcept {
  try {
    call();
  } catch (const std::exception& error) {
    sd_event* event = sd_bus_get_event(sd_bus_message_get_bus(message));
    (void)std::fprintf(stderr, "claudy: unexpected message of the daemon: %s\n", error.what());
    if (event == nullptr) {
      return -EBADMSG;
    }
    (void)sd_event_exit(event, 1);
  }
  return 0;
}

int on_reply(sd_bus_message* message, void* userdata, sd_bus_error*) {
  return guarded(message, [&] {
    const auto done = std::exchange(*static_cast<Done<Reply>*>(userdata), {});
    const sd_bus_error* error = sd_bus_message_get_error(message);
    done(error != nullptr ? Result<Reply>(to_error(*error)) : read_message(message));
  });
}

int on_match(sd_bus_message* message, void* userdata, sd_bus_error*) {
  return guarded(message, [&] {
    const auto body = read_message(message);
    if (body) {
      (*static_cast<Bus::OnSignal*>(userdata))(sd_bus_message_get_member(message), body->body());
    }
  });
}

template <class Type>
void drop(void* userdata) {
  delete static_cast<Type*>(userdata);
}

/** The slot and `held` now live as long as the connection, or until the answer came. */
void keep(sd_bus_slot* slot, sd_bus_destroy_t destroy) {
  (void)sd_bus_slot_set_destroy_callback(slot, destroy);
  (void)sd_bus_slot_set_floating(slot, 1);
  sd_bus_slot_unref(slot);
}

}  // namespace

Result<std::unique_ptr<Bus>> Bus::open(bool user) {
  sd_bus* bus = nullptr;
  const char* kind = user ? "session" : "system";
  const int r = user ? sd_bus_open_user(&bus) : sd_bus_open_system(&bus);
  if (r < 0) {
    return Error{
        Errc::unavailable,
        fmt::format("the {} bus cannot be reached ({}): start dbus, or name its address in DBUS_{}_BUS_ADDRESS", kind,
                    errno_error("connect", -r).message, user ? "SESSION" : "SYSTEM")};
  }
  (void)sd_bus_set_allow_interactive_authorization(bus, 1);
  (void)sd_bus_set_close_on_exit(bus, 0);  // the loop ends with a terminal's session, and we ask why afterwards
  return std::make_unique<Bus>(bus);
}

Bus::Bus(sd_bus* bus) : bus_(bus) {}

Bus::~Bus() {
  sd_bus_flush_close_unref(bus_);
}

Result<Reply> Bus::call(const Method& method, const std::vector<Argument>& arguments,
                        std::chrono::microseconds timeout) {
  const auto message = make_call(bus_, method, arguments);
  if (!message) {
    return message.error();
  }
  BusError error;
  sd_bus_message* raw = nullptr;
  const int r = sd_bus_call(bus_, message->get(), bus_timeout(timeout), &error.raw, &raw);
  const MessagePtr reply(raw);
  if (r < 0) {
    return sd_bus_error_is_set(&error.raw) != 0 ? to_error(error.raw) : to_error(-r);
  }
  return read_message(reply.get());
}

void Bus::start(const Method& method, const std::vector<Argument>& arguments, Done<Reply> done,
                std::chrono::microseconds timeout) {
  const auto message = make_call(bus_, method, arguments);
  sd_bus_slot* slot = nullptr;
  auto held = std::make_unique<Done<Reply>>(std::move(done));
  const int r =
      message ? sd_bus_call_async(bus_, &slot, message->get(), on_reply, held.get(), bus_timeout(timeout)) : 0;
  if (!message || r < 0) {
    (*held)(message ? to_error(-r) : message.error());
    return;
  }
  (void)held.release();
  keep(slot, drop<Done<Reply>>);
}

Result<void> Bus::subscribe(const std::string& rule, OnSignal on_signal) {
  sd_bus_slot* slot = nullptr;
  auto held = std::make_unique<OnSignal>(std::move(on_signal));
  if (const int r = sd_bus_add_match(bus_, &slot, rule.c_str(), on_match, held.get()); r < 0) {
    return to_error(-r);
  }
  (void)held.release();
  keep(slot, drop<OnSignal>);
  return {};
}

bool Bus::wait_until(const std::function<bool()>& predicate, std::chrono::microseconds timeout) {
  using Clock = std::chrono::steady_clock;
  const auto end = timeout == forever ? Clock::time_point::max() : Clock::now() + timeout;
  while (!predicate()) {
    const int r = sd_bus_process(bus_, nullptr);
    if (r < 0) {
      return false;
    }
    if (r > 0) {
      continue;
    }
    const auto left = std::chrono::duration_cast<std::chrono::microseconds>(end - Clock::now());
    if (left.count() <= 0) {
      return false;
    }
    const int waited = sd_bus_wait(bus_, static_cast<std::uint64_t>(left.count()));
    if (waited < 0 && waited != -EINTR) {
      return false;
    }
  }
  return true;
}

void Bus::attach(event::Loop& loop) {
  if (const int r = sd_bus_attach_event(bus_, loop.raw(), static_cast<int>(event::Priority::normal)); r < 0) {
    throw_errno("sd_bus_attach_event", -r);
  }
}

void Bus::detach() {
  (void)sd_bus_detach_event(bus_);
}

}  // namespace hal::claudy
