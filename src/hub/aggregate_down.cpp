// From the servers to the client, at the aggregated endpoint. Called from inside of a server: nothing here calls one.
#include "hub/aggregate_server.hpp"
#include "hub/aggregate_session.hpp"
#include "hub/hub_limits.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"
#include "jsonrpc/splice.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace hal::hub {

namespace {

/** Names of one server are told from those of others by its name before them. */
std::string with_name(const AggregateMember& member, std::string_view raw) {
  return with_server(raw, {raw}, member.name());
}

/** The taskId of a related task; empty without one. */
std::string_view related_task_id(const jsonrpc::Envelope& message) {
  std::string_view found;
  (void)jsonrpc::any_at(message.meta_related_task, "/taskId", [&found](std::string_view raw) {
    found = raw;
    return false;
  });
  return found;
}

}  // namespace

void AggregateSession::on_answer(AggregateMember& member, std::string_view id, Parts message) {
  auto key = jsonrpc::id_key(id);
  const auto found = calls_.find(key);
  if (found == calls_.end() || found->second.member != &member) {
    return;  // the client has given it up
  }
  if (found->second.answer == Answer::pass) {
    return pass(key, id, message, false);
  }
  answer_found(key, id, message);
}

void AggregateSession::pass(const std::string& key, std::string_view id, Parts message, bool task_goes_on) {
  const auto node = calls_.extract(key);
  forget_token(node.mapped(), task_goes_on);
  server_.respond(client_, id, message, jsonrpc::Kind::result, "ok");
}

/** An answer that is looked into on its way: it names a task, or belongs to a search. */
void AggregateSession::answer_found(const std::string& key, std::string_view id, Parts parts) {
  auto& call = calls_.at(key);
  std::string line;
  for (const auto part : parts) {
    line += part;
  }
  const auto message = jsonrpc::scan(line);
  const bool is_result = message.kind == jsonrpc::Kind::result;
  if (call.answer == Answer::search) {
    if (is_result) {
      on_found(call);
    } else if (!call.search->rest.empty() || !call.search->first_error.empty()) {
      return search_later(call, key, std::move(line));
    }
    return pass(key, id, parts, false);
  }
  if (!is_result) {
    return pass(key, id, parts, false);
  }
  const std::string_view pointer = call.answer == Answer::created_task ? "/task/taskId"
                                   : call.answer == Answer::task
                                       ? "/taskId"
                                       : "/_meta/io.modelcontextprotocol~1related-task/taskId";
  const auto outcome = with_server_at(message.outcome, pointer, call.member->name());
  const bool makes_task = call.answer == Answer::created_task && outcome.size() != message.outcome.size();
  jsonrpc::Splice splice(line);
  splice.replace(message.outcome, outcome);
  pass(key, id, splice.parts(), makes_task);
}

/** The progress of a task goes on after the request that made it was answered. */
void AggregateSession::forget_token(const Call& call, bool task_goes_on) {
  const auto found = call.token.empty() ? tokens_.end() : tokens_.find(call.token);
  if (found == tokens_.end() || found->second.member != call.member) {
    return;
  }
  if (!task_goes_on) {
    tokens_.erase(found);
    return;
  }
  found->second.task = true;
  task_tokens_.push_back(call.token);
  if (task_tokens_.size() > limits::tasks_per_session) {
    if (const auto oldest = tokens_.find(task_tokens_.front()); oldest != tokens_.end() && oldest->second.task) {
      tokens_.erase(oldest);
    }
    task_tokens_.pop_front();
  }
}

/** Each server counts its questions for itself, so the client is asked under a fresh number. */
void AggregateSession::on_question(AggregateMember& member, const Envelope& message, std::string_view line) {
  if (message.kind != jsonrpc::Kind::request) {
    return;
  }
  if (asked_.size() >= limits::questions_open) {
    return member.send_later(jsonrpc::error_response(
        message.id, jsonrpc::method_not_found, fmt::format("{} waits for too many answers already", message.method())));
  }
  const auto number = next_question_++;
  asked_[number] = {&member, std::string(message.id), std::string(message.meta_progress_token)};
  const fmt::format_int fresh(number);
  const std::string_view text(fresh.data(), fresh.size());
  const auto raw_task = related_task_id(message);
  const auto task = with_name(member, raw_task);
  jsonrpc::Splice splice(line);
  splice.replace(message.id, text);
  splice.replace(message.meta_progress_token, text);
  splice.replace(raw_task, task);
  server_.ask(client_, splice.parts());
}

void AggregateSession::on_notification_from(AggregateMember& member, const Envelope& message, std::string_view line) {
  const auto method = message.method();
  jsonrpc::Splice splice(line);
  if (method == "notifications/progress") {
    const auto token = tokens_.find(jsonrpc::id_key(message.progress_token));
    if (token == tokens_.end() || token->second.member != &member) {
      return;  // of what is over, or another server's
    }
  } else if (method == "notifications/cancelled") {
    const auto asked = std::find_if(asked_.begin(), asked_.end(), [&](const auto& entry) {
      return entry.second.member == &member && jsonrpc::id_key(entry.second.id) == jsonrpc::id_key(message.request_id);
    });
    if (asked == asked_.end()) {
      return;
    }
    const fmt::format_int fresh(asked->first);
    splice.replace(message.request_id, {fresh.data(), fresh.size()});
    asked_.erase(asked);
    return server_.notify(client_, splice.parts());
  } else if (method == "notifications/resources/list_changed") {
    resources_.remove(member.name());
    forget_index();
  }
  const auto raw_task = method == "notifications/tasks/status" ? message.task_id : related_task_id(message);
  const auto task = with_name(member, raw_task);
  splice.replace(raw_task, task);
  server_.notify(client_, splice.parts());
}

/** Nobody waits for the client's answers any more. */
void AggregateSession::withdraw_questions(const AggregateMember& member) {
  for (auto entry = asked_.begin(); entry != asked_.end();) {
    if (entry->second.member != &member) {
      ++entry;
      continue;
    }
    const auto line = jsonrpc::notification(
        "notifications/cancelled", fmt::format(R"({{"requestId":{},"reason":"the server is gone"}})", entry->first));
    entry = asked_.erase(entry);
    const std::array parts{std::string_view(line)};
    server_.notify(client_, parts);
  }
}

}  // namespace hal::hub
