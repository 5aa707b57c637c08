// The part of LiveRegistry that talks to programs inside workers.

#include "base/limits.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "io/listener.hpp"
#include "worker/live_entry.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <string_view>
#include <utility>

namespace hal::worker {

namespace {

/** Terminals whose description every worker image has; others are close enough to xterm-256color. */
constexpr std::array<std::string_view, 10> known_terminals = {
    "xterm", "xterm-256color", "screen", "screen-256color", "tmux", "tmux-256color", "linux", "vt100", "vt220", "ansi"};
constexpr std::size_t capture_bytes = std::size_t{1} << 20;
constexpr std::size_t send_bytes = 64 * 1024;
/** tmux's own limit of scrollback in our configuration. */
constexpr std::uint32_t capture_lines = 20'000;

/** A program that has closed its output ends; one that does not is not what it should be. */
constexpr auto tool_end_deadline = std::chrono::seconds(5);

/** Answers once: with how the tool ended, or at the deadline. */
class ToolEnd {
 public:
  ToolEnd(event::Loop& loop, Done<std::string> done)
      : done_(std::move(done)), deadline_(loop, "tool deadline", [this] {
          finish(Error{Errc::timed_out, "tmux in the worker closed its output but did not end"});
        }) {
    deadline_.arm(tool_end_deadline);
  }

  void finish(Result<std::string> result) {
    deadline_.disarm();
    if (const auto done = std::exchange(done_, nullptr)) {
      done(std::move(result));
    }
  }

