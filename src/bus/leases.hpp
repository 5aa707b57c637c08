#pragma once

#include "base/result.hpp"
#include "base/strong_id.hpp"
#include "base/unique_fd.hpp"
#include "event/sources.hpp"

#include <cstdint>
#include <functional>
#include <map>

namespace hal::bus {

/**
 * Leases of workers: pipes whose reading ends are out there. The kernel tells when the last copy of one is closed,
 * however its holder ended; nothing is ever written.
 */
class Leases {
 public:
  /** The last lease of this worker was closed. */
  using OnReleased = std::function<void(const WorkerId&)>;
  Leases(event::Loop& loop, OnReleased on_released);

  /** One more lease, of a bounded number. */
  [[nodiscard]] Result<UniqueFd> take(const WorkerId& worker);
  /** The worker is gone: its leases read end of file. */
  void drop(const WorkerId& worker);

 private:
  using Key = std::uint64_t;
  struct Lease {
    UniqueFd writing_end;
    event::Io closed;
  };

  void on_closed(const WorkerId& worker, Key key);

  event::Loop& loop_;
  OnReleased on_released_;
  std::map<WorkerId, std::map<Key, Lease>> leases_;
  Key next_key_ = 0;
};

}  // namespace hal::bus
