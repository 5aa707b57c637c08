#pragma once

#include "bus/backend.hpp"
#include "bus/calls.hpp"
#include "event/loop.hpp"

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace hal::bus {

/** All jobs, running and lately finished, as objects on the bus. */
class Jobs {
 public:
  struct Events {
    std::function<void(std::uint32_t id)> on_new;
    std::function<void(std::uint32_t id, std::string_view result)> on_finished;
    /** publish() has something to tell. */
    std::function<void()> on_changed;
  };
  Jobs(event::Loop& loop, sdbus::IConnection& connection, Calls& calls, Events events);
  ~Jobs();
  Jobs(const Jobs&) = delete;
  Jobs& operator=(const Jobs&) = delete;

  /** Starts what the job is about; destroying the handle cancels it, and neither callback comes from inside. */
  using Begin = std::function<worker::OperationHandle(DaemonControl::Progress progress, Done<void> done)>;
  /** `owner` may cancel it. */
  [[nodiscard]] Result<std::uint32_t> start(std::string kind, uid_t owner, const Begin& begin);

  void publish();

 private:
  struct Job;

  void progress(std::uint32_t id, double fraction, std::string message);
  void finish(std::uint32_t id, std::string_view result, std::string message);
  Result<void> cancel(std::uint32_t id);
  void forget(std::uint32_t id);
  void bound_finished();

  event::Loop& loop_;
  sdbus::IConnection& connection_;
  Calls& calls_;
  Events events_;
  std::map<std::uint32_t, std::unique_ptr<Job>> jobs_;
  std::uint32_t next_id_ = 1;
};

}  // namespace hal::bus