 private:
  Done<std::string> done_;
  event::Timer deadline_;
};

std::vector<std::string> tmux(std::initializer_list<std::string> arguments) {
  std::vector<std::string> argv = {"tmux", "-u", "-L", "main"};
  argv.insert(argv.end(), arguments);
  return argv;
}

}  // namespace

void LiveRegistry::attach(const WorkerId& id, TerminalSize size, std::string term, Done<Stream> done) {
  Entry* found = awake(id, done);
  if (found == nullptr) {
    return;
  }
  note_activity(id, now_usec());
  const bool known = std::find(known_terminals.begin(), known_terminals.end(), term) != known_terminals.end();
  init::Request request;
  request.kind = init::RequestKind::exec;
  request.terminal = true;
  request.rows = size.rows;
  request.columns = size.columns;
  request.cwd = "/";
  request.argv = tmux({"attach-session", "-t", "main"});
  request.env = environment(found->worker, {{"TERM", known ? term : "xterm-256color"}});
  found->init->start(std::move(request), {}, std::move(done));
}

void LiveRegistry::exec(const WorkerId& id, ExecRequest request, Done<Stream> done) {
  note_activity(id, now_usec());
  start_program(id, std::move(request), std::move(done));
}

void LiveRegistry::start_program(const WorkerId& id, ExecRequest request, Done<Stream> done) {
  Entry* found = awake(id, done);
  if (found == nullptr) {
    return;
  }
  init::Request program;
  program.kind = init::RequestKind::exec;
  program.cwd = request.cwd.empty() ? names::worker_workspace : request.cwd;
  program.argv = std::move(request.argv);
  program.env = environment(found->worker, request.env);
  if (request.terminal) {
    program.terminal = true;
    program.rows = request.terminal->rows;
    program.columns = request.terminal->columns;
    return found->init->start(std::move(program), {}, std::move(done));
  }
  auto pair = io::socket_pair(SOCK_STREAM);
  if (!pair) {
    return answer(std::move(done), Result<Stream>(pair.error()));
  }
  // The program's end blocks, as programs expect of their stdio.
  if (::fcntl(pair->theirs.get(), F_SETFL, 0) != 0) {
    return answer(std::move(done), Result<Stream>(errno_error("fcntl")));
  }
  std::vector<UniqueFd> fds;
  fds.push_back(pair->theirs.duplicate());
  fds.push_back(pair->theirs.duplicate());
  fds.push_back(request.error_output ? std::move(request.error_output) : std::move(pair->theirs));
  const auto ours = std::make_shared<UniqueFd>(std::move(pair->ours));
  found->init->start(std::move(program), std::move(fds), [ours, done = std::move(done)](Result<Stream> stream) {
    if (stream) {
      stream->fd = std::move(*ours);
    }
    done(std::move(stream));
  });
}

void LiveRegistry::wait_exec(const WorkerId& id, ExecId exec, Done<int> done) {
  Entry* found = entry(id);
  if (found == nullptr || !found->init) {
    return answer(std::move(done), Result<int>(Error{Errc::not_found, "no worker " + id.value + " runs"}));
  }
  found->init->wait(exec, std::move(done));
}

Result<void> LiveRegistry::resize(const WorkerId& id, ExecId exec, TerminalSize size) {
  const Entry* found = entry(id);
  if (found == nullptr || !found->init) {
    return Error{Errc::not_found, "no worker " + id.value + " runs"};
  }
  return found->init->resize(exec, size);
}

void LiveRegistry::run_tool(Entry& entry, std::vector<std::string> argv, std::size_t max_output,
                            Done<std::string> done) {
  const WorkerId id = entry.worker.id;
  ExecRequest request;
  request.argv = std::move(argv);
  request.cwd = "/";
  const auto started = [this, id, max_output, done = std::move(done)](Result<Stream> stream) {
    if (!stream) {
      return done(stream.error());
    }
    const ExecId exec_id = stream->id;
    const std::uint64_t serial = next_serial_++;
    const auto read = [this, id, exec_id, serial, done](const Result<std::string>& text) {
      readers_.erase(serial);
      if (!text) {
        return done(text.error());
      }
      wait_exec(id, exec_id, [end = std::make_shared<ToolEnd>(parts_.loop, done), text](Result<int> code) {
        if (!code) {
          return end->finish(code.error());
        }
        if (*code != 0) {
          return end->finish(Error{Errc::unavailable, "tmux in the worker: " + text::printable(text::trim(*text))});
        }
        end->finish(text);
      });
    };
    readers_.emplace(serial, std::make_unique<OutputReader>(parts_.loop, std::move(stream->fd), max_output, read));
  };
  start_program(id, std::move(request), alive_.wrap(started));
}

void LiveRegistry::send(const WorkerId& id, std::string text, Done<void> done) {
  Entry* found = running(id, done);
  if (found == nullptr) {
    return;
  }
  if (text.empty() || text.size() > send_bytes) {
    return answer(std::move(done), Result<void>(Error{Errc::invalid_argument, "text: must have 1 byte to 64 KiB"}));
  }
  note_activity(id, now_usec());
  run_tool(*found, tmux({"send-keys", "-t", "main", "-l", "--", text}), 4096,
           [done = std::move(done)](const Result<std::string>& output) {
             done(output ? Result<void>() : Result<void>(output.error()));
           });
}

void LiveRegistry::capture(const WorkerId& id, std::uint32_t lines, Done<std::string> done) {
  if (Entry* found = running(id, done)) {
    const std::string from = lines == 0 ? "0" : "-" + std::to_string(std::min(lines, capture_lines));
    run_tool(*found, tmux({"capture-pane", "-p", "-t", "main", "-S", from}), capture_bytes, std::move(done));
  }
}

Result<void> LiveRegistry::check_log_streams(const Worker& worker) const {
  std::size_t of_worker = 0;
  std::size_t of_owner = 0;
  for (const auto& [serial, stream] : log_streams_) {
    of_worker += stream.worker == worker.id ? 1U : 0U;
    of_owner += stream.owner == worker.owner ? 1U : 0U;
  }
  if (of_worker >= limits::log_streams_per_worker) {
    return Error{Errc::limit, fmt::format("{} log streams of worker {} are open already", of_worker, worker.name)};
  }
  if (of_owner >= limits::log_streams_per_owner) {
    return Error{Errc::limit,
                 fmt::format("{} log streams of workers of uid {} are open already", of_owner, worker.owner)};
  }
  return {};
}

void LiveRegistry::logs(const WorkerId& id, LogOptions options, Done<UniqueFd> done) {
  const Entry* found = entry(id);
  if (found == nullptr || !found->announced || found->worker.container.value.empty()) {
    return answer(std::move(done),
                  Result<UniqueFd>(Error{Errc::not_found, "worker " + id.value + " has no container"}));
  }
  if (const auto room = check_log_streams(found->worker); !room) {
    return answer(std::move(done), Result<UniqueFd>(room.error()));
  }
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) {
    return answer(std::move(done), Result<UniqueFd>(errno_error("pipe2")));
  }
  const std::uint64_t serial = next_serial_++;
  const auto finished = [this, serial](const Result<void>&) { log_streams_.erase(serial); };
  log_streams_[serial] = {
      found->worker.id, found->worker.owner,
      parts_.runtime.logs(found->worker.container, options, UniqueFd(fds[1]), alive_.wrap(finished))};
  answer(std::move(done), Result<UniqueFd>(UniqueFd(fds[0])));
}

}  // namespace hal::worker
