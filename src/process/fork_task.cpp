#include "process/fork_task.hpp"

#include "io/listener.hpp"
#include "io/message_channel.hpp"
#include "process/child.hpp"
#include "process/signals.hpp"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <utility>

namespace hal::process {

namespace {

/** First byte of the answer. */
constexpr char answer_value = 'v';
constexpr char answer_error = 'e';
/** Far below what a datagram takes, so that an error always arrives. */
constexpr std::size_t max_error_bytes = 4096;

void send_answer(int socket, const Result<TaskOutput>& result) {
  std::string bytes;
  std::vector<int> fds;
  if (result) {
    bytes = answer_value + result->text;
    for (const auto& fd : result->fds) {
      fds.push_back(fd.get());
    }
  } else {
    bytes = answer_error;
    bytes += static_cast<char>(result.error().code);
    bytes += result.error().message.substr(0, max_error_bytes);
  }
  const auto sent = io::send_message(socket, bytes, fds);
  if (!sent && result) {
    send_answer(socket, sent.error().with("the task's answer"));
  }
}

/** Closes all descriptors from 3 on but these; needs no memory. */
bool close_others(const std::vector<int>& sorted) {
  unsigned next = STDERR_FILENO + 1;
  for (const int fd : sorted) {
    const auto number = static_cast<unsigned>(fd);
    if (fd > STDERR_FILENO && number >= next) {
      if (number > next && ::close_range(next, number - 1, 0) != 0) {
        return false;
      }
      next = number + 1;
    }
  }
  return ::close_range(next, ~0U, 0) == 0;
}

[[noreturn]] void run_in_child(int socket, pid_t parent, const std::vector<int>& keep,
                               const ForkTask::Function& function) {
  (void)::setsid();
  reset_signals();
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != parent) {
    ::_exit(1);
  }
  if (!close_others(keep)) {
    send_answer(socket, errno_error("close_range"));
    ::_exit(1);
  }
  try {
    send_answer(socket, function());
  } catch (const std::exception& error) {
    send_answer(socket, Error{Errc::internal, error.what()});
  } catch (...) {
    send_answer(socket, Error{Errc::internal, "unknown exception"});
  }
  ::_exit(0);
}

Result<TaskOutput> decode(io::Message message) {
  if (message.bytes[0] == answer_value) {
    return TaskOutput{std::move(message.fds), message.bytes.substr(1)};
  }
  return Error{static_cast<Errc>(message.bytes.at(1)), message.bytes.substr(2)};
}

}  // namespace

ForkTask::ForkTask(event::Loop& loop, std::string name, std::chrono::milliseconds deadline, const Function& function,
                   Done<TaskOutput> done, std::vector<int> keep)
    : name_(std::move(name)),
      done_(std::move(done)),
      deadline_(loop, name_ + " (deadline)",
                [this] {
                  child_.reset();
                  finish(Error{Errc::timed_out, name_ + ": gave no answer in time"});
                }),
      failed_(loop, name_ + " (failed)", [this] {
        finish(Error{Errc::limit, name_ + ": cannot fork"});
      }) {
  auto pair = io::socket_pair(SOCK_SEQPACKET);
  if (pair) {
    keep.push_back(pair->theirs.get());
    std::sort(keep.begin(), keep.end());
  }
  const pid_t parent = ::getpid();
  const pid_t pid = pair ? ::fork() : -1;
  if (pid < 0) {
    failed_.schedule();
    return;
  }
  if (pid == 0) {
    run_in_child(pair->theirs.get(), parent, keep, function);
  }
  socket_ = std::move(pair->ours);
  child_ = std::make_unique<Child>(loop, pid, name_ + " (child)", [this](const ExitStatus& status) {
    finish(Error{Errc::internal, name_ + ": the child " + status.describe()});
  });
  source_ = std::make_unique<event::Io>(loop, socket_.get(), EPOLLIN, name_, [this](std::uint32_t) { receive(); });
  deadline_.arm(deadline);
}

ForkTask::~ForkTask() = default;

void ForkTask::receive() {
  auto message = io::receive_message(socket_.get());
  if (message && *message) {
    finish(decode(std::move(**message)));
  } else {
    source_->set_events(0);  // the child's exit tells why
  }
}

void ForkTask::finish(Result<TaskOutput> result) {
  if (!done_) {
    return;
  }
  deadline_.disarm();
  if (source_) {
    source_->set_events(0);
  }
  const auto done = std::exchange(done_, nullptr);
  done(std::move(result));  // may destroy this
}

}  // namespace hal::process
