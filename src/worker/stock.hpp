#pragma once

#include "base/result.hpp"
#include "base/strong_id.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace hal::worker {

/** A warm worker as the pool sees it. */
struct WarmWorker {
  WorkerId id;
  std::string generation;
  /** Microseconds since the epoch. */
  std::uint64_t created_usec = 0;
  /** Why no claim will ever take it, or empty. */
  std::string defect;
};

/** The warm workers of a registry: what the pool decides about. Asynchronous calls answer by their Done. */
class Stock {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    /** A claim, or a spawn a warm worker would do for; false: there was none. */
    virtual void on_demand(bool hit) = 0;
    /** The command of a warm worker's new owner runs, so long after it was asked for. */
    virtual void on_claimed(std::chrono::nanoseconds took) = 0;
    /** A warm worker came or went. */
    virtual void on_stock_changed() = 0;
    /** Why there is no warm worker just now, for who asks for one: "the pool is drained". */
    [[nodiscard]] virtual std::string shortage() const = 0;
  };

  virtual ~Stock() = default;
  virtual void set_stock_listener(Listener* listener) = 0;
  /** Oldest first. */
  [[nodiscard]] virtual std::vector<WarmWorker> stock() const = 0;
  /** Being made, or looked at after a restart of the daemon. */
  [[nodiscard]] virtual std::size_t starting() const = 0;
  /** Claims under way. */
  [[nodiscard]] virtual std::size_t claiming() const = 0;
  /** Workers that live and were claimed. */
  [[nodiscard]] virtual std::size_t claimed() const = 0;
  /** Claims take workers of this generation first. */
  virtual void prefer_generation(std::string generation) = 0;
  /** Makes one more, of the default profile. A failure leaves nothing behind. */
  virtual void make_warm(std::string generation, Done<WorkerId> done) = 0;
  /** Removes one that is still warm; `reason` is for the journal. Not found if a claim was faster. */
  virtual void retire(const WorkerId& id, const std::string& reason, Done<void> done) = 0;
};

}  // namespace hal::worker
