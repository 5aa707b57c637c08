#include "hub/relay_session.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "hub/era.hpp"
#include "hub/handshake.hpp"
#include "hub/hub_limits.hpp"
#include "json/json.hpp"
#include "jsonrpc/batch.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"

#include <array>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::hub {

namespace {

/** 128 random bits: a session cannot be guessed. */
constexpr std::size_t session_id_digits = 32;

/** The server's name from the first line. */
Result<std::string> read_opening(std::string_view line) {
  if (line.size() > limits::opening_line_bytes) {
    return Error{Errc::limit, "the first line is too long"};
  }
  const auto object = json::parse(line);
  if (!object) {
    return object.error().with("the first line");
  }
  if (const auto known = json::only_keys(*object, {"hal9000", "server", "resume"}); !known) {
    return known.error().with("the first line");
  }
  const auto version = json::unsigned_at(*object, "hal9000");
  if (!version || *version != 1) {
    return Error{Errc::protocol, "the first line: \"hal9000\" must be 1"};
  }
  // "resume" is for the log only: the relay replays its handshake, so a new session serves as well as the old one.
  if (const auto resume = json::optional_string_at(*object, "resume"); !resume) {
    return resume.error().with("the first line");
  }
  auto server = json::string_at(*object, "server");
  if (!server) {
    return server.error().with("the first line");
  }
  return server;
}

}  // namespace

RelaySession::RelaySession(event::Loop& loop, ClientId id, WorkerId worker, UniqueFd socket, Listener& listener)
    : RelaySession(loop, id, std::move(worker), text::random_hex(session_id_digits), std::move(socket), listener) {}

RelaySession::RelaySession(event::Loop& loop, ClientId id, WorkerId worker, std::string session, UniqueFd socket,
                           Listener& listener)
    : id_(id),
      worker_(std::move(worker)),
      session_(std::move(session)),
      listener_(listener),
      over_(loop, "end of session " + session_, [this] { listener_.on_session_over(*this); }),
      deadline_(loop, "deadline of session " + session_, [this] { over(); }),
      channel_(loop, std::move(socket), "session " + session_,
               {.on_line = [this](std::string_view line) { on_line(line); },
                .on_overlong =
                    [this](std::size_t bytes) {
                      fail("", jsonrpc::invalid_request, fmt::format("a message of {} bytes is too long", bytes));
                    },
                .on_closed = [this](const Error&) { over(); },
                .on_drained = [this] { on_drained(); },
                .on_broken = [this] { over(); }}) {
  deadline_.arm(limits::opening_deadline);
}

RelaySession::~RelaySession() = default;

/** What holds it up now is seen anew with the next message. */
void RelaySession::save(Saver& archive) {
  archive(session_, spoken_, batches_);
  channel_.save(archive);
}

std::unique_ptr<RelaySession> RelaySession::load(Loader& archive, event::Loop& loop, ClientId id, WorkerId worker,
                                                 Server* server, Listener& listener) {
  std::string session;
  bool spoken = false;
  OpenBatches batches;
  archive(session, spoken, batches);
  auto socket = io::LineChannel::load_ends(archive).first;
  if (!socket) {
    return nullptr;
  }
  std::unique_ptr<RelaySession> loaded(
      new RelaySession(loop, id, std::move(worker), std::move(session), std::move(socket), listener));
  loaded->server_ = server;
  loaded->spoken_ = spoken;
  loaded->batches_ = std::move(batches);
  loaded->channel_.load(archive);
  loaded->slow_ = loaded->channel_.queued_bytes() > limits::client_high_bytes;
  loaded->update_reading();
  if (server != nullptr) {
    loaded->deadline_.disarm();
  }
  return loaded;
}

void RelaySession::on_line(std::string_view line) {
  if (ending_) {
    return;
  }
  if (server_ == nullptr) {
    return open(line);
  }
  listener_.on_session_activity(*this);
  const auto message = jsonrpc::scan(line);
  if (message.kind == jsonrpc::Kind::batch) {
    return on_batch(line);
  }
  on_message(message, line);
}

void RelaySession::on_message(const jsonrpc::Envelope& message, std::string_view line) {
  if (message.kind == jsonrpc::Kind::not_json) {
    return fail("", jsonrpc::parse_error, message.problem);
  }
  if (message.kind == jsonrpc::Kind::batch || message.kind == jsonrpc::Kind::invalid) {
    return fail(message.id, jsonrpc::invalid_request, message.problem);
  }
  if (!batches_.empty() && message.method() == "notifications/cancelled" &&
      batches_.give_up(jsonrpc::id_key(message.request_id)) == OpenBatches::Verdict::complete) {
    send_complete_batch();
  }
  if (!spoken_ && message.kind == jsonrpc::Kind::request) {
    spoken_ = true;
    if (opens_modern(message)) {
      const auto modern = listener_.on_session_modern(*this);
      if (!modern) {
        fail(message.id, jsonrpc::internal_error, modern.error().message);
        return end(modern.error().message);
      }
      server_ = *modern;
    }
  }
  server_->from_client(*this, message, line);
}

