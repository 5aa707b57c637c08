#pragma once

#include "base/unique_fd.hpp"
#include "init/protocol.hpp"
#include "support/component.hpp"

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

/** The daemon's end of hal9000-init's protocol, and the real program as a child in subreaper mode. */
namespace hal::test {

/** The program under test, from the environment. Throws when it is not there; call it before any fork. */
[[nodiscard]] std::string init_program();

/** A record and the descriptor that came with it. */
struct Received {
  init::Record record;
  UniqueFd fd;
};

/** hal9000-init, started with its socket, runtime folder, tmux and log inside one folder. Killed with the object. */
class InitProcess {
 public:
  /** `wrapper` goes before the program, e.g. {"unshare", "--pid", "--fork"}. */
  explicit InitProcess(const TempDir& folder, const std::vector<std::string>& wrapper = {});
  ~InitProcess();
  InitProcess(const InitProcess&) = delete;
  InitProcess& operator=(const InitProcess&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const;
  /** The wait status; nothing when it does not end within the scaled deadline. */
  [[nodiscard]] std::optional<int> wait(std::chrono::milliseconds deadline = 10s);
  /** What it and main have written to its stdout and stderr. */
  [[nodiscard]] std::string log() const;

 private:
  pid_t pid_ = -1;
  std::string log_path_;
};

/** One connection of hal9000-init. */
class InitPeer {
 public:
  InitPeer() = default;
  explicit InitPeer(UniqueFd socket) : socket_(std::move(socket)) {}

  /** The next record; nothing when the connection ends or the scaled deadline passes. */
  [[nodiscard]] std::optional<Received> next(std::chrono::milliseconds deadline = 10s);
  /** True if the connection ends, with nothing before, within the scaled deadline. */
  [[nodiscard]] bool ended(std::chrono::milliseconds deadline = 10s);

  [[nodiscard]] bool send(const init::Request& request, const std::vector<int>& fds = {});
  [[nodiscard]] bool send_bytes(std::string_view bytes, const std::vector<int>& fds = {});
  void close() { socket_.reset(); }

 private:
  UniqueFd socket_;
};

/** The daemon's listening socket. */
class InitListener {
 public:
  explicit InitListener(std::string path);
  ~InitListener();
  InitListener(const InitListener&) = delete;
  InitListener& operator=(const InitListener&) = delete;

  /** The next connection; without one within the scaled deadline its next() gives nothing. */
  [[nodiscard]] InitPeer accept(std::chrono::milliseconds deadline = 10s);

 private:
  std::string path_;
  UniqueFd socket_;
};

[[nodiscard]] std::string control_path(const TempDir& folder);
[[nodiscard]] init::Request exec_request(std::uint64_t id, const std::string& script);
[[nodiscard]] init::Request terminal_request(std::uint64_t id, const std::string& script);
[[nodiscard]] init::Request main_request(std::uint64_t id, const std::string& script);
[[nodiscard]] init::Request signal_request(std::uint64_t id, int number);

/** Reads a pty's master until `text` has come; what has come then, or at the scaled deadline. */
[[nodiscard]] std::string read_until(int fd, const std::string& text, std::chrono::milliseconds deadline = 10s);

/** Waits on the folder of `path` until the predicate holds; re-evaluated at each change in the folder. */
[[nodiscard]] bool wait_for_file(const std::string& path, const std::function<bool(const std::string&)>& predicate,
                                 std::chrono::milliseconds deadline = 10s);

}  // namespace hal::test
