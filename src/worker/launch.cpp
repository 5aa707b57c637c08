#include "worker/launch.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "worker/claude_session.hpp"
#include "worker/container_spec.hpp"

#include <fcntl.h>

#include <map>
#include <utility>

#include <fmt/format.h>

namespace hal::worker {

namespace {

/** hal9000-init starts in a millisecond; a machine under load takes longer. */
constexpr auto init_deadline = std::chrono::seconds(15);
/** It reads and writes a file in a home that may be on a slow network, or be a trap like a named pipe. */
constexpr auto tool_deadline = std::chrono::seconds(30);

}  // namespace

std::vector<std::string> environment(const Worker& worker, const std::map<std::string, std::string>& extra) {
  std::map<std::string, std::string> merged = {
      {"HOME", names::worker_home},
      {"USER", "claude"},
      {"LOGNAME", "claude"},
      {"SHELL", "/bin/bash"},
      {"LANG", "C.UTF-8"},
      {"TERM", "xterm-256color"},
      {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
      {"HAL9000_WORKER", worker.id.value},
  };
  for (const auto* layer : {&worker.env, &extra}) {
    for (const auto& [name, value] : *layer) {
      merged[name] = value;
    }
  }
  std::vector<std::string> result;
  result.reserve(merged.size());
  for (const auto& [name, value] : merged) {
    result.push_back(name + "=" + value);
  }
  return result;
}

init::Request prepare_request(const Worker& worker) {
  init::Request request;
  request.kind = init::RequestKind::prepare;
  request.cwd = names::worker_workspace;
  request.env = environment(worker);
  return request;
}

Launch::Launch(const Context& context, Worker worker, InitChannel& init, Done<Worker> done)
    : context_(context),
      worker_(std::move(worker)),
      init_(init),
      done_(std::move(done)),
      deadline_(context.loop, "worker launch deadline", [this] {
        fail({Errc::timed_out, overdue_});
      }) {}

void Launch::make(ContainerId parent, Mounts mounts) {
  mounts_ = std::move(mounts);
  create(parent);
}

void Launch::make_warm(ContainerId parent) {
  create(parent);
}

void Launch::take_up() {
  inspect();
}

void Launch::bind(Mounts mounts, const LimitChange& change) {
  mounts_ = std::move(mounts);
  if (!change.memory_bytes && !change.nano_cpus && !change.pids) {
    return place();
  }
  context_.runtime.update(worker_.container, change, alive_.wrap([this](const Result<void>& updated) {
    if (!failed(updated, "change the warm worker's limits")) {
      place();
    }
  }));
}

void Launch::set_deadline(std::chrono::milliseconds delay, std::string overdue) {
  overdue_ = std::move(overdue);
  deadline_.arm(delay);
}

void Launch::cancel(const Error& error) {
  cancelled_ = error;
  if (awaiting_init_) {
    fail(error);
  }
}

template <class T>
bool Launch::failed(const Result<T>& result, std::string_view step) {
  if (cancelled_) {
    fail(*cancelled_);
    return true;
  }
  if (!result) {
    fail(result.error().with(step));
    return true;
  }
  return false;
}

void Launch::create(const ContainerId& parent) {
  worker_.container = {};
  worker_.pid = 0;
  std::optional<std::pair<uid_t, gid_t>> run_as;
  if (mounts_ && !mounts_->mapped()) {
    if (worker_.owner == 0) {
      event::post(context_.loop, "worker launch", alive_.wrap([this] {
        fail({Errc::unavailable, fmt::format("{}: its file system has no id-mapped mounts, and a worker of root's "
                                             "without them would run as root",
                                             mounts_->workspace.real_path)});
      }));
      return;
    }
    log::info({{names::field_worker, worker_.id.value}},
              "worker {}: the file system of {} has no id-mapped mounts; its programs run as uid {}", worker_.name,
              mounts_->workspace.real_path, worker_.owner);
    run_as = {worker_.owner, mounts_->workspace.group};
  }
  auto spec = worker_spec(context_.settings, worker_, parent, run_as);
  context_.runtime.create(spec, alive_.wrap([this](Result<ContainerId> id) {
    if (id) {
      worker_.container = *id;
    }
    if (!failed(id, "create the container")) {
      start();
    }
  }));
}

void Launch::start() {
  context_.runtime.start(worker_.container, alive_.wrap([this](Result<void> started) {
    if (!failed(started, "start the container")) {
      inspect();
    }
  }));
}

void Launch::inspect() {
  context_.runtime.inspect(worker_.container, alive_.wrap([this](Result<ContainerInfo> info) {
    if (failed(info, "inspect the container")) {
      return;
    }
    if (info->status != ContainerStatus::running || info->pid == 0) {
      return fail({Errc::unavailable, fmt::format("the container ended at once with code {}", info->exit_code)});
    }
    // Of the image it was really made from, and before any program of that has run: PID 1 is ours.
    if (auto may = may_use_image(context_.settings, worker_.profile, worker_.image, info->labels); !may) {
      return fail(may.error());
    }
    worker_.pid = info->pid;
    init_.set_container_pid(info->pid);
    if (worker_.network != Network::isolated || !context_.own_network) {
      return await_init();
    }
    context_.own_network(info->pid, alive_.wrap([this](const Result<void>& made) {
      if (!made) {  // it is tried again; until then the worker has its other way to its servers
        log::warning({{names::field_worker, worker_.id.value}}, "worker {}: {}", worker_.name, made.error().message);
      }
      await_init();
    }));
  }));
}

void Launch::await_init() {
  if (connected_ || init_.connected()) {
    prepare();
    return;
  }
  awaiting_init_ = true;
  set_deadline(init_deadline, "the container runs, but its hal9000-init did not connect");
}

void Launch::on_init_connected() {
  connected_ = true;
  if (awaiting_init_) {
    awaiting_init_ = false;
    deadline_.disarm();
    prepare();
  }
}

void Launch::prepare() {
  auto request = prepare_request(worker_);
  if (mounts_) {
    // tmux starts while the rest is done; whatever becomes of it, the start of the command tells.
    init_.start(std::move(request), {}, [](const Result<Stream>&) {});
    return place();
  }
  init_.start(std::move(request), {}, alive_.wrap([this](const Result<Stream>& prepared) {
    if (!failed(prepared, "start tmux")) {
      worker_.state = State::warm;
      finish(std::move(worker_));
    }
  }));
}

void Launch::place() {
  std::vector<Binder::Placement> placements;
  placements.push_back({std::move(mounts_->workspace.tree), names::worker_workspace});
  placements.push_back({std::move(mounts_->home.tree), names::worker_home});
  context_.binder.place(worker_.pid, std::move(placements), alive_.wrap([this](Result<void> placed) {
    if (!failed(placed, "mount the project into the worker")) {
      configure();
    }
  }));
}

void Launch::run(std::vector<std::string> argv, std::string step, Done<int> done) {
  init::Request request;
  request.kind = init::RequestKind::exec;
  request.cwd = "/";
  request.argv = std::move(argv);
  request.env = environment(worker_);
  UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  std::vector<UniqueFd> fds;
  fds.push_back(null.duplicate());
  fds.push_back(null.duplicate());
  fds.push_back(std::move(null));
  const auto started = [this, step = std::move(step), done = std::move(done)](const Result<Stream>& stream) {
    if (failed(stream, step)) {
      return;
    }
    set_deadline(tool_deadline, step + ": the program for it did not end");
    init_.wait(stream->id, alive_.wrap([this, step, done](const Result<int>& code) {
      if (!deadline_.armed()) {
        return;  // it came too late: the launch has failed
      }
      deadline_.disarm();
      if (!failed(code, step)) {
        done(*code);
      }
    }));
  };
  init_.start(std::move(request), std::move(fds), alive_.wrap(started));
}

void Launch::configure() {
  // Runs in the worker with the worker's rights: what lies in a home is not for the daemon to read or write.
  run({names::worker_relay, "configure"}, "merge the Claude configuration", [this](const Result<int>& code) {
    if (*code != 0) {
      worker_.reason = "the MCP servers could not be written into ~/.claude.json; see hal9000-mcp configure";
      log::warning({{names::field_worker, worker_.id.value}},
                   "worker {}: hal9000-mcp configure ended with code {}: the owner's .claude.json is left as it is",
                   worker_.name, *code);
    }
    find_session();
  });
}

/** Claude Code refuses to resume what was never said, and to begin what was. */
void Launch::find_session() {
  if (worker_.restarts == 0 || !has_session(worker_)) {
    return start_main(false);
  }
  run({"/usr/bin/test", "-s", transcript_of(worker_)}, "look for the conversation",
      [this](const Result<int>& code) { start_main(*code == 0); });
}

void Launch::start_main(bool resume) {
  init::Request request;
  request.kind = init::RequestKind::main;
  request.cwd = names::worker_workspace;
  request.argv = session_command(worker_, resume);
  request.env = environment(worker_);
  init_.start(std::move(request), {}, alive_.wrap([this](Result<Stream> stream) {
    if (!failed(stream, "start " + worker_.command.front())) {
      worker_.state = State::running;
      finish(std::move(worker_));
    }
  }));
}

void Launch::fail(const Error& error) {
  awaiting_init_ = false;
  deadline_.disarm();
  if (worker_.container.value.empty()) {
    return finish(error);
  }
  context_.runtime.remove(worker_.container, true, alive_.wrap([this, error](Result<void> removed) {
    if (!removed) {
      // The engine is likely gone; the container carries our labels and is removed when the engine is back.
      log::warning({{names::field_worker, worker_.id.value}}, "container {} of the failed launch: {}",
                   worker_.container.value, removed.error().message);
    }
    finish(error);
  }));
}

void Launch::finish(Result<Worker> result) {
  const auto done = std::exchange(done_, nullptr);
  done(std::move(result));  // destroys this
}

}  // namespace hal::worker
