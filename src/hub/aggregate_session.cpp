#include "hub/aggregate_session.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "hub/aggregate_server.hpp"
#include "hub/hub_limits.hpp"
#include "json/json.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::hub {

namespace {

using State = AggregateMember::State;

constexpr std::size_t own_id_digits = 32;

}  // namespace

int error_code(std::string_view outcome) {
  const auto error = json::parse(outcome);
  const auto code = error ? json::integer_at(*error, "code").value_or(0) : 0;
  return code < 0 && code >= -32999 ? static_cast<int>(code) : jsonrpc::internal_error;
}

std::string error_message(std::string_view outcome) {
  const auto error = json::parse(outcome);
  return text::printable(error ? json::string_at(*error, "message").value_or("no message") : "no message");
}

AggregateSession::AggregateSession(AggregateServer& server, event::Loop& loop, Client& client, WorkerId worker)
    : server_(server),
      loop_(loop),
      client_(client),
      worker_(std::move(worker)),
      own_prefix_(fmt::format("\"hal9000-{}-", text::random_hex(own_id_digits))),
      work_(loop, "servers of session " + client.session(), [this] { work(); }),
      deadline_(loop, "deadlines of session " + client.session(), [this] { on_deadline(); }) {}

AggregateSession::~AggregateSession() {
  for (const auto& [name, member] : members_) {
    member->leave();  // while all of us is there
  }
}

std::chrono::milliseconds AggregateSession::joining_deadline() const {
  return server_.deadlines().instance + server_.deadlines().handshake;
}

ClientId AggregateSession::new_client() {
  return server_.directory().new_client();
}

Result<Server*> AggregateSession::join(AggregateMember& member) {
  return server_.directory().join(member, worker_, member.name());
}

std::string AggregateSession::own_id() {
  return fmt::format("{}{}\"", own_prefix_, next_own_++);
}

AggregateMember* AggregateSession::find(std::string_view name) {
  const auto found = members_.find(name);
  return found != members_.end() ? found->second.get() : nullptr;
}

bool AggregateSession::is_server(std::string_view name) const {
  return members_.find(name) != members_.end();
}

/** The client is read from again when no server has too much of it. */
void AggregateSession::hold(bool held) {
  holds_ += held ? 1U : 0U;
  holds_ -= held ? 0U : 1U;
  if (held ? holds_ == 1 : holds_ == 0) {
    client_.hold(held);
  }
}

void AggregateSession::client_drained() {
  for (const auto& [name, member] : members_) {
    member->client_drained();
  }
}

void AggregateSession::work() {
  for (const auto& [name, member] : members_) {
    member->work();
  }
  for (const auto& key : std::exchange(searching_, {})) {
    search_on(key);
  }
  finish_lists();
  if (std::exchange(changed_, false)) {
    announce_changes();
  }
}

// Members.

void AggregateSession::set_servers(const std::vector<std::string>& names) {
  for (const auto& name : names) {
    if (!is_server(name)) {
      members_.emplace(name, std::make_unique<AggregateMember>(*this, name));
      changed_ = changed_ || ready_;
      forget_index();
    }
  }
  for (auto entry = members_.begin(); entry != members_.end();) {
    auto& member = *entry->second;
    if (std::find(names.begin(), names.end(), entry->first) != names.end()) {
      ++entry;
      continue;
    }
    member.leave();
    forget(member);
    fail_calls_of(member, jsonrpc::code_of(Errc::unavailable),
                  fmt::format("server {} may not be used any more", member.name()));
    std::erase_if(subscriptions_, [&](const auto& subscription) { return subscription.second == member.name(); });
    changed_ = true;
    entry = members_.erase(entry);
  }
  if (changed_) {
    schedule();
  }
}

void AggregateSession::detach(const Server& server, const std::string& reason) {
  for (const auto& [name, member] : members_) {
    if (member->server() == &server) {
      member->detach();
      on_member_lost(*member, reason);
      changed_ = true;
      schedule();
    }
  }
}

/** What was there of it is gone: questions, what its lists told, and what they were to tell. */
void AggregateSession::forget(AggregateMember& member) {
  for (auto& [number, list] : lists_) {
    list.leave_out(member.name());
  }
  withdraw_questions(member);
  resources_.remove(member.name());
  std::erase_if(tokens_, [&](const auto& token) { return token.second.member == &member; });
  std::erase_if(own_requests_, [&](const auto& request) { return request.second.member == &member; });
}

void AggregateSession::on_member_up(AggregateMember& member) {
  server_.learn(member.name(), member.hello().instructions);
  send_level(member);
  for (const auto& [uri, name] : subscriptions_) {
    if (name == member.name()) {
      member.send(
          jsonrpc::request(own_id(), "resources/subscribe", fmt::format(R"({{"uri":{}}})", jsonrpc::quote(uri))));
    }
  }
  if (std::exchange(member.missed, false)) {
    forget_index();
    changed_ = true;
  }
  ask_waiting(member);
  arm_deadline();
}

