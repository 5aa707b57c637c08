#pragma once

#include "bus/calls.hpp"
#include "bus/published.hpp"
#include "bus/reply.hpp"

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <org.hal9000.Job1.adaptor.hpp>

namespace hal::bus {

/** What a job shows. */
struct JobStatus {
  double progress = 0;
  std::string message;
  /** Empty while it runs. */
  std::string result;
};

[[nodiscard]] std::string job_path(std::uint32_t id);

/** org.hal9000.Job1 of one job. */
class JobAdaptor final : public sdbus::AdaptorInterfaces<org::hal9000::Job1_adaptor> {
 public:
  /** `owner` began it. `cancel` may be called after the object's end. */
  JobAdaptor(sdbus::IConnection& connection, Calls& calls, std::uint32_t id, std::string kind, uid_t owner,
             std::function<hal::Result<void>()> cancel);
  ~JobAdaptor();
  JobAdaptor(const JobAdaptor&) = delete;
  JobAdaptor& operator=(const JobAdaptor&) = delete;

  void announce();
  void withdraw();
  /** Shows a new status; publish() tells of it. */
  void update(JobStatus status);
  void publish();
  [[nodiscard]] bool finished() const noexcept { return !status_.result.empty(); }

 private:
  [[nodiscard]] Published::Snapshot snapshot() const;

  void Cancel(sdbus::Result<>&& result) override;

  std::uint32_t Id() override;
  std::string Kind() override;
  std::string State() override;
  double Progress() override;
  std::string Message() override;
  std::string Result() override;

  Calls& calls_;
  std::uint32_t id_;
  std::string kind_;
  uid_t owner_;
  std::function<hal::Result<void>()> cancel_;
  JobStatus status_;
  Published published_;
  std::shared_ptr<OpenCalls> open_calls_ = std::make_shared<OpenCalls>();
};

}  // namespace hal::bus
