#pragma once

#include "bus/access.hpp"
#include "event/loop.hpp"

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace sdbus {
class IConnection;
}

namespace hal::bus {

/** Who sent a message, by the bus' word. */
struct Caller {
  /** ":1.23"; empty if the message came through no bus. */
  std::string bus_name;
  /** Whether the caller is ready to wait for a person who is asked for a password. */
  bool interactive = false;
};

/** What became of a question. */
struct Verdict {
  /** The caller's, if allowed. */
  std::optional<uid_t> uid;
  /** If not: the D-Bus error. */
  std::string_view error_name;
  std::string message;
  /** Of Access::own_or_all: not only what is the caller's own. */
  bool all = false;

  explicit operator bool() const noexcept { return uid.has_value(); }
};

/**
 * Decides who may call what: by the table of access.cpp, the caller's uid as the bus knows it, and polkit, all
 * asynchronously. Root and the daemon's own user may everything. Where polkit is not on the bus, a worker's owner may
 * what manage_own_worker covers and nobody else anything.
 *
 * A question ends when its caller leaves the bus, and after two minutes.
 */
class Authoriser {
 public:
  using Answer = std::function<void(Verdict)>;

  struct Question {
    Caller caller;
    std::string_view interface;
    std::string_view member;
    /** Of the worker in question. */
    std::optional<uid_t> owner;
  };

  /** Waits for the bus; only at start-up. The connection must outlive it. */
  Authoriser(event::Loop& loop, sdbus::IConnection& connection);
  ~Authoriser();
  Authoriser(const Authoriser&) = delete;
  Authoriser& operator=(const Authoriser&) = delete;

  /** Answers once, never from inside the call, and not after the authoriser's end. */
  void ask(const Question& question, Answer answer);

  /** Questions that have no answer yet. */
  [[nodiscard]] std::size_t pending() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hal::bus
