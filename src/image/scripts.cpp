#include "image/scripts.hpp"

#include "base/text.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include <fmt/format.h>

namespace hal::image {

namespace {

/** A machine that has nothing yet, with a slow network. */
constexpr std::chrono::minutes deadline{25};
constexpr std::uint64_t memory_max = std::uint64_t{3} << 30;
constexpr std::uint64_t tasks_max = 1024;
/** A script that is ended removes what it has made. */
constexpr std::chrono::milliseconds stop_timeout{30'000};
/** What a script may print that is read as a whole. */
constexpr std::size_t max_text_bytes = 64 * 1024;

/** All that is printed comes by one pipe, so that the message of a failure has it whoever runs it. */
constexpr const char script[] = "exec \"$@\" 2>&1";

/** What an administrator gives to the daemon for them: mirrors, proxies, an authority of his own. */
constexpr const char* passed_on[] = {
    "HAL9000_DEBIAN_MIRROR", "HAL9000_DEBIAN_SUITE", "http_proxy",    "https_proxy", "no_proxy",
    "npm_config_registry",   "NODE_EXTRA_CA_CERTS",  "PIP_INDEX_URL", "PIP_CERT"};

}  // namespace

/** One script on its way. */
class Scripts::Run {
 public:
  Run(Scripts& owner, std::string what, server::ServerConfig config, UniqueFd input, Progress progress,
      Done<std::string> done)
      : owner_(owner),
        what_(std::move(what)),
        config_(std::move(config)),
        input_(std::move(input)),
        progress_(std::move(progress)),
        done_(std::move(done)),
        deadline_(owner.loop_, what_, [this] {
          fail({Errc::timed_out, fmt::format("{}: not done within {} minutes", what_, deadline.count())});
        }) {
    deadline_.arm(deadline);
  }

  void start(const std::shared_ptr<Run>& self) {
    owner_.launcher_->start({instance_, config_, -1, input_.get()},
                            [self](Result<server::Launched> launched) { self->on_launched(std::move(launched)); });
  }

  [[nodiscard]] InstanceId instance() const noexcept { return instance_; }

  /** Nobody waits for it any more. */
  void abandon() {
    if (done_) {
      done_ = nullptr;
      end();
    }
  }

  void on_exit(const server::InstanceExit& exit) {
    read_output();
    if (exit.clean) {
      finish(std::move(text_));
    } else {
      const auto told = output_told_.last_lines();
      finish(Error{Errc::unavailable, fmt::format("{}: {}", what_, told.empty() ? exit.reason : told)});
    }
  }

 private:
  void on_launched(Result<server::Launched> launched) {
    input_.reset();
    if (!launched) {
      owner_.runs_.erase(instance_);
      return finish(launched.error());
    }
    output_ = std::move(launched->from_server);  // its stdin closes: nobody answers questions
    (void)::fcntl(output_.get(), F_SETFL, O_NONBLOCK);
    source_ = std::make_unique<event::Io>(owner_.loop_, output_.get(), EPOLLIN, what_, [this](std::uint32_t) {
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
      const std::string_view read(buffer, static_cast<std::size_t>(bytes));
      text_.append(read.substr(0, max_text_bytes - text_.size()));
      if (auto step = output_told_.feed(read); step && done_ && progress_) {
        progress_(step->fraction, std::move(step->message));
      }
    }
    return true;
  }

  void fail(const Error& error) {
    end();
    finish(error);
  }

  void finish(Result<std::string> result) {
    deadline_.disarm();
    if (const auto done = std::exchange(done_, nullptr)) {
      done(std::move(result));
    }
  }

  /** It is forgotten when it has ended. */
  void end() {
    deadline_.disarm();
    owner_.launcher_->stop(instance_, std::chrono::milliseconds(0));
  }

  Scripts& owner_;
  std::string what_;
  server::ServerConfig config_;
  UniqueFd input_;
  Progress progress_;
  Done<std::string> done_;
  InstanceId instance_{text::random_u64()};
  UniqueFd output_;
  std::string text_;
  BuildOutput output_told_;
  std::unique_ptr<event::Io> source_;
  event::Timer deadline_;
};

class Scripts::Handle final : public worker::Operation {
 public:
  explicit Handle(std::weak_ptr<Run> run) : run_(std::move(run)) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() override {
    if (const auto run = run_.lock()) {
      run->abandon();
    }
  }

 private:
  std::weak_ptr<Run> run_;
};

Scripts::Scripts(event::Loop& loop, std::unique_ptr<server::Launcher> launcher, Options options)
    : loop_(loop), launcher_(std::move(launcher)), options_(std::move(options)) {
  launcher_->set_listener(this);
}

Scripts::~Scripts() {
  launcher_->set_listener(nullptr);
}

bool Scripts::installed() const {
  return ::access((options_.folder + "/build.sh").c_str(), X_OK) == 0;
}

server::ServerConfig Scripts::config(std::vector<std::string> words) const {
  server::ServerConfig config;
  config.name = "images";
  config.argv = {"/bin/sh", "-c", script, "sh"};
  config.argv.insert(config.argv.end(), std::make_move_iterator(words.begin()), std::make_move_iterator(words.end()));
  config.state_directory = options_.cache;
  config.env = {{"DOCKER_HOST", "unix://" + options_.engine_socket}};
  for (const auto* name : passed_on) {
    if (const char* value = std::getenv(name)) {  // NOLINT(concurrency-mt-unsafe): there is one thread
      config.env[name] = value;
    }
  }
  config.memory_max = memory_max;
  config.tasks_max = tasks_max;
  config.stop_timeout = stop_timeout;
  return config;
}

worker::OperationHandle Scripts::start(std::string what, std::vector<std::string> words, UniqueFd input,
                                       Progress progress, Done<std::string> done) {
  const auto run = std::make_shared<Run>(*this, std::move(what), config(std::move(words)), std::move(input),
                                         std::move(progress), std::move(done));
  runs_[run->instance()] = run;
  run->start(run);
  return std::make_unique<Handle>(run);
}

worker::OperationHandle Scripts::build(const std::vector<std::string>& names, bool refresh, Progress progress,
                                       Done<void> done) {
  std::vector<std::string> words = {
      options_.folder + "/build.sh", "--progress", "--cache", options_.cache, "--version", options_.version};
  for (const auto& name : names) {
    words.insert(words.end(), {"--only", name});
  }
  if (refresh) {
    words.emplace_back("--refresh");
  }
  return start(
      "the build of images", std::move(words), {}, std::move(progress),
      [done = std::move(done)](const Result<std::string>& text) { done(text ? Result<void>() : text.error()); });
}

worker::OperationHandle Scripts::load(UniqueFd archive, Progress progress, Done<void> done) {
  return start(
      "the archive of images", {options_.folder + "/load.py", "--progress"}, std::move(archive), std::move(progress),
      [done = std::move(done)](const Result<std::string>& text) { done(text ? Result<void>() : text.error()); });
}

worker::OperationHandle Scripts::list(Done<Generations> done) {
  return start("the list of images", {options_.folder + "/build.sh", "--print", "--all", "--version", options_.version},
               {}, {}, [done = std::move(done)](const Result<std::string>& text) {
                 done(text ? read_generations(*text) : Result<Generations>(text.error()));
               });
}

void Scripts::on_instance_exit(InstanceId instance, const server::InstanceExit& exit) {
  if (const auto node = runs_.extract(instance)) {
    node.mapped()->on_exit(exit);
  }
}

}  // namespace hal::image
