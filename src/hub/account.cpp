#include "hub/account.hpp"

#include "hub/hub_limits.hpp"
#include "jsonrpc/places.hpp"
#include "policy/tools.hpp"

#include <algorithm>
#include <utility>

namespace hal::hub {

Account::Account(std::string server, const Client& client, std::shared_ptr<const Access> access)
    : server_(std::move(server)),
      client_(client),
      access_(std::move(access)),
      subject_(std::make_shared<const AuditSubject>(
          AuditSubject{access_->worker.value, access_->owner, server_, client_.session()})) {}

bool Account::open(const jsonrpc::Envelope& message, Clock::time_point now, link::Audit audit) {
  const auto [place, fresh] = open_.try_emplace(jsonrpc::id_key(message.id));
  if (!fresh) {
    return false;
  }
  auto& request = place->second;
  request.since = now;
  const auto method = message.method();
  request.lists_tools = method == "tools/list" || cancelled_lists_.contains(place->first) ||
                        cancelled_lists_.size() >= limits::requests_in_flight;
  if (method == "tools/call") {
    ++traffic.calls;
    if (audit != link::Audit::off) {
      request.entry = std::make_unique<AuditEntry>(
          AuditEntry{subject_, jsonrpc::unescape(message.name), audit_arguments(audit, message.arguments)});
    }
  }
  return true;
}

Account::Closed Account::closed(Open open, Clock::time_point now, std::string_view outcome) {
  Closed result{open.lists_tools, now - open.since, std::nullopt};
  if (open.entry) {
    result.entry = std::move(*open.entry);
    result.entry->outcome = outcome;
    result.entry->duration = std::chrono::duration_cast<std::chrono::microseconds>(result.time);
  }
  return result;
}

std::optional<Account::Closed> Account::close(std::string_view id, Clock::time_point now, std::string_view outcome) {
  auto node = open_.extract(jsonrpc::id_key(id));
  if (!node) {
    return std::nullopt;
  }
  if (node.mapped().lists_tools && outcome == "cancelled" && cancelled_lists_.size() < limits::requests_in_flight) {
    cancelled_lists_.insert(node.key());
  }
  return closed(std::move(node.mapped()), now, outcome);
}

std::vector<Account::Closed> Account::close_all(Clock::time_point now, std::string_view outcome) {
  std::vector<Closed> all;
  for (auto& [id, open] : std::exchange(open_, {})) {
    all.push_back(closed(std::move(open), now, outcome));
  }
  return all;
}

std::vector<const policy::ToolRules*> Account::rules(const policy::ToolRules& of_server) const {
  std::vector<const policy::ToolRules*> all;
  if (!of_server.empty()) {
    all.push_back(&of_server);
  }
  for (const auto& entry : access_->tools) {
    if (policy::glob_matches(entry.server, server_)) {
      all.push_back(&entry.rules);
    }
  }
  return all;
}

std::optional<std::string> Account::refusal(const policy::ToolRules& of_server, const jsonrpc::Envelope& call) const {
  for (const auto* one : rules(of_server)) {
    if (auto why = policy::refusal(*one, jsonrpc::unescape(call.name), call.arguments)) {
      return why;
    }
  }
  return std::nullopt;
}

std::optional<std::string> Account::filtered(const policy::ToolRules& of_server, std::string_view result) const {
  const auto all = rules(of_server);
  if (all.empty()) {
    return std::nullopt;
  }
  return jsonrpc::without_named(result, "tools", [&all](std::string_view tool) {
    return std::any_of(all.begin(), all.end(),
                       [tool](const policy::ToolRules* one) { return !policy::may_be_listed(*one, tool); });
  });
}

link::SessionReport Account::report() const {
  return {client_.session().substr(0, told_session_digits), access_->worker.value, access_->owner, traffic};
}

}  // namespace hal::hub
