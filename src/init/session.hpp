#pragma once

#include "base/unique_fd.hpp"
#include "init/epoll.hpp"
#include "init/pane.hpp"
#include "init/program.hpp"
#include "init/protocol.hpp"

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hal::init {

class SessionListener {
 public:
  SessionListener() = default;
  SessionListener(const SessionListener&) = delete;
  SessionListener& operator=(const SessionListener&) = delete;
  virtual ~SessionListener() = default;

  /** tmux waits for start(). */
  virtual void prepared(ExecId id) = 0;
  virtual void main_started(ExecId id, pid_t pid) = 0;
  /** Nothing runs; prepare() or start() may be called again. */
  virtual void main_failed(ExecId id, int error) = 0;
  /** The command has ended; its output may still be on the way to the log. */
  virtual void main_ended(ExecId id, int status) = 0;
  /** After main_ended: all output is in the log, or whoever carried it is gone. */
  virtual void main_drained() = 0;
};

/** Where main's tmux lives. */
struct SessionSettings {
  std::string program;      ///< This program's own path.
  std::string runtime;      ///< A writable folder for the private socket.
  std::string tmux_config;  ///< Used if it can be read.
};

/** The worker's command inside tmux, with a helper on its pty and one for its log (pane.hpp). */
class Session {
 public:
  Session(Epoll& epoll, SessionSettings settings, SessionListener& listener);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  enum class State { idle, preparing, prepared, starting, failing, running, ended };
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] ExecId id() const { return request_.id; }
  [[nodiscard]] int status() const { return status_; }

  /** In state idle, preparing or prepared. Answers prepared or main_failed. */
  void prepare(Request request);
  /** In state idle, preparing or prepared. Answers main_started or main_failed. */
  void start(Request request);
  /** To the command's process group, while it runs. */
  void signal(int number) const;
  /** After main_ended: lets the pane end, and with it tmux if the user opened nothing else in it. */
  void close();
  /** The tmux server, which is our child by adoption; 0 if not known. */
  [[nodiscard]] pid_t server() const { return server_; }

  /** A child has been reaped. */
  void reaped(pid_t pid, int status);

 private:
  struct Peer {
    UniqueFd socket;
    std::optional<Role> role;
    pid_t pid = -1;
    std::unique_ptr<Watch> watch;
  };

  void launch_session();
  void open_socket();
  void launch_tmux();
  void accept();
  void peer_ready(int socket);
  void greeted(Peer& peer, const std::string& bytes);
  void ready();
  void begin();
  void tell_environment();
  void from_pane(const std::string& bytes);
  void peer_gone(int socket);
  void fail(int error);
  void failed();
  void deadline_passed();
  void end(int status);
  void drained();
  void reset();
  [[nodiscard]] Peer* find(Role role);

  Epoll& epoll_;
  SessionSettings settings_;
  SessionListener& listener_;
  State state_ = State::idle;
  Request request_;
  std::string mark_;
  int status_ = 0;
  int error_ = 0;  ///< In state failing.
  bool drained_ = false;
  pid_t server_ = 0;
  pid_t pane_ = -1;  ///< The helper; also its process group, which the command shares.
  std::string folder_;
  UniqueFd socket_;
  std::unique_ptr<Watch> accept_watch_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::optional<Launch> client_;  ///< The tmux client, until it has been reaped.
  std::unique_ptr<Watch> client_watch_;
  std::vector<std::string> tmux_env_;  ///< What tmux was started with.
  pid_t teller_ = -1;                  ///< The tmux client that tells it main's, until it has been reaped.
  Timer deadline_;
};

}  // namespace hal::init
