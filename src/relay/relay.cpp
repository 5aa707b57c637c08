#include "relay/relay.hpp"

#include "base/names.hpp"
#include "base/pipe_size.hpp"
#include "base/startup_pages.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/envelope.hpp"
#include "jsonrpc/message.hpp"
#include "relay/greeting.hpp"

#include <malloc.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace hal::relay {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/** A gateway restart takes about a second. MCP clients give up on a server after 30 s; our answer comes before. */
constexpr seconds outage_limit{28};
constexpr seconds greeting_limit{10};
/** A server may have to start for the replayed initialize. */
constexpr seconds replay_limit{25};
/** For the answers that are due when the client closes stdin. */
constexpr seconds client_end_limit{5};
/** A connection that has stood so long was a good one. */
constexpr seconds healthy_after{5};
constexpr milliseconds last_words_limit{2000};
/** After so much silence nothing will come at once. */
constexpr milliseconds rest_after{200};
constexpr std::size_t read_bytes = std::size_t{64} << 10;

bool try_again(ssize_t count) {
  return count < 0 && (errno == EAGAIN || errno == EINTR);
}

}  // namespace

Relay::Relay(Options options)
    : options_(std::move(options)),
      signals_(open_end_signals()),
      connector_(options_.socket),
      outage_since_(Clock::now()),
      phase_since_(outage_since_) {
  watch_.set(Watch::signals, signals_.get(), EPOLLIN);
}

int Relay::run() {
  try_connect();
  while (!exit_code_) {
    turn();
  }
  return *exit_code_;
}

