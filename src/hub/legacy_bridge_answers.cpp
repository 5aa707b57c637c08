// From a server that speaks the modern revision only to a legacy client.
#include "base/text.hpp"
#include "hub/era.hpp"
#include "hub/hub_limits.hpp"
#include "hub/legacy_bridge.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"
#include "jsonrpc/splice.hpp"

#include <array>

#include <fmt/format.h>

namespace hal::hub {

namespace {

/** Results of one call that require input. A server that never has enough must end somewhere. */
constexpr std::size_t max_rounds = 32;
constexpr std::string_view discover_id = "0";

std::string joined(Parts parts) {
  std::string line;
  for (const auto part : parts) {
    line += part;
  }
  return line;
}

}  // namespace

void LegacyBridge::deliver(Parts parts) {
  const auto line = joined(parts);
  const auto message = jsonrpc::scan(line);
  if (message.is_response()) {
    return on_answer(message, line);
  }
  if (message.kind == jsonrpc::Kind::notification) {
    notify(parts);
  }
}

void LegacyBridge::on_answer(const jsonrpc::Envelope& message, std::string_view line) {
  (void)line;
  if (message.id == discover_id) {
    return on_discovered(message);
  }
  const auto number = text::to_number<std::uint64_t>(message.id).value_or(0);
  if (listens_.contains(number)) {
    return on_listen_over(number);
  }
  const auto found = calls_.find(number);
  if (found == calls_.end()) {
    return;  // given up
  }
  if (message.kind == jsonrpc::Kind::result &&
      jsonrpc::unescape(jsonrpc::member(message.outcome, "resultType")) == "input_required") {
    return ask_client(number, message);
  }
  const auto call = std::move(found->second);
  calls_.erase(found);
  finish(call, message);
}

void LegacyBridge::on_discovered(const jsonrpc::Envelope& message) {
  const auto id = std::exchange(initialize_id_, {});
  if (message.kind == jsonrpc::Kind::error) {
    hello_.reset();
    const auto refusal = fmt::format(R"({{"jsonrpc":"2.0","id":{},"error":{}}})", id, message.outcome);
    return server_.pass_answer(client_, id, jsonrpc::scan(refusal), refusal);
  }
  const auto capabilities = jsonrpc::member(message.outcome, "capabilities");
  const auto info = server_info_of(message.outcome);
  const auto instructions = jsonrpc::member(message.outcome, "instructions");
  capabilities_ = capabilities.starts_with('{') ? capabilities : "{}";
  ServerHello server;
  server.revision = newest_revision;
  server_.answer(
      client_, id,
      fmt::format(R"({{"protocolVersion":"{}","capabilities":{},"serverInfo":{}{}{}}})",
                  revision_for(server, hello_->revision), capabilities_,
                  info.starts_with('{') ? std::string(info)
                                        : fmt::format(R"({{"name":{},"version":"0"}})", jsonrpc::quote(server_.name())),
                  instructions.empty() ? "" : R"(,"instructions":)", instructions));
}

void LegacyBridge::finish(const Call& call, const jsonrpc::Envelope& message) {
  const auto line =
      message.kind == jsonrpc::Kind::error
          ? fmt::format(R"({{"jsonrpc":"2.0","id":{},"error":{}}})", call.id, message.outcome)
          : jsonrpc::result_response(call.id,
                                     jsonrpc::without_members(message.outcome, {"resultType", "ttlMs", "cacheScope"}));
  server_.pass_answer(client_, call.id, jsonrpc::scan(line), line);
}

/** Each input that is required is a question to the client. */
void LegacyBridge::ask_client(std::uint64_t number, const jsonrpc::Envelope& message) {
  auto& call = calls_.at(number);
  const auto refuse = [&](const std::string& why) {
    server_.fail(client_, call.id, jsonrpc::internal_error, why);
    calls_.erase(number);
  };
  if (call.params.empty() || ++call.rounds > max_rounds) {
    return refuse(fmt::format("server {} requires input once more than it may", server_.name()));
  }
  call.state = jsonrpc::member(message.outcome, "requestState");
  call.answers.clear();
  std::vector<std::pair<std::string, std::string>> asked;  // the key, and the request without its end
  std::string unable;
  jsonrpc::each_member_of(jsonrpc::member(message.outcome, "inputRequests"),
                          [&](std::string_view key, std::string_view question) {
                            const auto method = jsonrpc::unescape(jsonrpc::member(question, "method"));
                            const auto params = jsonrpc::member(question, "params");
                            if (method.empty() || !may_be_asked(*hello_, method, params)) {
                              unable = method;
                            }
                            asked.emplace_back(std::string(key), fmt::format("{}\n{}", method, params));
                          });
  if (!unable.empty() || asked.size() > limits::questions_open - std::min(questions_.size(), limits::questions_open)) {
    return refuse(fmt::format("server {} requires input that this client cannot give: {}", server_.name(),
                              text::printable(unable, 64)));
  }
  call.unanswered = asked.size();
  for (auto& [key, question] : asked) {
    const auto end = question.find('\n');
    const auto own = next_number_++;
    questions_.emplace(own, Question{number, std::move(key)});
    const auto line = jsonrpc::request(fmt::format_int(own).c_str(), std::string_view(question).substr(0, end),
                                       std::string_view(question).substr(end + 1));
    const std::array parts{std::string_view(line)};
    server_.ask(client_, parts);
  }
  if (call.unanswered == 0) {
    repeat(number);
  }
}

void LegacyBridge::on_client_answer(const jsonrpc::Envelope& message) {
  const auto node = questions_.extract(text::to_number<std::uint64_t>(message.id).value_or(0));
  const auto found = node ? calls_.find(node.mapped().call) : calls_.end();
  if (found == calls_.end()) {
    return;
  }
  auto& [number, call] = *found;
  if (message.kind == jsonrpc::Kind::error) {
    std::erase_if(questions_, [&](const auto& entry) { return entry.second.call == found->first; });
    const auto lost = std::move(call);
    calls_.erase(found);
    return server_.fail(client_, lost.id, jsonrpc::internal_error,
                        "the client did not give the input that the server requires: " +
                            jsonrpc::unescape(jsonrpc::member(message.outcome, "message")));
  }
  call.answers[node.mapped().key] = message.outcome;
  if (--call.unanswered == 0) {
    repeat(number);
  }
}

/** The call once more, with the answers; for the server it is a new one. */
void LegacyBridge::repeat(std::uint64_t number) {
  auto node = calls_.extract(number);
  auto& call = node.mapped();
  std::string answers;
  for (const auto& [key, answer] : call.answers) {
    answers += fmt::format("{}{}:{}", answers.empty() ? "" : ",", jsonrpc::quote(key), answer);
  }
  auto params = jsonrpc::without_members(call.params, {"inputResponses", "requestState"});
  params = jsonrpc::with_member(params, "inputResponses", "{" + answers + "}");
  if (!call.state.empty()) {
    params = jsonrpc::with_member(params, "requestState", call.state);
  }
  node.key() = next_number_++;
  const auto own = node.key();
  send_call(call, own, params);
  calls_.insert(std::move(node));
}

void LegacyBridge::notify(Parts parts) {
  const auto line = joined(parts);
  const auto message = jsonrpc::scan(line);
  if (!message.meta_subscription_id.empty()) {
    return on_stream(message);
  }
  if (message.method() == "notifications/cancelled") {
    return on_listen_over(text::to_number<std::uint64_t>(message.request_id).value_or(0));
  }
  if (message.method() == "notifications/progress") {
    const auto call = calls_.find(text::to_number<std::uint64_t>(message.progress_token).value_or(0));
    if (call != calls_.end() && !call->second.token.empty()) {
      jsonrpc::Splice splice(line);
      splice.replace(message.progress_token, call->second.token);
      server_.notify(client_, splice.parts());
    }
    return;
  }
  if (ready_) {
    server_.notify(client_, parts);
  }
}

void LegacyBridge::on_stream(const jsonrpc::Envelope& message) {
  const auto found = listens_.find(text::to_number<std::uint64_t>(message.meta_subscription_id).value_or(0));
  if (found == listens_.end()) {
    return;
  }
  if (message.method() != "notifications/subscriptions/acknowledged") {
    const auto line = jsonrpc::notification(message.method(), jsonrpc::without_members(message.params, {"_meta"}));
    const std::array parts{std::string_view(line)};
    return server_.notify(client_, parts);
  }
  auto& [number, listen] = *found;
  if (listen.id.empty()) {
    return;
  }
  const auto uris = jsonrpc::member(jsonrpc::member(message.params, "notifications"), "resourceSubscriptions");
  const auto id = std::exchange(listen.id, {});
  if (jsonrpc::any_element(uris, [](std::string_view) { return true; })) {
    return server_.answer(client_, id, "{}");
  }
  stop_listening(number);
  server_.fail(client_, id, jsonrpc::invalid_params,
               fmt::format("server {} tells nothing of changes of this resource", server_.name()));
}

/** The server has ended a stream, or is gone: it is opened once more, in a while. */
void LegacyBridge::on_listen_over(std::uint64_t number) {
  const auto node = listens_.extract(number);
  if (!node) {
    return;
  }
  if (!node.mapped().id.empty()) {
    return server_.fail(client_, node.mapped().id, jsonrpc::internal_error,
                        fmt::format("server {} does not take the subscription", server_.name()));
  }
  lost_.insert(node.mapped().uri);
  if (!again_.armed()) {
    again_.arm(limits::listen_again);
  }
}

void LegacyBridge::end(const std::string& reason) {
  client_.end(reason);
}

}  // namespace hal::hub
