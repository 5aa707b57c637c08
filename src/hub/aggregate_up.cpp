// From the client, at the aggregated endpoint.
#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "hub/aggregate_server.hpp"
#include "hub/aggregate_session.hpp"
#include "hub/handshake.hpp"
#include "hub/hub_limits.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"
#include "jsonrpc/splice.hpp"

#include <utility>

#include <fmt/format.h>

namespace hal::hub {

namespace {

enum class Route { initialize, ping, named, reference, resource, task, list, set_level, unknown };

struct Row {
  std::string_view method;
  Route route;
  List list = List::tools;
};

constexpr Row rows[] = {
    {"tools/call", Route::named},
    {"prompts/get", Route::named},
    {"resources/read", Route::resource},
    {"resources/subscribe", Route::resource},
    {"resources/unsubscribe", Route::resource},
    {"completion/complete", Route::reference},
    {"tools/list", Route::list, List::tools},
    {"prompts/list", Route::list, List::prompts},
    {"resources/list", Route::list, List::resources},
    {"resources/templates/list", Route::list, List::templates},
    {"tasks/list", Route::list, List::tasks},
    {"tasks/get", Route::task},
    {"tasks/result", Route::task},
    {"tasks/cancel", Route::task},
    // Said to all servers, and to those that come later.
    {"logging/setLevel", Route::set_level},
    {"ping", Route::ping},
    {"initialize", Route::initialize},
};

const Row& row_of(std::string_view method) {
  // Which server should answer it nothing tells.
  static constexpr Row unknown{"", Route::unknown};
  for (const auto& row : rows) {
    if (row.method == method) {
      return row;
    }
  }
  return unknown;
}

/** The raw value at the pointer, of several the last one, as JSON parsers take it; empty if there is none. */
std::string_view raw_at(std::string_view json, std::string_view pointer) {
  std::string_view found;
  (void)jsonrpc::any_at(json, pointer, [&found](std::string_view raw) {
    found = raw;
    return false;
  });
  return found;
}

std::string replaced(std::string_view line, std::string_view member, std::string_view replacement) {
  jsonrpc::Splice splice(line);
  splice.replace(member, replacement);
  std::string out;
  out.reserve(line.size() + replacement.size());
  for (const auto part : splice.parts()) {
    out += part;
  }
  return out;
}

}  // namespace

void AggregateSession::from_client(const Envelope& message, std::string_view line) {
  if (message.kind == jsonrpc::Kind::request) {
    on_request(message, line);
  } else if (message.kind == jsonrpc::Kind::notification) {
    on_notification(message, line);
  } else {
    on_response(message, line);
  }
}

void AggregateSession::on_request(const Envelope& message, std::string_view line) {
  const auto& row = row_of(message.method());
  if (row.route == Route::ping) {
    return server_.answer(client_, message.id, "{}");
  }
  if (row.route == Route::initialize) {
    return on_initialize(message);
  }
  if (initialize_params_.empty()) {
    return server_.fail(client_, message.id, jsonrpc::invalid_request, "initialize first");
  }
  if (calls_.size() + lists_.size() >= limits::requests_in_flight) {
    return server_.fail(client_, message.id, jsonrpc::code_of(Errc::limit), "too many requests in flight");
  }
  switch (row.route) {
    case Route::named:
      return on_named(message, line);
    case Route::reference:
      return on_reference(message, line);
    case Route::resource:
      return on_resource(message, line, jsonrpc::unescape(message.uri));
    case Route::task:
      return on_task(message, line);
    case Route::list:
      return on_list(message, row.list);
    case Route::set_level:
      return on_set_level(message);
    default:
      return server_.fail(client_, message.id, jsonrpc::method_not_found,
                          fmt::format("{} is not known to all servers together; ask one at its own address",
                                      text::printable(message.method(), 64)));
  }
}

void AggregateSession::on_initialize(const Envelope& message) {
  if (!initialize_params_.empty()) {
    return server_.fail(client_, message.id, jsonrpc::invalid_request, "the session is initialized already");
  }
  const auto hello = read_client_hello(message.params);
  if (!hello) {
    return server_.fail(client_, message.id, jsonrpc::invalid_params, hello.error().message);
  }
  initialize_params_ = message.params;
  revision_ = aggregate_revision(hello->revision);
  std::vector<std::string> names;
  for (const auto& [name, member] : members_) {
    names.push_back(name);
  }
  server_.answer(client_, message.id, aggregate_hello(revision_, server_.instructions(names)));
}

AggregateSession::Call& AggregateSession::open_call(AggregateMember& member, const Envelope& message, Answer answer) {
  auto& call = calls_[jsonrpc::id_key(message.id)];
  call.id = message.id;
  call.member = &member;
  call.answer = answer;
  if (!message.meta_progress_token.empty()) {
    call.token = jsonrpc::id_key(message.meta_progress_token);
    tokens_[call.token] = {&member, false};
  }
  return call;
}

/** `raw` of the line is replaced by what the server knows it by. */
void AggregateSession::forward(AggregateMember& member, const Envelope& message, std::string_view raw,
                               std::string_view replacement, std::string_view line, Answer answer) {
  (void)open_call(member, message, answer);
  member.send(replaced(line, raw, replacement));
}

void AggregateSession::on_named(const Envelope& message, std::string_view line) {
  const auto target = split_name(message.name, [this](std::string_view name) { return is_server(name); });
  if (!target) {
    return server_.fail(client_, message.id, jsonrpc::invalid_params,
                        fmt::format("Unknown {}: {}", message.method() == "tools/call" ? "tool" : "prompt",
                                    message.name.empty() ? "params.name is missing"
                                                         : text::printable(jsonrpc::unescape(message.name), 128)));
  }
  forward(*find(target->server), message, message.name, target->raw, line,
          message.task.empty() ? Answer::pass : Answer::created_task);
}

/** completion/complete: for an argument of a prompt or of a resource template. */
void AggregateSession::on_reference(const Envelope& message, std::string_view line) {
  const auto raw_name = raw_at(message.params, "/ref/name");
  if (raw_name.empty()) {
    return on_resource(message, line, jsonrpc::unescape(raw_at(message.params, "/ref/uri")));
  }
  const auto target = split_name(raw_name, [this](std::string_view name) { return is_server(name); });
  if (!target) {
    return server_.fail(client_, message.id, jsonrpc::invalid_params,
                        fmt::format("Unknown prompt: {}", text::printable(jsonrpc::unescape(raw_name), 128)));
  }
  forward(*find(target->server), message, raw_name, target->raw, line, Answer::pass);
}

void AggregateSession::on_task(const Envelope& message, std::string_view line) {
  const auto target = split_name(message.task_id, [this](std::string_view name) { return is_server(name); });
  if (!target) {
    return server_.fail(client_, message.id, jsonrpc::invalid_params, "there is no such task");
  }
  forward(*find(target->server), message, message.task_id, target->raw, line,
          message.method() == "tasks/result" ? Answer::task_result : Answer::task);
}

void AggregateSession::on_set_level(const Envelope& message) {
  if (const auto level = read_log_level(message.params); !level) {
    return server_.fail(client_, message.id, jsonrpc::invalid_params, level.error().message);
  }
  log_level_ = message.params;
  server_.answer(client_, message.id, "{}");
  for (const auto& [name, member] : members_) {
    send_level(*member);
  }
}

void AggregateSession::send_level(AggregateMember& member) {
  if (log_level_ && member.state() == AggregateMember::State::up && member.hello().logging) {
    member.send(jsonrpc::request(own_id(), "logging/setLevel", *log_level_));
  }
}

void AggregateSession::on_notification(const Envelope& message, std::string_view line) {
  const auto method = message.method();
  if (method == "notifications/initialized") {
    ready_ = !initialize_params_.empty();
  } else if (method == "notifications/cancelled") {
    on_cancelled(message, line);
  } else if (method == "notifications/progress") {
    on_progress(message, line);
  } else if (ready_) {
    to_all(line);
  }
}

/** Roots have changed, or something that we do not know: who has joined hears it. */
void AggregateSession::to_all(std::string_view line) {
  for (const auto& [name, member] : members_) {
    if (member->state() == AggregateMember::State::up) {
      member->send(std::string(line));
    }
  }
}

void AggregateSession::on_cancelled(const Envelope& message, std::string_view line) {
  const auto key = jsonrpc::id_key(message.request_id);
  std::erase_if(unindexed_, [&](const auto& waiting) { return waiting.first == key; });
  std::erase_if(lists_, [&](const auto& entry) {
    return !entry.second.id().empty() && jsonrpc::id_key(entry.second.id()) == key;
  });
  auto node = calls_.extract(key);
  if (!node) {
    return;
  }
  forget_token(node.mapped(), false);
  if (auto* member = node.mapped().member; member != nullptr) {
    member->send(std::string(line));
  }
}

/** On a question that a server has asked with a token. */
void AggregateSession::on_progress(const Envelope& message, std::string_view line) {
  const auto number = text::to_number<std::uint64_t>(message.progress_token);
  const auto found = number ? asked_.find(*number) : asked_.end();
  if (found != asked_.end() && !found->second.token.empty()) {
    found->second.member->send(replaced(line, message.progress_token, found->second.token));
  }
}

/** To a question of a server's. */
void AggregateSession::on_response(const Envelope& message, std::string_view line) {
  const auto number = text::to_number<std::uint64_t>(message.id);
  const auto found = number ? asked_.find(*number) : asked_.end();
  if (found == asked_.end()) {
    log::debug({{names::field_session, client_.session()}}, "a response to nothing asked");
    return;
  }
  const auto asked = std::move(found->second);
  asked_.erase(found);
  jsonrpc::Splice splice(line);
  splice.replace(message.id, asked.id);
  const auto raw_task = raw_at(message.outcome, "/_meta/io.modelcontextprotocol~1related-task/taskId");
  const auto target = split_name(raw_task, [&](std::string_view name) { return name == asked.member->name(); });
  if (target) {
    splice.replace(raw_task, target->raw);
  }
  std::string answer;
  for (const auto part : splice.parts()) {
    answer += part;
  }
  asked.member->send(std::move(answer));
}

}  // namespace hal::hub
