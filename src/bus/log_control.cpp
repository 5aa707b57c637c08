#include "bus/log_control.hpp"

#include "base/log.hpp"
#include "base/result.hpp"
#include "base/text.hpp"
#include "bus/compat.hpp"
#include "bus/errors.hpp"

#include <systemd/sd-bus.h>

#include <cstring>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <org.freedesktop.LogControl1.adaptor.hpp>

namespace hal::bus {

namespace {

constexpr char object_path[] = "/org/freedesktop/LogControl1";
constexpr char interface_name[] = "org.freedesktop.LogControl1";

struct LevelName {
  std::string_view name;
  log::Level level;
};

/** Of systemd; the first name of a level is the one it is shown by. */
constexpr LevelName level_names[] = {
    {"crit", log::Level::critical}, {"emerg", log::Level::critical},  {"alert", log::Level::critical},
    {"err", log::Level::error},     {"warning", log::Level::warning}, {"notice", log::Level::notice},
    {"info", log::Level::info},     {"debug", log::Level::debug},
};

std::string shown_level() {
  for (const auto& entry : level_names) {
    if (entry.level == log::max_level()) {
      return std::string(entry.name);
    }
  }
  return "info";
}

Result<void> set(std::string_view property, std::string_view value) {
  if (property != "LogLevel") {
    if (value == log::target()) {
      return {};
    }
    return Error{Errc::invalid_argument, "where the log goes is decided at start-up"};
  }
  for (const auto& entry : level_names) {
    if (entry.name == value) {
      log::set_max_level(entry.level);
      log::print(log::Level::notice, {}, "the log level is now {}", value);
      return {};
    }
  }
  return Error{Errc::invalid_argument, fmt::format("\"{}\" is no log level", text::printable(value, 32))};
}

struct MessageUnref {
  void operator()(sd_bus_message* message) const { sd_bus_message_unref(message); }
};
struct SlotUnref {
  void operator()(sd_bus_slot* slot) const { sd_bus_slot_unref(slot); }
};

}  // namespace

class LogControl::Adaptor final : public sdbus::AdaptorInterfaces<org::freedesktop::LogControl1_adaptor> {
 public:
  explicit Adaptor(sdbus::IConnection& connection) : AdaptorInterfaces(connection, sdbus::ObjectPath{object_path}) {
    registerAdaptor();
  }
  ~Adaptor() { unregisterAdaptor(); }
  Adaptor(const Adaptor&) = delete;
  Adaptor& operator=(const Adaptor&) = delete;

 private:
  std::string LogLevel() override { return shown_level(); }
  std::string LogTarget() override { return std::string(log::target()); }
  std::string SyslogIdentifier() override { return std::string(log::program()); }
  void LogLevel(const std::string&) override { refuse(); }
  void LogTarget(const std::string&) override { refuse(); }

  /** The Setter takes every call that could come here. */
  [[noreturn]] static void refuse() {
    throw compat::make_error(dbus_error_name(Errc::denied), "only root may do this");
  }
};

/**
 * Takes the calls that set a property before the library sees them: its setters must answer at once, and who calls is
 * known only after a question to the bus.
 */
class LogControl::Setter {
 public:
  Setter(sdbus::IConnection& connection, Authoriser& authoriser) : authoriser_(authoriser) {
    sd_bus_slot* slot = nullptr;
    if (const int r = sd_bus_add_filter(compat::raw_bus(connection), &slot, on_message, this); r < 0) {
      throw_errno("sd_bus_add_filter", -r);
    }
    filter_.reset(slot);
  }

 private:
  using Message = std::shared_ptr<sd_bus_message>;

  static int on_message(sd_bus_message* message, void* userdata, sd_bus_error*) {
    try {
      return static_cast<Setter*>(userdata)->take(message) ? 1 : 0;
    } catch (const std::exception& error) {
      log::error({}, "a D-Bus method failed: {}", error.what());
      return 0;  // the adaptor refuses
    }
  }

  /** Whether this is one of our calls; if so, it is answered in the end. */
  bool take(sd_bus_message* message) {
    const char* path = sd_bus_message_get_path(message);
    if (sd_bus_message_is_method_call(message, "org.freedesktop.DBus.Properties", "Set") <= 0 || path == nullptr ||
        std::strcmp(path, object_path) != 0) {
      return false;
    }
    const char* interface = nullptr;
    const char* property = nullptr;
    const char* value = nullptr;
    const bool ours = sd_bus_message_read(message, "ssv", &interface, &property, "s", &value) > 0 &&
                      std::string_view(interface) == interface_name && access_rule(interface_name, property);
    if (ours) {
      ask(message, property, value);
    }
    (void)sd_bus_message_rewind(message, 1);
    return ours;
  }

  void ask(sd_bus_message* raw, const std::string& property, const std::string& value) {
    const Message message(sd_bus_message_ref(raw), MessageUnref{});
    const char* sender = sd_bus_message_get_sender(raw);
    authoriser_.ask({{sender != nullptr ? sender : "", false}, interface_name, property, std::nullopt},
                    [message, property, value](const Verdict& verdict) {
                      if (!verdict) {
                        fail(message, verdict.error_name, verdict.message);
                      } else if (const auto done = set(property, value); !done) {
                        fail(message, dbus_error_name(done.error().code), done.error().message);
                      } else {
                        (void)sd_bus_reply_method_return(message.get(), "");
                      }
                    });
  }

  static void fail(const Message& message, std::string_view name, const std::string& text) {
    (void)sd_bus_reply_method_errorf(message.get(), std::string(name).c_str(), "%s", bus_text(text).c_str());
  }

  Authoriser& authoriser_;
  std::unique_ptr<sd_bus_slot, SlotUnref> filter_;
};

LogControl::LogControl(sdbus::IConnection& connection, Authoriser& authoriser)
    : adaptor_(std::make_unique<Adaptor>(connection)), setter_(std::make_unique<Setter>(connection, authoriser)) {}

LogControl::~LogControl() = default;

}  // namespace hal::bus
