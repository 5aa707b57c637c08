#pragma once

#include "base/unique_fd.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace hal::relay {

/**
 * The descriptors a relay waits for. The kernel is told only what has changed, so that a turn costs one system call:
 * poll(2) would hang itself into all five again each time.
 */
class Watch {
 public:
  enum Slot : std::size_t { signals, client_in, client_out, gateway, folder, slots };
  enum class Silence {
    /** Nothing is reported. */
    full,
    /** Errors and hang-ups are. */
    but_errors,
  };

  /** Throws std::system_error. */
  Watch();

  /** What `slot` waits for from now on: EPOLLIN, EPOLLOUT. */
  void set(Slot slot, int fd, std::uint32_t events, Silence silence = Silence::full);
  /** The slot's descriptor is to be closed. */
  void closing(Slot slot) { set(slot, -1, 0); }

  /** Waits; -1 for as long as it takes. False: nothing is ready. Interrupted, nothing is. Throws std::system_error. */
  [[nodiscard]] bool wait(int timeout_ms);
  /** What wait() found, EPOLLERR and EPOLLHUP included. */
  [[nodiscard]] std::uint32_t ready(Slot slot) const { return state_[slot].ready; }

 private:
  struct State {
    int fd = -1;
    std::uint32_t events = 0;
    /** A plain file: the kernel refuses to watch it, because it is always ready. */
    bool is_file = false;
    std::uint32_t ready = 0;
  };

  UniqueFd epoll_;
  std::array<State, slots> state_;
};

}  // namespace hal::relay
