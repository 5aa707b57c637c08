#pragma once

#include "base/alive.hpp"
#include "base/result.hpp"
#include "claudy/bus.hpp"
#include "event/sources.hpp"
#include "metrics/figures.hpp"

#include <cstddef>
#include <functional>
#include <memory>

#include <nlohmann/json_fwd.hpp>

namespace hal::metrics {

/** Asks daemon and service manager for figures. Never starts the daemon. */
class Collector {
 public:
  /** `user`: of the session bus. */
  Collector(event::Loop& loop, bool user);
  ~Collector();
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;

  /** One at a time; answers from the loop, within 12 s. */
  void collect(std::function<void(const Figures&)> done);

 private:
  void ask(claudy::Method method, const std::vector<claudy::Argument>& arguments,
           std::function<void(const Result<claudy::Reply>&)> take);
  void take_units(const nlohmann::json& units);
  void finish();

  event::Loop& loop_;
  bool user_;
  std::unique_ptr<claudy::Bus> bus_;
  std::function<void(const Figures&)> done_;
  Figures figures_;
  std::size_t pending_ = 0;
  event::Defer finish_;
  Alive alive_;
};

}  // namespace hal::metrics
