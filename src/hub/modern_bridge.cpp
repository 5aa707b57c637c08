#include "hub/modern_bridge.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "build_config.hpp"
#include "hub/era.hpp"
#include "hub/hub_limits.hpp"
#include "hub/modern_server.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"
#include "jsonrpc/splice.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace hal::hub {

namespace {

/** Of our own initialize; calls and upkeep count from 1. */
constexpr std::string_view hello_id = "0";

std::string joined(Parts parts) {
  std::string line;
  for (const auto part : parts) {
    line += part;
  }
  return line;
}

}  // namespace

ModernBridge::ModernBridge(ModernServer& server, Server& legacy, ServerContext& context, Client& client, ClientId id,
                           std::string session, std::string capabilities)
    : server_(server),
      legacy_(legacy),
      loop_(context.loop),
      client_(client),
      id_(id),
      session_(std::move(session)),
      capabilities_(std::move(capabilities)),
      outbox_flush_(context.loop, "words of bridge " + session_, [this] { flush(); }),
      ended_(context.loop, "end of bridge " + session_, [this] { server_.on_bridge_over(*this); }),
      expiry_(context.loop, "input of bridge " + session_, [this] { expire(); }),
      asking_(context.loop, "questions of bridge " + session_, [this] { require_input(); }) {}

ModernBridge::~ModernBridge() {
  if (joined_) {
    legacy_.remove(*this);
  }
  if (held_) {
    client_.hold(false);
  }
}

void ModernBridge::hold(bool held) {
  held_ = held;
  client_.hold(held);
}

void ModernBridge::open(const jsonrpc::Envelope& request) {
  joined_ = true;
  const auto info = jsonrpc::member(jsonrpc::member(request.params, "_meta"), "io.modelcontextprotocol/clientInfo");
  const auto params =
      fmt::format(R"({{"protocolVersion":"{}","capabilities":{},"clientInfo":{}}})", newest_revision, capabilities_,
                  info.starts_with('{') ? std::string(info)
                                        : fmt::format(R"({{"name":"hal9000","version":"{}"}})", build::version));
  if (auto hello = read_client_hello(params)) {
    hello_ = std::move(*hello);
  }
  say(jsonrpc::request(hello_id, "initialize", params));
}

void ModernBridge::say(std::string line) {
  outbox_.push_back(std::move(line));
  outbox_flush_.schedule();
}

void ModernBridge::flush() {
  while (!over_ && !outbox_.empty()) {
    const auto line = std::move(outbox_.front());
    outbox_.pop_front();
    legacy_.from_client(*this, jsonrpc::scan(line), line);
  }
}

// Requests.

void ModernBridge::request(const jsonrpc::Envelope& message, std::string_view line) {
  if (!server_hello_) {
    if (waiting_.size() >= limits::requests_in_flight || waiting_bytes_ + line.size() > limits::waiting_bytes) {
      return fail(message.id, jsonrpc::internal_error,
                  fmt::format("server {} is starting and too many requests wait for it", server_.name()));
    }
    waiting_bytes_ += line.size();
    waiting_.emplace_back(line);
    return;
  }
  if (message.method() == "server/discover") {
    return server_.answer(client_, message.id, to_discover_result(server_hello_->result, server_hello_->server_info));
  }
  if (message.method() == "subscriptions/listen") {
    return listen(message);
  }
  if (!jsonrpc::member(message.params, "inputResponses").empty()) {
    // Answers to what was asked without a state; the server knows nothing of them.
    const auto plain =
        jsonrpc::request(message.id, message.method(), jsonrpc::without_members(message.params, {"inputResponses"}));
    return forward(jsonrpc::scan(plain), plain);
  }
  forward(message, line);
}

