#include "install/installer.hpp"

#include "base/log.hpp"
#include "base/text.hpp"
#include "host/user_rights.hpp"
#include "install/recipe.hpp"
#include "install/tree.hpp"
#include "process/fork_task.hpp"
#include "server/stdio.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <optional>
#include <utility>

#include <fmt/format.h>

namespace hal::install {

namespace {

/** Both package managers wait for slow registries; nothing useful takes longer. */
constexpr std::chrono::minutes deadline{15};
/** Of what a program prints; errors stand at its end. */
constexpr std::size_t kept_output_bytes = 16 * 1024;
constexpr std::size_t max_message_bytes = 120;
/** Trees of ten thousands of files on a slow disk. */
constexpr std::chrono::minutes tree_deadline{5};

/** In a forked child: looks with the rights of those who wrote, then makes it root's. */
Result<process::TaskOutput> complete(const Package& package, const std::string& folder, const std::string& bin,
                                     const std::optional<server::Account>& account) {
  std::optional<host::ActAs> act_as;
  if (account) {
    act_as.emplace(host::UserRights{account->first, account->second, {account->second}});
    if (!act_as->taken()) {
      return act_as->taken().error();
    }
  }
  const auto found = inspect(package, folder, bin);
  act_as.reset();
  if (!found) {
    return found.error();
  }
  if (auto removed = remove_tree(scratch_folder(folder)); !removed) {
    return removed.error();
  }
  if (auto sealed = seal_tree(folder); !sealed) {
    return sealed.error();
  }
  return process::TaskOutput{{}, found->program + "\n" + found->package.version};
}

}  // namespace

const char* user() {
  constexpr const char* own = "hal9000-install";
  return server::find_account(own) ? own : "nobody";
}

/** One package on its way. */
class Installer::Job : public std::enable_shared_from_this<Installer::Job> {
 public:
  Job(Installer& owner, Request request, Progress progress, Done<Installed> done)
      : owner_(owner),
        request_(std::move(request)),
        progress_(std::move(progress)),
        done_(std::move(done)),
        folder_(fmt::format("{}/{}/{}", owner.root_, request_.name, text::random_hex(16))),
        steps_(steps(request_.name, request_.package, folder_, request_.scripts)),
        account_(server::find_account(owner.user_)),
        begin_(owner.loop_, "install " + request_.name, [this] { begin(); }),
        deadline_(owner.loop_, "install deadline", [this] {
          fail({Errc::timed_out,
                fmt::format("{} was not installed within {} minutes", request_.package.text(), deadline.count())});
        }) {
    begin_.schedule();
    deadline_.arm(deadline);
  }

  [[nodiscard]] const std::string& name() const noexcept { return request_.name; }
  [[nodiscard]] const std::string& folder() const noexcept { return folder_; }
  [[nodiscard]] InstanceId instance() const noexcept { return instance_; }

  /** Nobody waits for it any more, or has taken the result over. */
  void abandon() {
    done_ = nullptr;
    end();
  }

  void on_exit(const server::InstanceExit& exit) {
    read_output();
    source_.reset();
    running_ = false;
    if (!done_) {
      owner_.forget(shared_from_this());
    } else if (exit.clean) {
      next_step();
    } else {
      fail(failure(request_.package, tail_, exit.reason));
    }
  }

 private:
  void begin() {
    if (::geteuid() == 0 && !account_) {
      fail({Errc::unavailable, fmt::format("there is no user {} to install as", owner_.user_)});
    } else {
      next_step();
    }
  }

  void next_step() {
    if (next_ == steps_.size()) {
      complete_folder();
      return;
    }
    const auto& step = steps_[next_];
    tell(step.message);
    tail_.clear();
    instance_ = InstanceId{text::random_u64()};
    running_ = true;
    owner_.launcher_->start(
        {instance_, step.config, -1},
        [job = shared_from_this()](Result<server::Launched> launched) { job->on_launched(std::move(launched)); });
    ++next_;
  }

  void on_launched(Result<server::Launched> launched) {
    if (!launched) {
      running_ = false;
      if (done_) {
        fail(launched.error());
      } else {
        owner_.forget(shared_from_this());
      }
      return;
    }
    output_ = std::move(launched->from_server);  // its stdin closes: nobody answers questions
    (void)::fcntl(output_.get(), F_SETFL, O_NONBLOCK);
    source_ =
        std::make_unique<event::Io>(owner_.loop_, output_.get(), EPOLLIN, "install output", [this](std::uint32_t) {
          if (!read_output()) {
            source_->set_events(0);
          }
        });
  }

  /** False at the end. */
  bool read_output() {
    char buffer[4096];
    for (int turn = 0; turn < 16; ++turn) {
      const ssize_t bytes = output_ ? ::read(output_.get(), buffer, sizeof buffer) : -1;
      if (bytes <= 0) {
        return bytes < 0;
      }
      tail_.append(buffer, static_cast<std::size_t>(bytes));
      if (tail_.size() > 2 * kept_output_bytes) {
        tail_.erase(0, tail_.size() - kept_output_bytes);
      }
    }
    return true;
  }

