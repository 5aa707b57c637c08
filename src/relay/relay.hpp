#pragma once

#include "base/unique_fd.hpp"
#include "relay/client_side.hpp"
#include "relay/connector.hpp"
#include "relay/gateway_side.hpp"
#include "relay/process_io.hpp"
#include "relay/watch.hpp"

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace hal::relay {

struct Options {
  std::string server;
  std::string socket;
};

/**
 * One MCP session: the client on stdin and stdout, the gateway behind a unix socket. Bytes pass both ways at once and
 * unchanged; a side that does not read stops only the direction it does not read. When the connection breaks it is
 * made anew and the handshake repeated behind the client's back.
 *
 * Ends with 0 when the client closes stdin or stdout or sends SIGINT, SIGTERM or SIGHUP; with 1 when the gateway
 * refuses or stays away for long; why is then on stderr, and in the answer to the client's initialize if that waits for
 * one.
 */
class Relay {
 public:
  /** Blocks the signals it reads. Throws std::system_error. */
  explicit Relay(Options options);
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;
  ~Relay() = default;

  [[nodiscard]] int run();

 private:
  enum class State { waiting, greeting, replaying, relaying };

  void turn();
  [[nodiscard]] int timeout() const;
  void check_deadlines();
  void rest();

  void try_connect();
  void read_gateway();
  void take_greeting(std::string_view bytes);
  void greeted(std::string_view line);
  [[nodiscard]] GatewaySide::Verdict gateway_line(const Line& line);
  void replay();
  void replayed(const Line& line);
  void write_gateway();
  void connection_lost();

  void read_client();
  void write_client();
  void maybe_finish();

  void end(int code) { exit_code_ = exit_code_.value_or(code); }
  void refuse(std::string_view reason);
  [[nodiscard]] std::string initialize_id();

  Options options_;
  Watch watch_;
  UniqueFd signals_;
  NonBlocking stdin_mode_{0};
  NonBlocking stdout_mode_{1};
  Connector connector_;
  UniqueFd socket_;
  State state_ = State::waiting;
  std::string session_;  ///< The gateway's name for it, once it has given one.
  std::string head_;     ///< Of our own, to be sent before the client's bytes: greeting, replayed handshake.
  /** Requests of the client's that we have sent again, by id: how many answers are ours to take. */
  std::map<std::string, int> repeated_;
  std::string greeting_;  ///< The gateway's answer so far.
  ClientSide client_;
  GatewaySide gateway_;
  bool client_ended_ = false;
  bool half_closed_ = false;
  bool rested_ = false;  ///< All has been given back that waiting does not need.
  bool stdin_enlarged_ = false;
  bool stdout_enlarged_ = false;
  Clock::time_point outage_since_;  ///< Since when the gateway has not been of use.
  bool outage_ = true;
  Clock::time_point phase_since_;  ///< Since when we are in state_.
  Clock::time_point client_ended_at_;
  std::optional<int> exit_code_;
};

}  // namespace hal::relay
