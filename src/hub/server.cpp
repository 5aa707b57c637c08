#include "hub/server.hpp"

#include "base/text.hpp"
#include "hub/legacy_bridge.hpp"
#include "hub/session_server.hpp"
#include "hub/shared_server.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/splice.hpp"

#include <array>
#include <chrono>
#include <utility>

#include <fmt/format.h>

namespace hal::hub {

namespace {

/** Of a tool's name, in the sentence that refuses it. */
constexpr std::size_t max_told_tool_bytes = 128;

}  // namespace

Server::Server(ServerContext& context, link::ServerSet config)
    : context_(context), config_(std::move(config)), traces_(context.traces_of(config_.name)) {}

Server::~Server() {
  for (const auto& [client, account] : accounts_) {
    traces_.forget(client);
  }
}

void Server::set_config(link::ServerSet config) {
  if (modern_only_ != nullptr && config.configuration != config_.configuration) {
    modern_only_->end_all("the server's configuration has changed");  // it may be another program
    modern_only_.reset();
  }
  config_ = std::move(config);
}

void Server::client_drained(Client& client) {
  if (modern_only_ != nullptr) {
    modern_only_->client_drained(client);
  }
}

void Server::turn_modern(Client& client, const std::string& initialize) {
  if (modern_only_ == nullptr) {
    modern_only_ = std::make_unique<ModernOnly>(*this, context_.modern_of(*this), context_.loop);
  }
  modern_only_->from_client(client, jsonrpc::scan(initialize), initialize);
}

void Server::leave_modern() {
  modern_only_.reset();
}

link::ServerReport Server::report() {
  changed_ = false;
  link::ServerReport report;
  report.name = name();
  report.traffic = traffic_;
  report.sessions.reserve(accounts_.size());
  for (const auto& [id, account] : accounts_) {
    report.sessions.push_back(account.report());
  }
  report.protocol_version = protocol_version_;
  report.server_info = server_info_;
  report.last_activity_usec = last_activity_usec_;
  return report;
}

Result<void> Server::add(Client& client, std::shared_ptr<const Access> access) {
  if (access == nullptr) {
    return do_add(client);
  }
  if (config_.max_sessions != 0 && accounts_.size() >= config_.max_sessions) {
    return Error{Errc::limit, fmt::format("server {} has {} sessions, its limit", name(), accounts_.size())};
  }
  accounts_.try_emplace(client.id(), name(), client, std::move(access));
  if (auto added = do_add(client); !added) {
    accounts_.erase(client.id());
    return added;
  }
  touch();
  return {};
}

void Server::remove(Client& client) {
  touch();
  do_remove(client);
  if (modern_only_ != nullptr) {
    modern_only_->remove(client.id());
  }
  auto node = accounts_.extract(client.id());
  if (node.empty()) {
    return;
  }
  for (auto& closed : node.mapped().close_all(context_.loop.now(), "gone")) {
    audit(std::move(closed.entry));
  }
  traces_.forget(client.id());
}

void Server::from_client(Client& client, const jsonrpc::Envelope& message, std::string_view line) {
  auto* known = account_of(client);
  if (known == nullptr) {
    return do_from_client(client, message, line);
  }
  auto& account = *known;
  account.traffic.received_bytes += line.size();
  traffic_.received_bytes += line.size();
  touch();
  if (!traces_.empty()) {
    traces_.received(client, *account.access(), message, line);
  }
  if (message.kind == jsonrpc::Kind::request && !admit(client, account, message)) {
    return;
  }
  if (message.kind == jsonrpc::Kind::notification && message.method() == "notifications/cancelled") {
    (void)settle(account, message.request_id, "cancelled", false);
  }
  if (modern_only_ != nullptr) {
    return modern_only_->from_client(client, message, line);
  }
  do_from_client(client, message, line);
}

bool Server::admit(Client& client, Account& account, const jsonrpc::Envelope& message) {
  const auto calls = account.traffic.calls;
  ++traffic_.requests;
  ++account.traffic.requests;
  if (!account.open(message, context_.loop.now(), config_.audit)) {
    ++account.traffic.errors;
    count_error();
    const auto line =
        jsonrpc::error_response(message.id, jsonrpc::invalid_request, "a request with this id is in flight");
    const std::array parts{std::string_view(line)};
    const TracedAnswer answer{jsonrpc::Kind::error, message.id, "error", std::nullopt};
    count_sent(client, parts, &answer);
    client.respond(message.id, parts);
    return false;
  }
  if (account.traffic.calls != calls) {
    ++traffic_.calls;
    if (const auto why = account.refusal(config_.tools, message)) {
      refuse(client, account, message, *why);
      return false;
    }
  }
  return true;
}

void Server::refuse(Client& client, Account& account, const jsonrpc::Envelope& call, const std::string& why) {
  ++account.traffic.refused;
  ++traffic_.refused;
  const auto text = fmt::format("Tool {} of server {} may not be called: {}.",
                                text::printable(jsonrpc::unescape(call.name), max_told_tool_bytes), name(), why);
  // Who asks for a task understands only a task or an error.
  const auto line = call.task.empty() ? jsonrpc::result_response(call.id, refusal_result(text))
                                      : jsonrpc::error_response(call.id, jsonrpc::invalid_params, text);
  const std::array parts{std::string_view(line)};
  respond(client, call.id, parts, call.task.empty() ? jsonrpc::Kind::result : jsonrpc::Kind::error, "refused");
}

std::string Server::refusal_result(const std::string& text) const {
  return fmt::format(R"({{"content":[{{"type":"text","text":{}}}],"isError":true}})", jsonrpc::quote(text));
}

void Server::give_up(Client& client, std::string_view id, std::string_view outcome) {
  if (auto* account = account_of(client)) {
    (void)settle(*account, id, outcome, false);
    traces_.forget(client.id(), id);
  }
}

void Server::pass_answer(Client& client, std::string_view id, const jsonrpc::Envelope& message, std::string_view line) {
  auto* account = account_of(client);
  if (account == nullptr) {
    jsonrpc::Splice splice(line);
    splice.replace(message.id, id);
    return client.respond(id, splice.parts());
  }
  const bool is_error = message.kind == jsonrpc::Kind::error;
  if (is_error) {
    ++account->traffic.errors;
    count_error();
  }
  const std::string_view outcome = is_error ? "error" : message.is_error == "true" ? "tool-error" : "ok";
  const auto settled = settle(*account, id, outcome, true);
  const auto filtered = settled && settled->lists_tools && !is_error ? account->filtered(config_.tools, message.outcome)
                                                                     : std::optional<std::string>();
  jsonrpc::Splice splice(line);
  splice.replace(message.id, id);
  if (filtered) {
    splice.replace(message.outcome, *filtered);
  }
  const TracedAnswer answer{message.kind, id, outcome, settled ? std::optional(settled->time) : std::nullopt};
  count_sent(client, splice.parts(), &answer);
  client.respond(id, splice.parts());
}

void Server::notify(Client& client, Parts message) {
  count_sent(client, message);
  client.notify(message);
}

void Server::ask(Client& client, Parts message) {
  count_sent(client, message);
  client.deliver(message);
}

void Server::fail(Client& client, std::string_view id, int code, const std::string& message) {
  if (auto* account = account_of(client)) {
    ++account->traffic.errors;
    count_error();
  }
  const auto line = jsonrpc::error_response(id, code, message);
  const std::array parts{std::string_view(line)};
  respond(client, id, parts, jsonrpc::Kind::error, "error");
}

void Server::answer(Client& client, std::string_view id, std::string_view result) {
  const auto line = jsonrpc::result_response(id, result);
  const std::array parts{std::string_view(line)};
  respond(client, id, parts, jsonrpc::Kind::result, "ok");
}

void Server::respond(Client& client, std::string_view id, Parts message, jsonrpc::Kind kind, std::string_view outcome) {
  TracedAnswer answer{kind, id, outcome, std::nullopt};
  if (auto* account = account_of(client)) {
    if (const auto settled = settle(*account, id, outcome, outcome == "ok")) {
      answer.time = settled->time;
    }
  }
  count_sent(client, message, &answer);
  client.respond(id, message);
}

void Server::count_sent(const Client& client, Parts message, const TracedAnswer* answer) {
  std::size_t bytes = 0;
  for (const auto part : message) {
    bytes += part.size();
  }
  if (auto* account = account_of(client)) {
    traffic_.sent_bytes += bytes;
    account->traffic.sent_bytes += bytes;
    if (!traces_.empty()) {
      traces_.sent(client, *account->access(), message, answer);
    }
  }
}

std::optional<Server::Settled> Server::settle(Account& account, std::string_view id, std::string_view outcome,
                                              bool answered) {
  auto closed = account.close(id, context_.loop.now(), outcome);
  if (!closed) {
    return std::nullopt;
  }
  if (answered) {
    account.traffic.latency.add(closed->time);
    traffic_.latency.add(closed->time);
    changed();
  }
  audit(std::move(closed->entry));
  return Settled{closed->lists_tools, closed->time};
}

void Server::audit(std::optional<AuditEntry> entry) {
  if (entry) {
    context_.audit.add(std::move(*entry));
  }
}

Account* Server::account_of(const Client& client) {
  const auto found = accounts_.find(client.id());
  return found != accounts_.end() ? &found->second : nullptr;
}

void Server::count_error() {
  ++traffic_.errors;
  changed();
}

void Server::set_identity(std::string protocol_version, std::string server_info) {
  protocol_version_ = std::move(protocol_version);
  server_info_ = std::move(server_info);
  changed();
}

void Server::touch() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  last_activity_usec_ = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
  changed();
}

void Server::changed() {
  if (!std::exchange(changed_, true)) {
    context_.on_changed(name());
  }
}

std::unique_ptr<Server> make_server(ServerContext& context, link::ServerSet config) {
  if (config.mode == link::ServerMode::session) {
    return std::make_unique<SessionServer>(context, std::move(config));
  }
  return std::make_unique<SharedServer>(context, std::move(config));
}

}  // namespace hal::hub