void Relay::turn() {
  const bool up = socket_ && (!head_.empty() || (state_ == State::relaying && !client_.next().empty()));
  const bool from_client = state_ == State::relaying && !client_ended_ && client_.wants();
  const bool from_gateway = socket_ && gateway_.wants();
  watch_.set(Watch::client_in, STDIN_FILENO, from_client ? EPOLLIN : 0U);
  watch_.set(Watch::client_out, STDOUT_FILENO, gateway_.next().empty() ? 0U : EPOLLOUT, Watch::Silence::but_errors);
  // A connection that is gone reports so without being asked; what it still holds must be read first.
  watch_.set(Watch::gateway, socket_.get(), (from_gateway ? EPOLLIN : 0U) | (up ? EPOLLOUT : 0U));
  watch_.set(Watch::folder, connector_.folder_fd(), state_ == State::waiting ? EPOLLIN : 0U);
  const bool silent = !watch_.wait(timeout());
  if (watch_.ready(Watch::signals) != 0) {
    write_client();
    end(0);
    return;
  }
  if ((watch_.ready(Watch::client_out) & (EPOLLERR | EPOLLHUP)) != 0) {
    end(0);  // the client reads no more
    return;
  }
  if (watch_.ready(Watch::client_in) != 0) {
    read_client();
  }
  if (socket_ && (watch_.ready(Watch::gateway) & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    read_gateway();
  }
  write_gateway();
  write_client();
  if (watch_.ready(Watch::folder) != 0 && connector_.folder_changed() && state_ == State::waiting) {
    try_connect();
  }
  check_deadlines();
  maybe_finish();
  if (silent && !rested_ && state_ == State::relaying) {
    rest();
  }
}

/** Large lines leave memory behind, and they and the start pages of the program that waiting does not need. */
void Relay::rest() {
  client_.give_back();
  gateway_.give_back();
  (void)::malloc_trim(0);
  drop_startup_pages();
  rested_ = true;
}

int Relay::timeout() const {
  auto until = Clock::time_point::max();
  const auto add = [&until](Clock::time_point at) { until = std::min(until, at); };
  if (state_ == State::waiting) {
    add(connector_.retry_at());
    add(outage_since_ + outage_limit);
  } else if (state_ == State::greeting) {
    add(phase_since_ + greeting_limit);
  } else if (state_ == State::replaying) {
    add(phase_since_ + replay_limit);
  }
  if (client_ended_) {
    add(client_ended_at_ + client_end_limit);
  }
  if (state_ == State::relaying && !rested_) {
    add(Clock::now() + rest_after);
  }
  if (until == Clock::time_point::max()) {
    return -1;
  }
  const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
  return static_cast<int>(std::max<milliseconds::rep>(left, 0));
}

void Relay::check_deadlines() {
  const auto now = Clock::now();
  if (client_ended_ && now >= client_ended_at_ + client_end_limit) {
    end(0);
  } else if ((state_ == State::greeting && now >= phase_since_ + greeting_limit) ||
             (state_ == State::replaying && now >= phase_since_ + replay_limit)) {
    connection_lost();
  } else if (state_ == State::waiting && now >= outage_since_ + outage_limit) {
    refuse("the gateway cannot be reached at " + options_.socket);
  } else if (state_ == State::waiting && now >= connector_.retry_at()) {
    try_connect();
  }
}

void Relay::try_connect() {
  UniqueFd socket = connector_.connect();
  if (!socket) {
    return;
  }
  socket_ = std::move(socket);
  state_ = State::greeting;
  phase_since_ = Clock::now();
  greeting_.clear();
  head_ = opening_line(options_.server, session_);
  write_gateway();
}

void Relay::read_gateway() {
  char bytes[read_bytes];
  const auto count = ::recv(socket_.get(), bytes, sizeof bytes, 0);
  if (count > 0) {
    const std::string_view received(bytes, static_cast<std::size_t>(count));
    if (state_ == State::greeting) {
      take_greeting(received);
    } else {
      gateway_.append(received, [this](const Line& line) { return gateway_line(line); });
      rested_ = rested_ && !gateway_.holds_much();
    }
  } else if (!try_again(count)) {
    connection_lost();
  }
}

void Relay::take_greeting(std::string_view bytes) {
  const auto newline = bytes.find('\n');
  greeting_.append(bytes.substr(0, newline));
  if (greeting_.size() > max_greeting_bytes) {
    connection_lost();
    return;
  }
  if (newline == std::string_view::npos) {
    return;
  }
  greeted(greeting_);
  if (socket_ && !exit_code_) {
    gateway_.append(bytes.substr(newline + 1), [this](const Line& line) { return gateway_line(line); });
  }
}

void Relay::greeted(std::string_view line) {
  const auto answer = parse_answer(line);
  if (!answer) {
    connection_lost();
  } else if (!answer->error.empty() && !session_.empty()) {
    session_.clear();  // it may only not know our session any more: once more, as a new one
    connection_lost();
  } else if (!answer->error.empty()) {
    refuse(answer->error);
  } else {
    session_ = answer->session;
    rested_ = false;
    replay();
  }
}

void Relay::replay() {
  phase_since_ = Clock::now();
  state_ = State::relaying;
  if (client_.handshake_lost()) {
    refuse("the connection was lost and the client's handshake was too long to repeat");
  } else if (!client_.initialize().empty()) {
    head_ = client_.initialize();
    // One that waits for its answer gets this one.
    state_ = client_.initialize_in_flight() ? State::relaying : State::replaying;
  }
  if (state_ == State::relaying) {
    head_ += client_.repeats();
  }
}

GatewaySide::Verdict Relay::gateway_line(const Line& line) {
  if (state_ == State::replaying && line.is_response() &&
      jsonrpc::id_key(line.id) == jsonrpc::id_key(client_.initialize_id())) {
    replayed(line);
    return GatewaySide::Verdict::swallow;
  }
  if (line.is_response()) {
    const auto own = repeated_.empty() ? repeated_.end() : repeated_.find(jsonrpc::id_key(line.id));
    if (own != repeated_.end()) {
      if (--own->second == 0) {
        repeated_.erase(own);
      }
      return GatewaySide::Verdict::swallow;
    }
    client_.answered(line);
  }
  if (state_ == State::relaying) {
    outage_ = false;
    connector_.succeeded();
  }
  return GatewaySide::Verdict::deliver;
}

void Relay::replayed(const Line& line) {
  if (line.has_error) {
    refuse("the server refused the handshake after the gateway's restart");
    return;
  }
  state_ = State::relaying;
  phase_since_ = Clock::now();
  head_ += client_.initialized();
  if (!client_.initialized().empty()) {
    head_ += client_.wishes().lines();
    repeated_ = client_.wishes().ids();
  }
  head_ += client_.repeats();
}

void Relay::write_gateway() {
  while (socket_) {
    const bool own = !head_.empty();
    const auto bytes = own ? std::string_view(head_) : state_ == State::relaying ? client_.next() : std::string_view();
    if (bytes.empty()) {
      break;
    }
    const auto count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0) {
      if (!try_again(count)) {
        connection_lost();
      }
      break;
    }
    if (own) {
      head_.erase(0, static_cast<std::size_t>(count));
    } else {
      client_.sent(static_cast<std::size_t>(count));
    }
  }
  gateway_.add(client_.take_answers());
}

