#pragma once

#include "base/alive.hpp"
#include "event/sources.hpp"
#include "worker/pool.hpp"
#include "worker/pool_policy.hpp"
#include "worker/pool_state.hpp"
#include "worker/settings.hpp"
#include "worker/stock.hpp"

#include <functional>
#include <list>
#include <memory>
#include <string>

namespace hal::worker {

/**
 * The pool over a registry's stock. Nothing is polled: every event that could change what pool_policy() says leads to
 * one look at it in the next turn of the loop, and what only time changes has a timer for the moment it does.
 */
class LivePool final : public Pool, private Stock::Listener {
 public:
  struct Parts {
    event::Loop& loop;
    Stock& stock;
    Runtime& runtime;
    const Settings& settings;
    /** What is missing for making a worker, or empty. */
    std::function<std::string()> missing;
  };

  explicit LivePool(Parts parts);
  ~LivePool() override;

  void set_listener(Pool::Listener* listener) { listener_ = listener; }
  /** The registry has taken up what there is: the pool may begin. */
  void start();
  /** Engine, parent, workers or settings changed, or an image: what fits may be another now. */
  void look();
  void look_at_image();
  void on_pressure(Pressure pressure);
  /** The host does not tell its pressure. */
  void without_pressure();

  [[nodiscard]] Status status() const override;
  Result<void> configure(const Change& change) override;
  [[nodiscard]] OperationHandle warm(std::uint32_t count, Progress progress, Done<void> done) override;
  [[nodiscard]] OperationHandle drain(Progress progress, Done<void> done) override;
  void cleanup(Done<std::uint32_t> done) override;

 private:
  class Job;

  void on_demand(bool hit) override;
  void on_claimed(std::chrono::nanoseconds took) override { claim_times_.add(took); }
  void on_stock_changed() override { look(); }
  [[nodiscard]] std::string shortage() const override;

  [[nodiscard]] PoolSettings bounds() const;
  [[nodiscard]] PoolSituation situation() const;
  void decide();
  void create();
  void make(const Result<ImageInfo>& image);
  void made(const Result<WorkerId>& result, std::chrono::steady_clock::time_point begun);
  void failed(const Error& error);
  void retire(const WorkerId& id, const std::string& reason);
  void image_lost(const Error& error);
  void image_found(const ImageInfo& image);
  void set_generation(const std::string& image_id);
  void settle_jobs();
  void changed();
  Result<void> keep(PoolState state);
  [[nodiscard]] std::uint32_t asked_for() const;
  [[nodiscard]] std::string state_file() const;

  Parts parts_;
  Pool::Listener* listener_ = nullptr;
  PoolState state_;
  bool started_ = false;
  Demand demand_;
  Circuit circuit_;
  Seconds refill_time_;
  Pressure pressure_ = Pressure::none;
  bool pressure_known_ = true;
  bool give_back_ = false;
  std::uint64_t hits_ = 0;
  std::uint64_t misses_ = 0;
  Latency claim_times_;
  std::string generation_;
  /** Engine calls on the way to a new worker which the stock does not count yet. */
  std::size_t asking_ = 0;
  std::string failure_;
  /** The failure is that there is no image. */
  bool image_lost_ = false;
  std::optional<std::chrono::steady_clock::time_point> surplus_since_;
  /** Since when there have always been claims under way. */
  std::optional<std::chrono::steady_clock::time_point> claiming_since_;
  std::optional<std::chrono::steady_clock::time_point> last_claim_;
  /** Workers whose removal is under way. */
  std::size_t retiring_ = 0;
  std::list<Job*> jobs_;

  event::Defer look_;
  event::Timer again_;
  /** After a failure to make one, and to remove one. */
  event::Timer retry_;
  event::Timer retry_retire_;
  Alive alive_;
};

/** The fingerprint of all that is fixed when a container is made: image, limits, our programs in it. */
[[nodiscard]] std::string generation_of(const Settings& settings, const std::string& image_id);

}  // namespace hal::worker