void RelaySession::on_batch(std::string_view line) {
  if (!server_->takes_batches(*this)) {
    return fail("", jsonrpc::invalid_request, fmt::format("batches exist in protocol version {} only", batch_revision));
  }
  const auto lines = jsonrpc::split_batch(line);
  if (!lines || lines->empty()) {
    return fail("", jsonrpc::invalid_request,
                fmt::format("a batch has between 1 and {} messages", jsonrpc::max_batch_messages));
  }
  std::vector<jsonrpc::Envelope> messages;
  std::vector<std::string> ids;
  for (const auto one : *lines) {
    const auto& message = messages.emplace_back(jsonrpc::scan(one));
    if (message.kind != jsonrpc::Kind::notification && !message.is_response()) {
      ids.push_back(message.id.empty() ? "null" : jsonrpc::id_key(message.id));
    }
  }
  if (!ids.empty()) {
    batches_.open(ids);
  }
  for (std::size_t i = 0; i < messages.size() && server_ != nullptr && !ending_; ++i) {
    on_message(messages[i], (*lines)[i]);
  }
}

void RelaySession::respond(std::string_view id, Parts message) {
  if (batches_.empty()) {
    return deliver(message);
  }
  switch (batches_.answer(id.empty() ? "null" : jsonrpc::id_key(id), message)) {
    case OpenBatches::Verdict::alone:
      return deliver(message);
    case OpenBatches::Verdict::kept:
      return;
    case OpenBatches::Verdict::complete:
      return send_complete_batch();
  }
}

void RelaySession::send_complete_batch() {
  const std::string line = batches_.take_complete();
  if (!line.empty()) {
    const std::array parts{std::string_view(line)};
    deliver(parts);
  }
}

void RelaySession::open(std::string_view line) {
  auto name = read_opening(line);
  if (!name) {
    return refuse(name.error().message);
  }
  auto server = listener_.on_session_opening(*this, *name);
  if (!server) {
    return refuse(server.error().message);
  }
  server_ = *server;
  deadline_.disarm();
  const auto answer = fmt::format(R"({{"hal9000":1,"session":"{}"}})", session_);
  const std::array parts{std::string_view(answer)};
  deliver(parts);
}

void RelaySession::refuse(const std::string& reason) {
  log::warning({{names::field_worker, worker_.value}}, "a session was refused: {}", reason);
  const auto answer = fmt::format(R"({{"hal9000":1,"error":{}}})", jsonrpc::quote(reason));
  const std::array parts{std::string_view(answer)};
  deliver(parts);
  end(reason);
}

void RelaySession::fail(std::string_view id, int code, const std::string& message) {
  const auto line = jsonrpc::error_response(id, code, message);
  const std::array parts{std::string_view(line)};
  respond(id, parts);
}

void RelaySession::deliver(Parts message) {
  if (ending_) {
    return;
  }
  if (const auto written = channel_.write_line(message); !written) {
    if (written.error().code == Errc::limit) {
      log::warning({{names::field_worker, worker_.value}, {names::field_session, session_}}, "session ended: {}",
                   written.error().message);
    }
    return over();
  }
  if (!slow_ && channel_.queued_bytes() > limits::client_high_bytes) {
    slow_ = true;
    update_reading();
  }
}

void RelaySession::notify(Parts message) {
  if (channel_.queued_bytes() <= limits::client_notification_bytes) {
    deliver(message);
  }
}

void RelaySession::hold(bool held) {
  held_ = held;
  update_reading();
}

void RelaySession::update_reading() {
  if (held_ || slow_) {
    channel_.pause();
  } else {
    channel_.resume();
  }
}

void RelaySession::on_drained() {
  if (std::exchange(slow_, false)) {
    update_reading();
  }
  if (ending_) {
    return over();
  }
  if (server_ != nullptr) {
    server_->client_drained(*this);
  }
}

void RelaySession::end(const std::string& reason) {
  if (std::exchange(ending_, true)) {
    return;
  }
  log::debug({{names::field_worker, worker_.value}, {names::field_session, session_}}, "session ends: {}", reason);
  if (channel_.queued_bytes() == 0) {
    return over();
  }
  deadline_.arm(limits::opening_deadline);
}

void RelaySession::detach(const std::string& reason) {
  server_ = nullptr;
  end(reason);
}

void RelaySession::over() {
  ending_ = true;
  over_.schedule();
}

}  // namespace hal::hub
