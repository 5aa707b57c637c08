#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

struct sd_bus;
struct sd_bus_message;

namespace hal::event {
class Loop;
}

/**
 * The public D-Bus API from claudy's side, on plain sd-bus. Not on proxies of sdbus-c++: claudy turns whole objects
 * into JSON and tables, for which one converter of any message is all it needs; it compiles the same against both
 * releases of sdbus-c++; and it starts in two milliseconds.
 */
namespace hal::claudy {

/** A descriptor to pass; it stays the caller's. */
struct Fd {
  int number = -1;
};

/** A value of an a{sv}; the D-Bus type is that of the alternative: b q u t d s as a{ss} h. */
using Value = std::variant<bool, std::uint16_t, std::uint32_t, std::uint64_t, double, std::string,
                           std::vector<std::string>, std::map<std::string, std::string>, Fd>;
/** An a{sv}, in this order. */
using Options = std::vector<std::pair<std::string, Value>>;
using Argument = std::variant<Value, Options>;

/** Defined in reply.hpp, which brings nlohmann's header. */
struct Reply;

struct Method {
  std::string path;
  std::string interface;
  std::string member;
  std::string destination = "org.hal9000";
  /** Whether the bus starts who is called where it does not run. */
  bool start_service = true;
};

/** A connection. Calls fail with what from_bus_error makes of D-Bus errors. */
class Bus {
 public:
  /** No method of the daemon that is not said to take long takes longer. */
  static constexpr std::chrono::microseconds default_timeout = std::chrono::minutes(3);
  static constexpr std::chrono::microseconds forever = std::chrono::microseconds::max();

  using OnSignal = std::function<void(const std::string& member, const nlohmann::json& body)>;

  [[nodiscard]] static Result<std::unique_ptr<Bus>> open(bool user);
  explicit Bus(sd_bus* bus);
  ~Bus();
  Bus(const Bus&) = delete;
  Bus& operator=(const Bus&) = delete;

  /** Waits for the answer. Signals that come meanwhile are kept. */
  [[nodiscard]] Result<Reply> call(const Method& method, const std::vector<Argument>& arguments = {},
                                   std::chrono::microseconds timeout = default_timeout);
  /** Answers from the loop it is attached to or from wait_until(); at once where the call cannot even be sent. */
  void start(const Method& method, const std::vector<Argument>& arguments, Done<Reply> done,
             std::chrono::microseconds timeout = default_timeout);

  /** Calls back for each signal that matches the rule, for the connection's life. */
  [[nodiscard]] Result<void> subscribe(const std::string& rule, OnSignal on_signal);

  /** Handles what comes until the predicate holds; false at the deadline or when the connection is lost. */
  [[nodiscard]] bool wait_until(const std::function<bool()>& predicate, std::chrono::microseconds timeout);

  /** From now on, until detach(), what comes is handled by the loop. */
  void attach(event::Loop& loop);
  void detach();

 private:
  sd_bus* bus_;
};

}  // namespace hal::claudy
