#pragma once

#include "base/log.hpp"
#include "base/result.hpp"
#include "bus/compat.hpp"
#include "bus/errors.hpp"

#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace hal::bus {

/**
 * Counts the answers an object still owes, by its copies. An object may be unregistered only when none is due: the
 * message of an answer points into the object's table of methods.
 */
using OpenCalls = std::shared_ptr<const char>;

/**
 * The answer to one method call, which its copies share: given once, and as "cancelled" if the last copy goes without.
 * Nothing throws. Keeps the library's connection alive, which the library does not.
 */
template <class... Values>
class Reply {
 public:
  Reply(std::shared_ptr<sdbus::IConnection> connection, sdbus::Result<Values...>&& result, OpenCalls open_calls)
      : state_(std::make_shared<State>(std::move(connection), std::move(result), std::move(open_calls))) {}

  void succeed(const Values&... values) const noexcept {
    state_->answer([&](const auto& result) { result.returnResults(values...); });
  }

  void fail(std::string_view error_name, const std::string& message) const noexcept {
    state_->answer([&](const auto& result) { result.returnError(compat::make_error(error_name, bus_text(message))); });
  }

  void fail(const Error& error) const noexcept { fail(dbus_error_name(error.code), error.message); }

 private:
  struct State {
    State(std::shared_ptr<sdbus::IConnection> kept, sdbus::Result<Values...>&& call, OpenCalls open)
        : open_calls(std::move(open)), connection(std::move(kept)), result(std::move(call)) {}
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() {
      answer([](const auto& call) {
        call.returnError(compat::make_error(dbus_error_name(Errc::cancelled), "the daemon has given up on this call"));
      });
    }

    template <class Call>
    void answer(Call call) noexcept {
      if (std::exchange(answered, true)) {
        return;
      }
      try {
        try {
          call(result);
        } catch (const std::exception& error) {
          log::error({}, "cannot answer a D-Bus call: {}", error.what());
          result.returnError(compat::make_error(dbus_error_name(Errc::internal), "the answer cannot be sent"));
        }
      } catch (const std::exception&) {  // the connection is gone, and with it who asked
      }
    }

    OpenCalls open_calls;
    std::shared_ptr<sdbus::IConnection> connection;
    sdbus::Result<Values...> result;
    bool answered = false;
  };

  std::shared_ptr<State> state_;
};

/** The completion that answers a call without results. */
[[nodiscard]] inline Done<void> answer_with(Reply<> reply) {
  return [reply = std::move(reply)](const hal::Result<void>& result) {
    if (result) {
      reply.succeed();
    } else {
      reply.fail(result.error());
    }
  };
}

/** Runs the body of a method; what it throws becomes the call's answer. */
template <class... Values, class Body>
void guard(const Reply<Values...>& reply, Body body) noexcept {
  try {
    body();
  } catch (const std::exception& error) {
    log::error({}, "a D-Bus method failed: {}", error.what());
    reply.fail({Errc::internal, "this is a bug of hal9000d, see its log"});
  }
}

/** Runs the body of a getter or of a method that answers at once; only sdbus::Error comes out. */
template <class Body>
auto guard_value(Body body) {
  try {
    return body();
  } catch (const sdbus::Error&) {
    throw;
  } catch (const std::exception& error) {
    log::error({}, "a D-Bus property or method failed: {}", error.what());
    throw compat::make_error(dbus_error_name(Errc::internal), "this is a bug of hal9000d, see its log");
  }
}

}  // namespace hal::bus
