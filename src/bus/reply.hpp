#pragma once

#include "base/log.hpp"
#include "base/result.hpp"
#include "bus/compat.hpp"
#include "bus/errors.hpp"

#include <exception>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace hal::bus {

/**
 * The answers an object still owes. An object may be unregistered only when none is due, because the message of an
 * answer points into the object's table of methods. Shared: an answer may be dropped after its object is gone.
 */
class OpenCalls {
 public:
  /** An answer that is due. */
  class Call {
   public:
    virtual void object_gone(const Error& error) noexcept = 0;

   protected:
    ~Call() = default;
  };

  void add(Call& call) { calls_.insert(&call); }
  void remove(Call& call) noexcept { calls_.erase(&call); }

  /** Answers every call that is due, with `error` unless the end of the object was asked for. */
  void object_gone(const Error& error) noexcept {
    while (!calls_.empty()) {
      (*calls_.begin())->object_gone(error);  // which removes it
    }
  }

 private:
  std::set<Call*> calls_;
};

/**
 * The answer to one method call, which its copies share: given once, and as "cancelled" if the last copy goes without.
 * Nothing throws. Keeps the library's connection alive, which the library does not.
 */
template <class... Values>
class Reply {
 public:
  Reply(std::shared_ptr<sdbus::IConnection> connection, sdbus::Result<Values...>&& result,
        std::shared_ptr<OpenCalls> open_calls)
      : state_(std::make_shared<State>(std::move(connection), std::move(result), std::move(open_calls))) {}

  void succeed(const Values&... values) const noexcept {
    state_->answer([&](const auto& result) { result.returnResults(values...); });
  }

  void fail(std::string_view error_name, const std::string& message) const noexcept {
    state_->answer([&](const auto& result) { result.returnError(compat::make_error(error_name, bus_text(message))); });
  }

  /** For a call that asks for the end of its object: the end of the object is its success. */
  void succeed_when_gone() const noexcept requires(sizeof...(Values) == 0) { state_->succeeds_when_gone = true; }

  void fail(const Error& error) const noexcept { fail(dbus_error_name(error.code), error.message); }

 private:
  struct State final : OpenCalls::Call {
    State(std::shared_ptr<sdbus::IConnection> kept, sdbus::Result<Values...>&& call, std::shared_ptr<OpenCalls> open)
        : connection(std::move(kept)), result(std::move(call)), open_calls(std::move(open)) {
      if (open_calls) {
        open_calls->add(*this);
      }
    }
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() { fail({Errc::cancelled, "the daemon has given up on this call"}); }

    void object_gone(const Error& error) noexcept override {
      if constexpr (sizeof...(Values) == 0) {
        if (succeeds_when_gone) {
          answer([](const auto& call) { call.returnResults(); });
          return;
        }
      }
      fail(error);
    }

    void fail(const Error& error) noexcept {
      answer([&](const auto& call) {
        call.returnError(compat::make_error(dbus_error_name(error.code), bus_text(error.message)));
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
      if (open_calls) {
        open_calls->remove(*this);
      }
    }

    std::shared_ptr<sdbus::IConnection> connection;
    sdbus::Result<Values...> result;
    std::shared_ptr<OpenCalls> open_calls;
    bool answered = false;
    bool succeeds_when_gone = false;
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
