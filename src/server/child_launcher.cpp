#include "server/child_launcher.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "process/child.hpp"
#include "process/start.hpp"
#include "server/remote_settings.hpp"
#include "server/stderr_log.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <utility>

#include <fmt/format.h>

namespace hal::server {

namespace {

/** From fork to execve: what takes longer hangs. */
constexpr auto start_deadline = std::chrono::seconds(30);

}  // namespace

/** A process that has not become its program yet, and our ends of its stdio. */
struct ChildLauncher::Starting {
  std::string server;
  UniqueFd to_server;
  UniqueFd from_server;
  UniqueFd stderr_fd;
  std::chrono::milliseconds stop_timeout;
  Done<Launched> done;
  std::unique_ptr<process::Start> start;
};

/** One running process with its stderr. */
class ChildLauncher::Instance {
 public:
  Instance(ChildLauncher& owner, InstanceId id, const std::string& server, pid_t pid, UniqueFd stderr_fd,
           std::chrono::milliseconds stop_timeout)
      : owner_(owner),
        id_(id),
        stop_timeout_(stop_timeout),
        stderr_(owner.loop_, std::move(stderr_fd), server),
        timer_(owner.loop_, "stop " + server, [this] { escalate(); }),
        child_(owner.loop_, pid, "server " + server, [this](const process::ExitStatus& status) { on_exit(status); }) {}

  [[nodiscard]] pid_t pid() const noexcept { return child_.pid(); }

  void stop(std::chrono::milliseconds grace) {
    if (next_signal_ == 0) {
      next_signal_ = SIGTERM;
      timer_.arm(grace);
    }
  }

 private:
  void escalate() {
    child_.kill_group(next_signal_);
    if (next_signal_ == SIGTERM) {
      next_signal_ = SIGKILL;
      timer_.arm(stop_timeout_);
    }
  }

  void on_exit(const process::ExitStatus& status) {
    stderr_.drain();
    const auto last = stderr_.last_lines();
    owner_.on_exit(id_, {last.empty() ? status.describe() : fmt::format("{}; last stderr: {}", status.describe(), last),
                         status.code == 0});  // destroys this
  }

  ChildLauncher& owner_;
  InstanceId id_;
  std::chrono::milliseconds stop_timeout_;
  StderrLog stderr_;
  event::Timer timer_;
  /** Of the stop under way; 0: none is. */
  int next_signal_ = 0;
  process::Child child_;
};

ChildLauncher::ChildLauncher(event::Loop& loop, const std::string& user)
    : loop_(loop),
      account_(find_account(user)),
      remote_account_(find_account(remote_user)),
      answer_later_(loop, "child launcher answers", [this] {
        const auto answers = std::exchange(answers_, {});
        for (const auto& call : answers) {
          call();
        }
      }) {
  if (::geteuid() == 0 && !account_) {
    log::warning({}, "there is no user {}: MCP servers run as root", user);
  }
}

ChildLauncher::~ChildLauncher() = default;

void ChildLauncher::start(const LaunchSpec& spec, Done<Launched> done) {
  if (const auto begun = begin(spec, done); !begun) {
    answer([error = begun.error(), done = std::move(done)] { done(error); });
  }
}

Result<void> ChildLauncher::begin(const LaunchSpec& spec, const Done<Launched>& done) {
  if ((spec.config.memory_max > 0 || spec.config.tasks_max > 0) && !std::exchange(told_of_limits_, true)) {
    log::info({}, "memory_max and tasks_max of MCP servers need systemd and are not kept here");
  }
  const auto& account = spec.config.remote && remote_account_ ? remote_account_ : account_;
  if (auto made = make_state_directory(spec.config.state_directory, account); !made) {
    return made.error();
  }
  const auto settings = first_line(spec.config);
  if (!settings) {
    return settings.error();
  }
  auto pipes = make_stdio(*settings);
  int errors[2];
  if (!pipes) {
    return pipes.error();
  }
  if (::pipe2(errors, O_CLOEXEC) != 0) {
    return errno_error("pipe2");
  }
  UniqueFd stderr_read(errors[0]);
  const UniqueFd stderr_write(errors[1]);
  process::SpawnSpec child;
  child.argv = spec.config.argv;
  child.env = environment(spec.config);
  child.cwd = spec.config.cwd.empty() ? spec.config.state_directory : spec.config.cwd;
  child.fds = {{0, spec.input >= 0 ? spec.input : pipes->server_in.get()},
               {1, pipes->server_out.get()},
               {2, stderr_write.get()}};
  child.user = account;
  child.private_network = spec.config.network == Network::none;
  child.network_namespace = spec.config.network == Network::parent ? spec.network_namespace : -1;
  auto start = std::make_unique<process::Start>(
      loop_, child, start_deadline, [this, id = spec.instance](Result<pid_t> pid) { on_started(id, std::move(pid)); });
  starting_[spec.instance] =
      std::make_unique<Starting>(Starting{spec.config.name, std::move(pipes->to_server), std::move(pipes->from_server),
                                          std::move(stderr_read), spec.config.stop_timeout, done, std::move(start)});
  return {};
}

void ChildLauncher::on_started(InstanceId id, Result<pid_t> pid) {
  const auto node = starting_.extract(id);
  auto& starting = *node.mapped();
  if (!pid) {
    return starting.done(pid.error());
  }
  // Before the answer, so that the listener hears of the exit after it: see event::Priority.
  instances_[id] = std::make_unique<Instance>(*this, id, starting.server, *pid, std::move(starting.stderr_fd),
                                              starting.stop_timeout);
  starting.done(Launched{*pid, {}, std::move(starting.to_server), std::move(starting.from_server)});
}

void ChildLauncher::stop(InstanceId instance, std::chrono::milliseconds grace) {
  if (auto node = starting_.extract(instance)) {
    answer([done = std::move(node.mapped()->done)] { done(Error{Errc::cancelled, "it was stopped meanwhile"}); });
  } else if (const auto found = instances_.find(instance); found != instances_.end()) {
    found->second->stop(grace);
  }
}

void ChildLauncher::survivors(Done<std::vector<Survivor>> done) {
  answer([done = std::move(done)] { done(std::vector<Survivor>{}); });  // children die with their daemon
}

void ChildLauncher::on_exit(InstanceId instance, const InstanceExit& exit) {
  const InstanceExit copy = exit;
  instances_.erase(instance);
  if (listener_ != nullptr) {
    listener_->on_instance_exit(instance, copy);
  }
}

void ChildLauncher::answer(std::function<void()> call) {
  answers_.push_back(std::move(call));
  answer_later_.schedule();
}

}  // namespace hal::server
