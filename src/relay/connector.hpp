#pragma once

#include "base/unique_fd.hpp"

#include <chrono>
#include <string>

namespace hal::relay {

using Clock = std::chrono::steady_clock;

/** Connects to the gateway's socket, and knows when to try again: when something happens in its folder, and by time. */
class Connector {
 public:
  explicit Connector(std::string path);

  /** A connected, non-blocking socket; invalid with errno set, and then retry_at() says when to try again. */
  [[nodiscard]] UniqueFd connect();
  /** To be called when a connection did not work out, before the next connect(). */
  void failed();
  /** A connection works: the next failure is tried again soon. */
  void succeeded() { attempts_ = 0; }
  [[nodiscard]] Clock::time_point retry_at() const { return retry_at_; }

  /** Readable when the socket's folder has changed; -1 before the first failure, and if that cannot be watched. */
  [[nodiscard]] int folder_fd() const { return inotify_.get(); }
  /** Takes the change; true if it means that a connection is worth trying now. */
  [[nodiscard]] bool folder_changed();

 private:
  void watch_folder();

  std::string path_;
  bool watched_ = false;
  UniqueFd inotify_;
  unsigned attempts_ = 0;
  Clock::time_point retry_at_{};
};

}  // namespace hal::relay
