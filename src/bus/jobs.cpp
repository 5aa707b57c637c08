#include "bus/jobs.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "bus/job_adaptor.hpp"
#include "event/sources.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

namespace hal::bus {

namespace {

constexpr std::size_t max_running = 16;
constexpr std::size_t max_finished = 64;
constexpr auto kept_after_end = std::chrono::minutes(1);

std::string_view result_of(Errc code) {
  switch (code) {
    case Errc::cancelled:
      return "cancelled";
    case Errc::timed_out:
      return "timed_out";
    default:
      return "failed";
  }
}

}  // namespace

struct Jobs::Job {
  Job(Jobs& jobs, std::uint32_t id, std::string kind, uid_t owner)
      : adaptor(jobs.connection_, jobs.calls_, id, std::move(kind), owner, [&jobs, id] { return jobs.cancel(id); }),
        expiry(jobs.loop_, fmt::format("job {}", id), [&jobs, id] { jobs.forget(id); }) {}

  JobAdaptor adaptor;
  JobStatus status;
  worker::OperationHandle operation;
  event::Timer expiry;
};

Jobs::Jobs(event::Loop& loop, sdbus::IConnection& connection, Calls& calls, Events events)
    : loop_(loop), connection_(connection), calls_(calls), events_(std::move(events)) {}

Jobs::~Jobs() = default;

Result<std::uint32_t> Jobs::start(std::string kind, uid_t owner, const Begin& begin) {
  const auto running =
      std::count_if(jobs_.begin(), jobs_.end(), [](const auto& entry) { return !entry.second->adaptor.finished(); });
  if (static_cast<std::size_t>(running) >= max_running) {
    return Error{Errc::limit, fmt::format("{} jobs are running, which is the limit", running)};
  }
  const auto id = next_id_++;
  const auto job = jobs_.emplace(id, std::make_unique<Job>(*this, id, std::move(kind), owner)).first;
  job->second->adaptor.announce();
  events_.on_new(id);
  job->second->operation =
      begin([this, id](double fraction, std::string message) { progress(id, fraction, std::move(message)); },
            [this, id](const Result<void>& result) {
              if (result) {
                finish(id, "done", "");
              } else {
                finish(id, result_of(result.error().code), result.error().message);
              }
            });
  return id;
}

void Jobs::publish() {
  for (auto& [id, job] : jobs_) {
    job->adaptor.publish();
  }
}

void Jobs::progress(std::uint32_t id, double fraction, std::string message) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end() || found->second->adaptor.finished()) {
    return;
  }
  auto& job = *found->second;
  job.status.progress = std::clamp(fraction, 0.0, 1.0);
  job.status.message = std::move(message);
  job.adaptor.update(job.status);
  events_.on_changed();
}

void Jobs::finish(std::uint32_t id, std::string_view result, std::string message) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end() || found->second->adaptor.finished()) {
    return;
  }
  auto& job = *found->second;
  job.status.progress = result == "done" ? 1.0 : job.status.progress;
  job.status.message = std::move(message);
  job.status.result = result;
  job.adaptor.update(job.status);
  job.adaptor.publish();
  job.expiry.arm(kept_after_end);
  log::info({{names::field_job, std::to_string(id)}}, "job {} ended: {}", id, result);
  events_.on_finished(id, result);
  bound_finished();
}

Result<void> Jobs::cancel(std::uint32_t id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) {
    return Error{Errc::not_found, fmt::format("job {} is gone", id)};
  }
  if (found->second->adaptor.finished()) {
    return Error{Errc::busy, fmt::format("job {} is over", id)};
  }
  found->second->operation.reset();
  finish(id, "cancelled", "cancelled by a user");
  return {};
}

void Jobs::forget(std::uint32_t id) {
  const auto found = jobs_.find(id);
  if (found != jobs_.end()) {
    found->second->adaptor.withdraw();
    jobs_.erase(found);
  }
}

void Jobs::bound_finished() {
  std::size_t finished = 0;
  for (auto job = jobs_.rbegin(); job != jobs_.rend(); ++job) {
    // The oldest go first, a moment from now: one of them may be the one whose end this is.
    if (job->second->adaptor.finished() && ++finished > max_finished) {
      job->second->expiry.arm(std::chrono::microseconds(0));
    }
  }
}

}  // namespace hal::bus