void AggregateSession::on_member_failed(AggregateMember& member, int code, const std::string& reason) {
  for (const auto& line : member.take_held()) {
    if (const auto message = jsonrpc::scan(line); message.kind == jsonrpc::Kind::request) {
      fail_call(jsonrpc::id_key(message.id), code, reason);
    }
  }
  leave_out(member, reason);
  if (member.missed) {
    member.retry_after = std::clamp(member.retry_after * 2, limits::first_retry, limits::last_retry);
    member.retry_at = now() + member.retry_after;
  }
  arm_deadline();
}

void AggregateSession::on_member_lost(AggregateMember& member, const std::string& reason) {
  forget(member);
  member.missed = true;
  log::info({{names::field_server, member.name()}, {names::field_session, client_.session()}},
            "server {} has left the session: {}", member.name(), text::printable(reason));
  schedule();
}

void AggregateSession::refuse_held(AggregateMember& member, std::string_view line) {
  if (const auto message = jsonrpc::scan(line); message.kind == jsonrpc::Kind::request) {
    fail_call(jsonrpc::id_key(message.id), jsonrpc::code_of(Errc::limit),
              fmt::format("too much waits for server {} to start", member.name()));
  }
}

/** Its server cannot be asked: another one may have what is searched for. */
void AggregateSession::fail_call(const std::string& key, int code, const std::string& reason) {
  const auto found = calls_.find(key);
  if (found == calls_.end()) {
    return;
  }
  auto& call = found->second;
  if (call.search != nullptr && (!call.search->rest.empty() || !call.search->first_error.empty())) {
    return search_later(call, key, jsonrpc::error_response(call.id, code, reason));
  }
  const auto node = calls_.extract(found);
  forget_token(node.mapped(), false);
  server_.fail(client_, node.mapped().id, code, reason);
}

void AggregateSession::fail_calls_of(const AggregateMember& member, int code, const std::string& reason) {
  std::vector<std::string> keys;
  for (const auto& [key, call] : calls_) {
    if (call.member == &member) {
      keys.push_back(key);
    }
  }
  for (const auto& key : keys) {
    fail_call(key, code, reason);
  }
}

/** The client may read its lists again. */
void AggregateSession::announce_changes() {
  if (!ready_) {
    return;
  }
  for (const auto* method : {"notifications/tools/list_changed", "notifications/prompts/list_changed",
                             "notifications/resources/list_changed"}) {
    const auto line = jsonrpc::notification(method, "");
    const std::array parts{std::string_view(line)};
    server_.notify(client_, parts);
  }
}

// Deadlines.

void AggregateSession::arm_deadline() {
  std::optional<Clock::time_point> next;
  const auto consider = [&next](const std::optional<Clock::time_point>& at) {
    if (at && (!next || *at < *next)) {
      next = at;
    }
  };
  for (const auto& [number, list] : lists_) {
    consider(list.deadline());
  }
  for (const auto& [name, member] : members_) {
    consider(member->deadline);
    consider(member->retry_at);
  }
  if (next) {
    deadline_.arm(
        std::chrono::duration_cast<std::chrono::microseconds>(std::max(*next - now(), Clock::duration::zero())));
  } else {
    deadline_.disarm();
  }
}

void AggregateSession::on_deadline() {
  for (auto& [number, list] : lists_) {
    if (list.deadline() > now()) {
      continue;
    }
    for (const auto& name : list.missing()) {
      log::warning({{names::field_server, name}, {names::field_session, client_.session()}},
                   "server {} is left out of {}: it did not answer in time", name, spec_of(list.list()).method);
      if (auto* member = find(name); member != nullptr && member->state() != State::up) {
        member->missed = true;
      }
    }
    list.wait_no_more();
  }
  for (const auto& [name, member] : members_) {
    if (member->deadline && *member->deadline <= now()) {
      member->leave();
      on_member_failed(*member, jsonrpc::request_timeout,
                       fmt::format("server {} did not answer initialize in time", name));
    }
    if (member->retry_at && *member->retry_at <= now()) {
      member->retry_at.reset();
      member->begin();
    }
  }
  finish_lists();
  arm_deadline();
}

// The end.

void AggregateSession::shut_down(const std::string& reason) {
  // The servers have answered what they had; the rest is at none.
  unindexed_.clear();
  for (const auto& [name, member] : members_) {
    (void)member->take_held();
  }
  for (auto& [key, call] : std::exchange(calls_, {})) {
    server_.fail(client_, call.id, jsonrpc::code_of(Errc::unavailable), reason);
  }
  for (auto& [number, list] : std::exchange(lists_, {})) {
    if (!list.id().empty()) {
      server_.fail(client_, list.id(), jsonrpc::code_of(Errc::unavailable), reason);
    }
  }
  client_.end(reason);
}

}  // namespace hal::hub
