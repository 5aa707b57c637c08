#pragma once

#include "base/unique_fd.hpp"
#include "init/control.hpp"
#include "init/epoll.hpp"
#include "init/execs.hpp"
#include "init/protocol.hpp"
#include "init/session.hpp"

#include <sys/types.h>

#include <string>
#include <vector>

namespace hal::init {

struct Settings {
  std::string control;  ///< Path of the daemon's socket.
  SessionSettings session;
};

/**
 * PID 1 of a worker: reaps, serves the daemon, and ends the worker in order.
 *
 * Ending begins when main ends or SIGTERM comes. SIGTERM with main running asks it (SIGTERM, SIGHUP after 2 s, SIGKILL
 * after 5 s); without, the worker ends at once with 143. After main's end its output is let through to the log, tmux
 * may say good-bye, then all that is left gets SIGTERM, and SIGKILL after 2 s. Every step goes on as soon as it can;
 * the times are the longest it waits. SIGINT and the like are ignored.
 */
class Supervisor : private ControlListener, private SessionListener {
 public:
  /** Blocks the signals it reads. Throws std::system_error. */
  explicit Supervisor(Settings settings);

  /** Until the worker has ended. Returns the exit code: main's, 128 and the signal's number, or 143. */
  [[nodiscard]] int run();

 private:
  enum class Phase { serving, asked, draining, closing, terminating, killing, flushing, done };

  // ControlListener
  [[nodiscard]] std::vector<Record> greeting() override;
  void requested(Request request, std::vector<UniqueFd> fds) override;
  // SessionListener
  void prepared(ExecId id) override;
  void main_started(ExecId id, pid_t pid) override;
  void main_failed(ExecId id, int error) override;
  void main_ended(ExecId id, int status) override;
  void main_drained() override;

  void fail(ExecId id, int error);
  void signalled();
  void reap();
  void asked_to_end();
  void step();
  void enter(Phase phase);

  Epoll epoll_;
  UniqueFd signals_;
  Watch signals_watch_;
  Timer phase_timer_;
  Control control_;
  Execs execs_;
  Session session_;
  Phase phase_ = Phase::serving;
  bool hung_up_ = false;  ///< In phase asked: SIGHUP has been sent too.
  int exit_code_ = 143;
};

}  // namespace hal::init
