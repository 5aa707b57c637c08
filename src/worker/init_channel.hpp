#pragma once

#include "base/result.hpp"
#include "event/sources.hpp"
#include "init/protocol.hpp"
#include "io/listener.hpp"
#include "io/message_channel.hpp"
#include "process/child.hpp"
#include "worker/worker.hpp"

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hal::worker {

/**
 * The daemon's side of one worker's `control.sock`: takes the connection of the container's PID 1 and nobody else's,
 * asks it to start programs and learns how they end. Lives as long as the worker; connections come and go.
 */
class InitChannel {
 public:
  /** execve of a large program from a cold disk takes a second or two. */
  static constexpr auto start_deadline = std::chrono::seconds(20);

  struct Callbacks {
    /** PID 1 has connected. `main_started`: the worker's command was started on an earlier connection. */
    std::function<void(bool main_started)> on_connected;
    std::function<void(const process::ExitStatus&)> on_main_exited;
    /** Neither a request nor the ping after it is answered, or PID 1 does not connect. What it is, for people. */
    std::function<void(const std::string& what)> on_silent;
    /** After on_silent: it has answered. */
    std::function<void()> on_answering;
  };

  /** Opens the listening socket `path`, replacing an old one. */
  [[nodiscard]] static Result<std::unique_ptr<InitChannel>> open(event::Loop& loop, const std::string& path,
                                                                 std::string name, Callbacks callbacks);
  InitChannel(event::Loop& loop, UniqueFd listening, std::string name, Callbacks callbacks);

  /** Who PID 1 is, once the engine has said so. A connection that came earlier waits for this. */
  void set_container_pid(pid_t pid);
  [[nodiscard]] bool connected() const noexcept { return channel_ != nullptr && channel_->open(); }

  /**
   * Sends a prepare, main, exec or ping request, whose id this chooses, and answers when that is done or the program
   * runs, with its id and, for a terminal, the pty. Errors: what execve said (not_found, denied …), limit at
   * limits::execs_per_worker, disconnected, timed_out.
   */
  void start(init::Request request, std::vector<UniqueFd> fds, Done<Stream> done,
             std::chrono::milliseconds deadline = start_deadline);
  /** To the process group of the worker's command. Answers when init has done it; errors as of start(). */
  void signal(int number, Done<void> done);
  /** The exit code of a program that was started: now, later, or not_found. */
  void wait(ExecId id, Done<int> done);
  /** How many run now beside the worker's command. */
  [[nodiscard]] std::size_t programs() const { return running_.size() - running_.count(main_); }
  Result<void> resize(ExecId id, TerminalSize size);

  [[nodiscard]] bool silent() const noexcept { return silent_; }
  /** After an on_silent that was of no account, as of a paused worker: tell it again where it is still so. */
  void ask_again();

  /** The container is gone: all that waits fails with this error. */
  void fail_all(const Error& error);

 private:
  struct Pending {
    Done<Stream> done;
    bool terminal = false;
    std::unique_ptr<event::Timer> deadline;
  };

  void accept(UniqueFd connection, pid_t peer);
  void adopt_connection(UniqueFd connection);
  void on_message(io::Message message);
  void on_record(const init::Record& record, std::vector<UniqueFd> fds);
  /** Whether the worker may run this program too: it is known, or there is room. */
  [[nodiscard]] bool note_running(ExecId id);
  void reject(std::string_view what);
  void on_closed(const Error& reason);
  void finish_start(ExecId id, Result<Stream> result);
  void finish_exec(ExecId id, int code);
  void settle_unknown();
  void listen_for_life();
  void heard();
  void not_heard();

  event::Loop& loop_;
  std::string name_;
  Callbacks callbacks_;
  pid_t container_pid_ = 0;
  UniqueFd waiting_connection_;
  pid_t waiting_peer_ = 0;
  /** One line a container: whoever may connect once may do so for ever. */
  bool told_of_strangers_ = false;
  std::unique_ptr<io::MessageChannel> channel_;
  std::map<ExecId, Pending> pending_;
  /** Programs that run, with those who wait for their end. */
  std::map<ExecId, std::vector<Done<int>>> running_;
  /** Ids of running_ that a new connection has confirmed. */
  std::map<ExecId, bool> confirmed_;
  /** How the last programs ended, oldest first. */
  std::deque<std::pair<ExecId, int>> ended_;
  std::uint64_t next_id_;
  /** The worker's command. */
  ExecId main_;
  event::Timer settle_;
  /** Runs while something is awaited of PID 1, and only then. */
  event::Timer silence_;
  bool pinged_ = false;
  bool silent_ = false;
  io::Listener listener_;
};

}  // namespace hal::worker
