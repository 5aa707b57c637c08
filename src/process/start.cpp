#include "process/start.hpp"

#include "process/child.hpp"

#include <sys/epoll.h>

#include <utility>

#include <fmt/format.h>

namespace hal::process {

Start::Start(event::Loop& loop, const SpawnSpec& spec, std::chrono::milliseconds deadline, Done<pid_t> done)
    : loop_(loop),
      program_(spec.argv.empty() ? "" : spec.argv.front()),
      done_(std::move(done)),
      failed_(loop, "start " + program_, [this] { finish(error_); }),
      deadline_(loop, "deadline of start " + program_, [this] { on_deadline(); }) {
  auto forked = fork_program(spec);
  if (!forked) {
    error_ = forked.error();
    failed_.schedule();
    return;
  }
  child_ = std::move(*forked);
  report_ = std::make_unique<event::Io>(loop, child_.report.get(), EPOLLIN, "report of " + program_,
                                        [this](std::uint32_t) { on_report(); });
  deadline_.arm(deadline);
}

Start::~Start() {
  give_up();
}

void Start::on_report() {
  if (const auto started = read_report(child_, program_); !started) {
    give_up();
    return finish(started.error());
  }
  finish(std::exchange(child_.pid, 0));
}

void Start::on_deadline() {
  give_up();
  finish(Error{Errc::timed_out, program_ + ": is not executed in time; does its file system hang?"});
}

void Start::give_up() {
  report_.reset();
  if (const auto pid = std::exchange(child_.pid, 0); pid > 0) {
    const Child ending(loop_, pid, program_, [](const ExitStatus&) {});  // killed and reaped whenever it ends
  }
}

void Start::finish(Result<pid_t> result) {
  report_.reset();
  deadline_.disarm();
  const auto done = std::exchange(done_, nullptr);
  done(std::move(result));  // may destroy this
}

}  // namespace hal::process