void ModernBridge::forward(const jsonrpc::Envelope& message, std::string_view line) {
  if (calls_.size() >= limits::requests_in_flight) {
    return fail(message.id, jsonrpc::internal_error,
                fmt::format("too many requests in flight at server {}", server_.name()));
  }
  const auto number = next_number_++;
  auto& call = calls_[number];
  call.id = message.id;
  call.token = message.meta_progress_token;
  call.method = message.method();
  if (may_require_input(call.method)) {
    call.subject = subject_of(message);
  }
  if (!message.meta_log_level.empty()) {
    call.log_level = log_level_rank(jsonrpc::unescape(message.meta_log_level)).value_or(0);
    want_log_level(*call.log_level);
  }
  const fmt::format_int fresh(number);
  jsonrpc::Splice splice(line);
  splice.replace(message.id, {fresh.data(), fresh.size()});
  splice.replace(message.meta_progress_token, {fresh.data(), fresh.size()});
  say(joined(splice.parts()));
}

/** A legacy server has one level for its client: the most talkative that any request wanted. */
void ModernBridge::want_log_level(int level) {
  if (server_hello_->logging && (!log_level_sent_ || level < *log_level_sent_)) {
    log_level_sent_ = level;
    (void)ask_upkeep("logging/setLevel", fmt::format(R"({{"level":"{}"}})", log_level_name(level)), {});
  }
}

std::uint64_t ModernBridge::ask_upkeep(std::string_view method, const std::string& params, Upkeep upkeep) {
  const auto number = next_number_++;
  upkeep_.emplace(number, std::move(upkeep));
  say(jsonrpc::request(fmt::format_int(number).c_str(), method, params));
  return number;
}

void ModernBridge::cancel(std::string_view id) {
  const auto key = jsonrpc::id_key(id);
  std::erase_if(waiting_, [&](const std::string& line) {
    const bool cancelled = jsonrpc::id_key(jsonrpc::scan(line).id) == key;
    waiting_bytes_ -= cancelled ? line.size() : 0;
    return cancelled;
  });
  if (listens_.contains(key)) {
    return forget_listen(key);
  }
  const auto call = std::find_if(calls_.begin(), calls_.end(), [&](const auto& entry) {
    return !entry.second.id.empty() && jsonrpc::id_key(entry.second.id) == key;
  });
  if (call != calls_.end()) {
    say(jsonrpc::notification("notifications/cancelled", fmt::format(R"({{"requestId":{}}})", call->first)));
    calls_.erase(call);
  }
}

// Answers.

void ModernBridge::deliver(Parts parts) {
  const auto line = joined(parts);
  const auto message = jsonrpc::scan(line);
  if (message.is_response()) {
    return on_answer(message, line);
  }
  if (message.kind == jsonrpc::Kind::request) {
    on_question(message);
  }
}

void ModernBridge::respond(std::string_view, Parts message) {
  deliver(message);
}

void ModernBridge::on_answer(const jsonrpc::Envelope& message, std::string_view line) {
  if (message.id == hello_id) {
    return on_hello(message);
  }
  const auto number = text::to_number<std::uint64_t>(message.id).value_or(0);
  if (const auto upkeep = upkeep_.extract(number)) {
    if (!upkeep.mapped().uri.empty()) {
      on_subscribed(upkeep.mapped(), message.kind == jsonrpc::Kind::result);
    }
    return;
  }
  const auto found = calls_.find(number);
  if (found == calls_.end()) {
    return;  // given up
  }
  if (!found->second.id.empty()) {
    const auto call = std::move(found->second);
    calls_.erase(found);
    return finish(call, message);
  }
  std::size_t kept = line.size();
  for (const auto& [other, call] : calls_) {
    kept += call.early_answer.size();
  }
  found->second.early_answer =
      kept <= limits::early_answer_bytes
          ? std::string(line)
          : jsonrpc::error_response("0", jsonrpc::internal_error, "the answer was too large to wait for its client");
}

