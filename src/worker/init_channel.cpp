#include "worker/init_channel.hpp"

#include "base/limits.hpp"
#include "base/log.hpp"
#include "base/text.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace hal::worker {

namespace {

/** After a new connection PID 1 says at once what still runs; what it has not named by then has ended unseen. */
constexpr auto settle_time = std::chrono::seconds(2);
/**
 * What is asked of PID 1 may take long, its disk being slow; that it is there itself, a ping tells. Together they are
 * what a worker at the limits of its memory and processors can need at the worst.
 */
constexpr auto ping_after = std::chrono::seconds(5);
constexpr auto pong_deadline = std::chrono::seconds(15);
/** It connects within milliseconds of the socket's coming; waiting longer than a start may take is of no use. */
constexpr auto connect_deadline = std::chrono::seconds(30);
/** Endings remembered for those who ask late. */
constexpr std::size_t remembered_endings = 256;
/** With the worker's own command. */
constexpr std::size_t max_programs = limits::execs_per_worker + 1;

Error not_connected() {
  return {Errc::disconnected, "the worker's init is not connected"};
}

}  // namespace

Result<std::unique_ptr<InitChannel>> InitChannel::open(event::Loop& loop, const std::string& path, std::string name,
                                                       Callbacks callbacks) {
  auto listening = io::listen_unix(path, SOCK_SEQPACKET, 0666);
  if (!listening) {
    return listening.error();
  }
  return std::make_unique<InitChannel>(loop, *std::move(listening), std::move(name), std::move(callbacks));
}

InitChannel::InitChannel(event::Loop& loop, UniqueFd listening, std::string name, Callbacks callbacks)
    : loop_(loop),
      name_(std::move(name)),
      callbacks_(std::move(callbacks)),
      next_id_(text::random_u64()),
      settle_(loop, name_ + " (settle)", [this] { settle_unknown(); }),
      silence_(loop, name_ + " (silence)", [this] { not_heard(); }),
      listener_(loop, std::move(listening), name_,
                [this](UniqueFd connection, io::PeerCredentials peer) { accept(std::move(connection), peer.pid); }) {}

void InitChannel::set_container_pid(pid_t pid) {
  if (pid != container_pid_) {
    container_pid_ = pid;
    channel_.reset();
    pinged_ = silent_ = false;
    silence_.disarm();
    if (waiting_connection_) {
      accept(std::move(waiting_connection_), waiting_peer_);
    }
  }
  listen_for_life();
}

/** Begins to wait for a sign of PID 1, where one is due. */
void InitChannel::listen_for_life() {
  if (silence_.armed() || silent_ || container_pid_ == 0) {
    return;
  }
  if (!connected()) {
    silence_.arm(connect_deadline);
  } else if (!pending_.empty()) {
    silence_.arm(ping_after);
  }
}

void InitChannel::heard() {
  silence_.disarm();
  pinged_ = false;
  const bool was_silent = std::exchange(silent_, false);
  listen_for_life();
  if (was_silent) {
    callbacks_.on_answering();
  }
}

void InitChannel::ask_again() {
  silent_ = false;
  listen_for_life();
}

void InitChannel::not_heard() {
  if (connected() && !pinged_) {
    if (pending_.empty()) {
      return;  // all that was asked has been given up meanwhile; the next request asks again
    }
    init::Request ping;
    ping.kind = init::RequestKind::ping;
    ping.id = ExecId{next_id_++};
    const auto datagram = init::encode(ping);
    pinged_ = datagram && channel_->send(*datagram);
    if (pinged_) {
      return silence_.arm(pong_deadline);
    }
  }
  silent_ = true;
  pinged_ = false;
  callbacks_.on_silent(connected() ? "its hal9000-init does not answer" : "its hal9000-init does not connect");
}

