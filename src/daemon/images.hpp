#pragma once

#include "base/alive.hpp"
#include "bus/backend.hpp"
#include "event/sources.hpp"
#include "image/scripts.hpp"
#include "worker/settings.hpp"

#include <chrono>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace hal::daemon {

/**
 * The images: what there is of them, and jobs that build and load them, one at a time. The parent's and the default
 * profile's are needed: while one of these is missing that can be built, this begins a job for it by itself, and again
 * later where that fails.
 */
class Images final : public bus::ImageControl {
 public:
  /** All outlive it. */
  struct Parts {
    event::Loop& loop;
    worker::Runtime& runtime;
    const worker::Settings& settings;
    image::Scripts& scripts;
    using Begin = std::function<worker::OperationHandle(bus::DaemonControl::Progress progress, Done<void> done)>;
    /** Has a job of the daemon's own on the bus. */
    std::function<Result<std::uint32_t>(std::string kind, const Begin& begin)> start_job;
    /** What is missing, or how far its job is. */
    std::function<void()> changed;
    /** A needed image that was missing is there. */
    std::function<void()> complete;
  };
  explicit Images(Parts parts);
  ~Images() override;

  void list(Done<std::vector<image::Image>> done) override;
  [[nodiscard]] Result<void> may_begin(const std::vector<std::string>& names) const override;
  [[nodiscard]] worker::OperationHandle build(bus::BuildRequest request, bus::DaemonControl::Progress progress,
                                              Done<void> done) override;
  [[nodiscard]] worker::OperationHandle load(UniqueFd archive, bus::DaemonControl::Progress progress,
                                             Done<void> done) override;

  /** Engine, settings or images changed. */
  void look();
  /** No needed image is missing. */
  [[nodiscard]] bool complete() const { return missing_.empty(); }
  /** That this image is missing and on its way, for people; empty where that is not so. */
  [[nodiscard]] std::string on_its_way(const std::string& reference) const;
  /** What is missing and what is done about it, for people; empty where nothing is. */
  [[nodiscard]] std::string status() const;

 private:
  class Task;

  [[nodiscard]] std::set<std::string> needed() const;
  /** Those of `missing_` that can be built, as the scripts call them. */
  [[nodiscard]] std::vector<std::string> buildable() const;
  void find_generations();
  void compare(const std::vector<image::Image>& images);
  void begin();
  void on_progress(double fraction, std::string message);
  /** Nothing: it was given up. */
  void on_end(const std::optional<Result<void>>& result);

  Parts parts_;
  std::optional<image::Generations> wanted_;
  worker::OperationHandle finding_;
  bool looking_ = false;
  bool look_again_ = false;
  std::set<std::string> missing_;
  /** The job under way. */
  struct Current {
    std::vector<std::string> names;
    double fraction = 0;
    std::string message;
  };
  std::optional<Current> current_;
  std::string failure_;
  std::chrono::milliseconds retry_delay_;
  std::chrono::milliseconds list_retry_delay_;
  /** After a failure to ask the scripts, and to build. */
  event::Timer list_retry_;
  event::Timer retry_;
  event::Defer look_;
  Alive alive_;
};

}  // namespace hal::daemon