void ModernBridge::on_hello(const jsonrpc::Envelope& message) {
  auto hello = message.kind == jsonrpc::Kind::result ? read_server_hello(message.outcome)
                                                     : Result<ServerHello>(Error{Errc::protocol, "it was refused"});
  if (!hello) {
    if (message.kind == jsonrpc::Kind::result) {
      fail_all(jsonrpc::internal_error, hello.error().message);
    } else {
      for (const auto& line : std::exchange(waiting_, {})) {
        const auto request = jsonrpc::scan(line);
        const auto refusal =
            fmt::format(R"({{"jsonrpc":"2.0","id":{},"error":{}}})", request.id, to_modern_error(message.outcome));
        server_.pass_answer(client_, request.id, jsonrpc::scan(refusal), refusal);
      }
    }
    return end("the handshake failed");
  }
  server_hello_ = std::move(*hello);
  subscribes_ = jsonrpc::member(jsonrpc::member(jsonrpc::member(server_hello_->result, "capabilities"), "resources"),
                                "subscribe") == "true";
  say(jsonrpc::notification("notifications/initialized", ""));
  waiting_bytes_ = 0;
  for (const auto& line : std::exchange(waiting_, {})) {
    request(jsonrpc::scan(line), line);
  }
}

void ModernBridge::finish(const Call& call, const jsonrpc::Envelope& message) {
  std::string line;
  if (message.kind == jsonrpc::Kind::error) {
    if (require_visits(call, message.outcome)) {
      return;
    }
    line = fmt::format(R"({{"jsonrpc":"2.0","id":{},"error":{}}})", call.id, to_modern_error(message.outcome));
  } else if (!message.outcome.starts_with('{')) {
    return fail(call.id, jsonrpc::internal_error,
                fmt::format("server {} answered with a result that is no object", server_.name()));
  } else {
    line =
        jsonrpc::result_response(call.id, to_modern_result(call.method, message.outcome, server_hello_->server_info));
  }
  server_.pass_answer(client_, call.id, jsonrpc::scan(line), line);
}

void ModernBridge::fail(std::string_view id, int code, const std::string& message) {
  server_.fail(client_, id, to_modern_code(code), message);
}

void ModernBridge::fail_all(int code, const std::string& reason) {
  for (const auto& line : std::exchange(waiting_, {})) {
    fail(jsonrpc::scan(line).id, code, reason);
  }
  for (const auto& [number, call] : std::exchange(calls_, {})) {
    if (!call.id.empty()) {
      fail(call.id, code, reason);
    }
  }
  for (const auto& [key, listen] : std::exchange(listens_, {})) {
    fail(listen.id, code, reason);
  }
}

void ModernBridge::notify(Parts parts) {
  const auto line = joined(parts);
  const auto message = jsonrpc::scan(line);
  const auto method = message.method();
  if (method.ends_with("/list_changed")) {
    return on_list_changed(message);
  }
  if (method == "notifications/resources/updated") {
    return on_resource_updated(message);
  }
  if (method == "notifications/cancelled") {
    return on_question_withdrawn(message);
  }
  if (method == "notifications/progress") {
    const auto call = calls_.find(text::to_number<std::uint64_t>(message.progress_token).value_or(0));
    if (call != calls_.end() && !call->second.id.empty() && !call->second.token.empty()) {
      jsonrpc::Splice splice(line);
      splice.replace(message.progress_token, call->second.token);
      server_.notify(client_, splice.parts());
    }
    return;
  }
  if (method == "notifications/message") {
    const auto level = log_level_rank(jsonrpc::unescape(jsonrpc::member(message.params, "level")));
    const bool wanted = std::any_of(calls_.begin(), calls_.end(), [&](const auto& entry) {
      const auto& call = entry.second;
      return !call.id.empty() && call.log_level && (!level || *level >= *call.log_level);
    });
    if (wanted) {
      const std::array one{std::string_view(line)};
      server_.notify(client_, one);
    }
  }
}

/** The legacy server has no more to do with it. */
void ModernBridge::end(const std::string& reason) {
  if (std::exchange(over_, true)) {
    return;
  }
  fail_all(jsonrpc::internal_error, reason);
  ended_.schedule();
}

}  // namespace hal::hub