void InitChannel::accept(UniqueFd connection, pid_t peer) {
  if (container_pid_ == 0) {
    waiting_connection_ = std::move(connection);
    waiting_peer_ = peer;
    return;
  }
  if (peer != container_pid_) {
    if (!std::exchange(told_of_strangers_, true)) {
      log::warning({}, "{}: refused a connection of process {}, which is not the container's PID 1 ({})", name_, peer,
                   container_pid_);
    }
    return;
  }
  adopt_connection(std::move(connection));
}

void InitChannel::adopt_connection(UniqueFd connection) {
  channel_ = std::make_unique<io::MessageChannel>(
      loop_, std::move(connection), name_ + " (connection)",
      io::MessageChannel::Callbacks{[this](io::Message message) { on_message(std::move(message)); },
                                    [this](const Error& reason) { on_closed(reason); }});
}

void InitChannel::start(init::Request request, std::vector<UniqueFd> fds, Done<Stream> done,
                        std::chrono::milliseconds deadline) {
  request.id = ExecId{next_id_++};
  const ExecId id = request.id;
  main_ = request.kind == init::RequestKind::main ? id : main_;
  Pending pending;
  pending.done = std::move(done);
  pending.terminal = request.terminal;
  Result<void> sent;
  if (!connected()) {
    sent = not_connected();
  } else if (request.kind != init::RequestKind::ping && running_.size() + pending_.size() >= max_programs) {
    sent = Error{Errc::limit, fmt::format("{} programs run in the worker already", limits::execs_per_worker)};
  } else if (auto datagram = init::encode(request); !datagram) {
    sent = datagram.error();
  } else {
    sent = channel_->send(*std::move(datagram), std::move(fds));
  }
  // A failure known now is told from the loop all the same: never from inside the call.
  const auto error = sent ? Error{Errc::timed_out, "the worker's init did not answer in time"} : sent.error();
  pending.deadline =
      std::make_unique<event::Timer>(loop_, name_ + " (start)", [this, id, error] { finish_start(id, error); });
  pending.deadline->arm(sent ? deadline : std::chrono::milliseconds(0));
  pending_.emplace(id, std::move(pending));
  listen_for_life();
}

void InitChannel::signal(int number, Done<void> done) {
  init::Request request;
  request.kind = init::RequestKind::signal;
  request.id = main_;
  request.signal = number;
  Result<void> sent;
  if (!connected()) {
    sent = not_connected();
  } else if (main_.value == 0) {
    sent = Error{Errc::busy, "the worker's command does not run"};
  } else if (const auto datagram = init::encode(request); !datagram) {
    sent = datagram.error();
  } else {
    sent = channel_->send(*datagram);
  }
  if (!sent) {
    event::post(loop_, name_ + " (signal)", [sent, done = std::move(done)] { done(sent); });
    return;
  }
  // It has no answer, but init takes one request after the other; and ends with a command that the signal ends.
  init::Request ping;
  ping.kind = init::RequestKind::ping;
  start(std::move(ping), {}, [done = std::move(done)](const Result<Stream>& pong) {
    const bool arrived = pong || pong.error().code == Errc::disconnected;
    done(arrived ? Result<void>() : Result<void>(pong.error()));
  });
}

void InitChannel::wait(ExecId id, Done<int> done) {
  if (const auto it = running_.find(id); it != running_.end()) {
    it->second.push_back(std::move(done));
    return;
  }
  const auto ended = std::find_if(ended_.begin(), ended_.end(), [id](const auto& entry) { return entry.first == id; });
  Result<int> known = Error{Errc::not_found, fmt::format("no program {} was started here", id.value)};
  if (ended != ended_.end()) {
    known = ended->second;
  }
  event::post(loop_, name_ + " (wait)", [known, done = std::move(done)] { done(known); });
}

Result<void> InitChannel::resize(ExecId id, TerminalSize size) {
  if (!running_.contains(id)) {
    return Error{Errc::not_found, fmt::format("no program {} runs here", id.value)};
  }
  init::Request request;
  request.kind = init::RequestKind::resize;
  request.id = id;
  request.rows = size.rows;
  request.columns = size.columns;
  auto datagram = init::encode(request);
  if (!datagram) {
    return datagram.error();
  }
  if (!connected()) {
    return not_connected();
  }
  return channel_->send(*std::move(datagram));
}