void Relay::connection_lost() {
  const auto now = Clock::now();
  if (state_ == State::relaying && now >= phase_since_ + healthy_after) {
    outage_ = false;
    connector_.succeeded();
  }
  if (!outage_) {
    outage_ = true;
    outage_since_ = now;
  }
  watch_.closing(Watch::gateway);
  socket_.reset();
  head_.clear();
  repeated_.clear();
  half_closed_ = false;
  state_ = State::waiting;
  gateway_.connection_lost();
  std::string answers;
  client_.connection_lost(answers);
  gateway_.add(answers);
  connector_.failed();
}

void Relay::read_client() {
  char bytes[read_bytes];
  const auto count = ::read(STDIN_FILENO, bytes, sizeof bytes);
  if (count > 0) {
    client_.append({bytes, static_cast<std::size_t>(count)});
    rested_ = rested_ && !client_.holds_much();
    if (count == sizeof bytes && !std::exchange(stdin_enlarged_, true)) {
      (void)enlarge_pipe(STDIN_FILENO);
    }
  } else if (!try_again(count)) {
    client_ended_ = true;
    client_ended_at_ = Clock::now();
  }
}

void Relay::write_client() {
  for (;;) {
    const auto bytes = gateway_.next();
    if (bytes.empty()) {
      return;
    }
    const auto count = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (count < 0) {
      if (!try_again(count)) {
        end(0);
      } else if (!std::exchange(stdout_enlarged_, true) && enlarge_pipe(STDOUT_FILENO)) {
        continue;
      }
      return;
    }
    gateway_.written(static_cast<std::size_t>(count));
  }
}

/** After the client has closed stdin: ends when nothing it could wait for is left. */
void Relay::maybe_finish() {
  if (!client_ended_ || exit_code_) {
    return;
  }
  const bool sent = head_.empty() && client_.empty();
  if (sent && socket_ && !half_closed_) {
    half_closed_ = true;
    ::shutdown(socket_.get(), SHUT_WR);
  }
  const bool answered = client_.idle() || state_ == State::waiting;
  if (sent && answered && gateway_.next().empty()) {
    end(0);
  }
}

/** The id of the client's initialize that waits for an answer; read from stdin if need be. Empty if there is none. */
std::string Relay::initialize_id() {
  if (client_.initialize_in_flight()) {
    return client_.initialize_id();
  }
  if (!client_.initialize().empty()) {
    return {};
  }
  const auto until = Clock::now() + last_words_limit;
  std::string text(client_.next());
  while (text.find('\n') == std::string::npos && text.size() < max_kept_line_bytes && !client_ended_) {
    pollfd fd{STDIN_FILENO, POLLIN, 0};
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
    if (left <= 0 || ::poll(&fd, 1, static_cast<int>(left)) <= 0) {
      break;
    }
    char bytes[read_bytes];
    const auto count = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (count <= 0 && !try_again(count)) {
      break;
    }
    text.append(bytes, static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  }
  const auto envelope = jsonrpc::scan(std::string_view(text).substr(0, text.find('\n')));
  return envelope.kind == jsonrpc::Kind::request ? std::string(envelope.id) : std::string();
}

void Relay::refuse(std::string_view reason) {
  end(1);
  watch_.closing(Watch::gateway);
  socket_.reset();
  gateway_.connection_lost();
  const std::string text = (options_.server == names::all_servers ? "MCP servers" : "MCP server " + options_.server) +
                           ": " + std::string(reason);
  const auto id = initialize_id();
  if (!id.empty()) {
    gateway_.add(jsonrpc::error_response(id, jsonrpc::internal_error, text) + "\n");
  }
  const auto until = Clock::now() + last_words_limit;
  while (!gateway_.next().empty() && Clock::now() < until) {
    pollfd fd{STDOUT_FILENO, POLLOUT, 0};
    if (::poll(&fd, 1, static_cast<int>(last_words_limit.count())) <= 0) {
      break;
    }
    write_client();
  }
  const std::string line = "hal9000-mcp: " + text + "\n";
  [[maybe_unused]] const auto count = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace hal::relay