  void complete_folder() {
    tell("looks at what was installed");
    task_ = std::make_unique<process::ForkTask>(
        owner_.loop_, "install " + name(), tree_deadline,
        [package = request_.package, folder = folder_, bin = request_.bin, account = account_] {
          return complete(package, folder, bin, account);
        },
        [this](const Result<process::TaskOutput>& output) { on_complete(output); });
  }

  void on_complete(const Result<process::TaskOutput>& output) {
    if (!output) {
      fail(output.error());
      return;
    }
    deadline_.disarm();
    const auto end = output->text.find('\n');
    Installed installed{folder_, output->text.substr(0, end), request_.package};
    installed.package.version = output->text.substr(end + 1);
    const auto done = std::exchange(done_, nullptr);
    done(std::move(installed));  // the folder stays reserved until the handle goes
  }

  void tell(const std::string& message) {
    progress_(static_cast<double>(next_) / static_cast<double>(steps_.size() + 2),
              text::printable(message, max_message_bytes));
  }

  void fail(const Error& error) {
    const auto done = std::exchange(done_, nullptr);
    const auto self = shared_from_this();
    end();
    if (done) {
      done(error);
    }
  }

  void end() {
    deadline_.disarm();
    begin_.cancel();
    if (running_) {
      owner_.launcher_->stop(instance_, std::chrono::milliseconds(0));  // forgotten when it has ended
    } else {
      owner_.forget(shared_from_this());
    }
  }

  Installer& owner_;
  Request request_;
  Progress progress_;
  Done<Installed> done_;
  std::string folder_;
  std::vector<Step> steps_;
  std::optional<server::Account> account_;
  std::size_t next_ = 0;
  InstanceId instance_;
  bool running_ = false;
  UniqueFd output_;
  std::string tail_;
  std::unique_ptr<event::Io> source_;
  std::unique_ptr<process::ForkTask> task_;
  event::Defer begin_;
  event::Timer deadline_;
};

class Installer::Handle final : public Installer::Run {
 public:
  explicit Handle(std::weak_ptr<Job> job) : job_(std::move(job)) {}
  ~Handle() override {
    if (const auto job = job_.lock()) {
      job->abandon();
    }
  }

 private:
  std::weak_ptr<Job> job_;
};

class Installer::Sweep {
 public:
  Sweep(Installer& owner, std::set<std::string> keep)
      : task_(
            owner.loop_, "sweep of packages", tree_deadline,
            [root = owner.root_, keep = std::move(keep)]() -> Result<process::TaskOutput> {
              auto done = sweep_generations(root, keep);
              return done ? Result<process::TaskOutput>(process::TaskOutput{}) : done.error();
            },
            [&owner](const Result<process::TaskOutput>& output) {
              if (!output) {
                log::warning({}, "packages that are not used any more stay: {}", output.error().message);
              }
              owner.sweep_.reset();  // destroys this
              if (std::exchange(owner.sweep_again_, false)) {
                owner.start_sweep();
              }
            }) {}

 private:
  process::ForkTask task_;
};

Installer::Installer(event::Loop& loop, std::unique_ptr<server::Launcher> launcher, std::string root, std::string user)
    : loop_(loop), launcher_(std::move(launcher)), root_(std::move(root)), user_(std::move(user)) {
  launcher_->set_listener(this);
}

Installer::~Installer() {
  launcher_->set_listener(nullptr);
}

std::unique_ptr<Installer::Run> Installer::install(Request request, Progress progress, Done<Installed> done) {
  const auto job = std::make_shared<Job>(*this, std::move(request), std::move(progress), std::move(done));
  jobs_[job->name()] = job;
  return std::make_unique<Handle>(job);
}

bool Installer::busy(const std::string& name) const {
  return jobs_.contains(name);
}

std::set<std::string> Installer::generations_in(std::string_view text) const {
  std::set<std::string> found;
  const auto prefix = root_ + "/";
  for (auto start = text.find(prefix); start != std::string_view::npos; start = text.find(prefix, start + 1)) {
    const auto slash = text.find('/', start + prefix.size());
    if (slash != std::string_view::npos) {
      found.emplace(text.substr(start, text.find_first_of("/\"", slash + 1) - start));
    }
  }
  return found;
}

void Installer::sweep(std::set<std::string> keep) {
  keep_ = std::move(keep);
  start_sweep();
}

void Installer::start_sweep() {
  if (sweep_) {
    sweep_again_ = true;
    return;
  }
  auto keep = keep_;
  for (const auto& [name, job] : jobs_) {
    keep.insert(job->folder());
  }
  sweep_ = std::make_unique<Sweep>(*this, std::move(keep));
}

void Installer::forget(const std::shared_ptr<Job>& job) {
  if (jobs_.erase(job->name()) > 0) {
    start_sweep();
  }
}

void Installer::on_instance_exit(InstanceId instance, const server::InstanceExit& exit) {
  for (const auto& [name, job] : jobs_) {
    if (job->instance() == instance) {
      const auto kept = job;
      kept->on_exit(exit);
      return;
    }
  }
}

}  // namespace hal::install