void InitChannel::on_message(io::Message message) {
  const auto record = init::decode_record(message.bytes);
  if (!record || message.fds.size() != init::fds_with(*record)) {
    return reject("a malformed record");
  }
  heard();
  on_record(*record, std::move(message.fds));
}

void InitChannel::reject(std::string_view what) {
  log::warning({}, "{}: {}; connection closed", name_, what);
  on_closed({Errc::protocol, std::string(what)});
}

bool InitChannel::note_running(ExecId id) {
  if (!running_.contains(id) && running_.size() >= max_programs) {
    return false;
  }
  running_.try_emplace(id);
  confirmed_[id] = true;
  return true;
}

void InitChannel::on_record(const init::Record& record, std::vector<UniqueFd> fds) {
  switch (record.kind) {
    case init::RecordKind::hello:
      confirmed_.clear();
      settle_.arm(settle_time);
      main_ = record.id;
      callbacks_.on_connected((record.flags & init::record_main_started) != 0);
      break;
    case init::RecordKind::running:
      if (!note_running(record.id)) {
        reject("more programs than there may be");
      }
      break;
    case init::RecordKind::started:
      if (!note_running(record.id)) {
        return reject("more programs than there may be");
      }
      finish_start(record.id, Stream{fds.empty() ? UniqueFd() : std::move(fds.front()), record.id});
      break;
    case init::RecordKind::prepared:
      finish_start(record.id, Stream{{}, record.id});
      break;
    case init::RecordKind::failed:
      finish_start(record.id, errno_error("cannot start the program", record.error));
      break;
    case init::RecordKind::pong:
      finish_start(record.id, Stream{{}, record.id});
      break;
    case init::RecordKind::exited:
      finish_exec(record.id, process::exit_status(record.status).code);
      break;
    case init::RecordKind::main_exited:
      finish_exec(record.id, process::exit_status(record.status).code);
      callbacks_.on_main_exited(process::exit_status(record.status));
      break;
  }
}

void InitChannel::finish_start(ExecId id, Result<Stream> result) {
  const auto it = pending_.find(id);
  if (it == pending_.end()) {
    return;
  }
  const auto done = std::move(it->second.done);
  pending_.erase(it);
  if (pending_.empty() && connected() && !pinged_) {
    silence_.disarm();
  }
  done(std::move(result));
}

void InitChannel::finish_exec(ExecId id, int code) {
  ended_.emplace_back(id, code);
  if (ended_.size() > remembered_endings) {
    ended_.pop_front();
  }
  confirmed_.erase(id);
  if (auto node = running_.extract(id)) {
    for (const auto& done : node.mapped()) {
      done(code);
    }
  }
}

void InitChannel::settle_unknown() {
  std::vector<ExecId> unknown;
  for (const auto& [id, waiters] : running_) {
    if (!confirmed_.contains(id)) {
      unknown.push_back(id);
    }
  }
  for (const auto id : unknown) {
    if (auto node = running_.extract(id)) {
      for (const auto& done : node.mapped()) {
        done(Error{Errc::disconnected, "the program ended while the worker's init was not connected"});
      }
    }
  }
}

void InitChannel::on_closed(const Error& reason) {
  channel_.reset();
  log::debug({}, "{}: {}", name_, reason.message);
  silence_.disarm();
  pinged_ = false;
  listen_for_life();
  while (!pending_.empty()) {
    finish_start(pending_.begin()->first, Error{Errc::disconnected, "the worker's init went away"});
  }
}

void InitChannel::fail_all(const Error& error) {
  channel_.reset();
  waiting_connection_.reset();
  container_pid_ = 0;
  silence_.disarm();
  while (!pending_.empty()) {
    finish_start(pending_.begin()->first, error);
  }
  while (!running_.empty()) {
    const auto node = running_.extract(running_.begin());
    for (const auto& done : node.mapped()) {
      done(error);
    }
  }
}

}  // namespace hal::worker
