#include "bus/leases.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <utility>

#include <fmt/format.h>

namespace hal::bus {

namespace {

constexpr std::size_t max_leases_per_worker = 16;

}  // namespace

Leases::Leases(event::Loop& loop, OnReleased on_released) : loop_(loop), on_released_(std::move(on_released)) {}

Result<UniqueFd> Leases::take(const WorkerId& worker) {
  auto& leases = leases_[worker];
  if (leases.size() >= max_leases_per_worker) {
    return Error{Errc::limit,
                 fmt::format("worker {} has {} leases already, which is the limit", worker.value, leases.size())};
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    return errno_error("pipe2");
  }
  UniqueFd reading_end(ends[0]);
  UniqueFd writing_end(ends[1]);
  const Key key = next_key_++;
  // A pipe nobody can read any more is in error; that is the only thing to wait for.
  event::Io closed(loop_, writing_end.get(), EPOLLERR, "lease " + worker.value,
                   [this, worker, key](std::uint32_t) { on_closed(worker, key); });
  leases.emplace(key, Lease{std::move(writing_end), std::move(closed)});
  return reading_end;
}

void Leases::drop(const WorkerId& worker) {
  leases_.erase(worker);
}

void Leases::on_closed(const WorkerId& worker, Key key) {
  const WorkerId id = worker;  // the one that came is the source's, which ends here
  const auto found = leases_.find(id);
  if (found == leases_.end()) {
    return;
  }
  found->second.erase(key);
  if (found->second.empty()) {
    leases_.erase(found);
    on_released_(id);
  }
}

}  // namespace hal::bus
