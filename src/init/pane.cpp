#include "init/pane.hpp"

#include "base/limits.hpp"
#include "base/unique_fd.hpp"
#include "init/datagram.hpp"
#include "init/program.hpp"
#include "init/protocol.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

namespace hal::init {

namespace {

UniqueFd greet(const std::string& path, Role role) {
  UniqueFd socket = connect_to(path, true);
  const Greeting greeting{role, ::getppid()};
  if (!socket || !send(socket.get(), {reinterpret_cast<const char*>(&greeting), sizeof greeting})) {
    socket.reset();
  }
  return socket;
}

/** Writes all of it, also to a non-blocking descriptor. False when nobody reads any more. */
bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto count = ::write(fd, bytes.data(), bytes.size());
    if (count >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      pollfd writable{fd, POLLOUT, 0};
      ::poll(&writable, 1, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

/** What the terminal or a client sends to the process group is for the command alone. */
void ignore_signals() {
  for (int number = 1; number <= SIGRTMAX; ++number) {
    if (number != SIGCHLD && number != SIGCONT) {
      ::signal(number, SIG_IGN);
    }
  }
}

void take_term_of_tmux(std::vector<std::string>& env) {
  const char* term = ::getenv("TERM");
  if (term == nullptr) {
    return;
  }
  const auto is_term = [](const std::string& entry) { return entry.compare(0, 5, "TERM=") == 0; };
  env.erase(std::remove_if(env.begin(), env.end(), is_term), env.end());
  env.push_back(std::string("TERM=") + term);
}

/** The status of the child. One that stopped itself goes on: there is no shell here that could ever resume it. */
int wait_for(pid_t child) {
  int status = 0;
  for (;;) {
    const pid_t pid = ::waitpid(child, &status, WUNTRACED);
    if (pid < 0 && errno != EINTR) {
      return status;
    }
    if (pid == child && WIFSTOPPED(status)) {
      ::kill(child, SIGCONT);
    } else if (pid == child) {
      return status;
    }
  }
}

int wait_for_execve(const Launch& started) {
  for (;;) {
    if (const auto error = outcome(started)) {
      return *error;
    }
    pollfd readable{started.outcome.get(), POLLIN, 0};
    ::poll(&readable, 1, -1);
  }
}

void report(int socket, RecordKind kind, const Request& request, pid_t pid, int error, int status) {
  Record record;
  record.kind = kind;
  record.id = request.id;
  record.pid = pid;
  record.error = error;
  record.status = status;
  // If PID 1 is gone, so are we, at once.
  [[maybe_unused]] const bool sent = send(socket, encode(record));
}

/** Takes what fits of `pending` before a possible mark; true when the mark is there and has been taken out. */
bool take_printable(std::string& pending, const std::string& mark, std::string& out) {
  const auto at = pending.find(mark);
  if (at != std::string::npos) {
    out = pending.substr(0, at) + pending.substr(at + mark.size());
    pending.clear();
    return true;
  }
  // Keep only an end that could be the beginning of the mark.
  std::size_t keep = std::min(pending.size(), mark.size() - 1);
  while (keep > 0 && pending.compare(pending.size() - keep, keep, mark, 0, keep) != 0) {
    --keep;
  }
  out = pending.substr(0, pending.size() - keep);
  pending.erase(0, out.size());
  return false;
}

}  // namespace

int run_pane(const std::string& socket_path) {
  ignore_signals();
  const UniqueFd socket = greet(socket_path, Role::pane);
  if (!socket) {
    return 1;
  }
  const auto mark = receive(socket.get(), max_mark_bytes);
  const auto datagram = receive(socket.get(), limits::channel_message_bytes);
  auto request = decode_request(datagram.bytes);
  if (mark.status != Datagram::Status::received || !request || request->kind != RequestKind::main) {
    return 1;
  }
  take_term_of_tmux(request->env);
  Stdio stdio;
  stdio.new_session = false;
  const auto started = launch({request->cwd, request->argv, request->env}, stdio);
  const int error = started ? wait_for_execve(*started) : errno;
  if (error != 0) {
    report(socket.get(), RecordKind::failed, *request, 0, error, 0);
    return 1;
  }
  report(socket.get(), RecordKind::started, *request, started->pid, 0, 0);
  const int status = wait_for(started->pid);
  report(socket.get(), RecordKind::exited, *request, started->pid, 0, status);
  write_all(STDOUT_FILENO, mark.bytes);
  // Until PID 1 hangs up: the pane must not end while tmux still has output to hand on.
  [[maybe_unused]] const auto end = receive(socket.get(), 1);
  return 0;
}

int run_log(const std::string& socket_path) {
  ::signal(SIGPIPE, SIG_IGN);
  const UniqueFd socket = greet(socket_path, Role::log);
  if (!socket) {
    return 1;
  }
  auto first = receive(socket.get(), max_mark_bytes);
  if (first.status != Datagram::Status::received || first.fds.size() != 1 || first.bytes.empty()) {
    return 1;
  }
  const UniqueFd out = std::move(first.fds.front());
  bool readable = true;
  bool marked = false;
  std::string pending;
  std::string printable;
  char buffer[16384];
  for (;;) {
    const auto count = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      break;
    }
    pending.append(buffer, static_cast<std::size_t>(count));
    const bool now = !marked && take_printable(pending, first.bytes, printable);
    if (marked) {
      std::swap(printable, pending);
      pending.clear();
    }
    // When nobody reads the log any more, go on all the same: a full pipe would hold up tmux.
    readable = readable && write_all(out.get(), printable);
    if (now) {
      marked = true;
      [[maybe_unused]] const bool sent = send(socket.get(), "D");
    }
  }
  if (readable) {
    write_all(out.get(), pending);
  }
  return 0;
}

}  // namespace hal::init
