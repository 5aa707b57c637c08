// Lists at the aggregated endpoint: asked of all servers at once, answered as one.
#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "hub/aggregate_server.hpp"
#include "hub/aggregate_session.hpp"
#include "hub/hub_limits.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace hal::hub {

namespace {

using State = AggregateMember::State;

bool has(const AggregateMember& member, List list) {
  return member.hello().has.at(static_cast<std::size_t>(list));
}

}  // namespace

void AggregateSession::on_list(const Envelope& message, List list) {
  std::string cursor;
  (void)jsonrpc::any_at(message.params, "/cursor", [&cursor](std::string_view raw) {
    cursor = jsonrpc::unescape(raw);
    return false;
  });
  auto places = cursor.empty() ? std::optional(everywhere()) : cursors_.find(list, cursor);
  if (!places) {
    return server_.fail(client_, message.id, jsonrpc::invalid_params, "params.cursor: is none of this session's");
  }
  start_list(list, std::string(message.id), std::move(*places));
}

ListPlaces AggregateSession::everywhere() const {
  ListPlaces places;
  for (const auto& [name, member] : members_) {
    places.emplace(name, "");
  }
  return places;
}

void AggregateSession::start_list(List list, std::string id, ListPlaces places) {
  const auto number = next_list_++;
  lists_.try_emplace(number, list, std::move(id), std::move(places), now() + server_.deadlines().list);
  for (const auto& [name, member] : members_) {
    member->begin();
    if (const auto found = lists_.find(number); found != lists_.end() && member->state() == State::up) {
      ask_page(number, found->second, *member);
    }
  }
  arm_deadline();
  schedule();
}

void AggregateSession::ask_page(std::uint64_t number, MergedList& list, AggregateMember& member) {
  const auto& name = member.name();
  if (!list.wants(name)) {
    return;
  }
  if (!has(member, list.list())) {
    return list.leave_out(name);
  }
  list.asked(name);
  const auto id = own_id();
  own_requests_[id] = {number, &member};
  member.send(jsonrpc::request(id, spec_of(list.list()).method, list.params(name)));
}

/** The member is up: what waited for it can be asked. */
void AggregateSession::ask_waiting(AggregateMember& member) {
  for (auto& [number, list] : lists_) {
    ask_page(number, list, member);
  }
  schedule();
}

void AggregateSession::on_own_answer(AggregateMember& member, const Envelope& message) {
  const auto node = own_requests_.extract(std::string(message.id));
  const auto found = node ? lists_.find(node.mapped().list) : lists_.end();
  if (found == lists_.end()) {
    return;  // of a log level, or of a list that waits no more
  }
  auto& list = found->second;
  const auto& spec = spec_of(list.list());
  if (message.kind == jsonrpc::Kind::error) {
    log::warning({{names::field_server, member.name()}, {names::field_session, client_.session()}},
                 "server {} is left out of {}: {}", member.name(), spec.method, error_message(message.outcome));
    list.leave_out(member.name());
    return schedule();
  }
  const auto page = read_member_page(message.outcome, spec.key, spec.id, spec.prefixed, member.name(),
                                     [this](std::string_view name) { return is_server(name); });
  index(list.list(), page, member.name());
  if (!list.add(member.name(), page)) {
    log::warning({{names::field_server, member.name()}, {names::field_session, client_.session()}},
                 "server {} is left out of {}: its list is too large", member.name(), spec.method);
  }
  ask_page(found->first, list, member);
  schedule();
}

void AggregateSession::index(List list, const MemberPage& page, const std::string& server) {
  for (const auto& name : page.names) {
    if (list == List::resources) {
      resources_.add(jsonrpc::unescape(name), server);
    } else if (list == List::templates) {
      resources_.add_template(jsonrpc::unescape(name), server);
    }
  }
}

/** It is not there: lists go without it, and the client hears when it comes. */
void AggregateSession::leave_out(AggregateMember& member, const std::string& why) {
  bool was_waited_for = false;
  for (auto& [number, list] : lists_) {
    if (list.wants(member.name())) {
      was_waited_for = true;
      list.leave_out(member.name());
    }
  }
  if (was_waited_for) {
    log::warning({{names::field_server, member.name()}, {names::field_session, client_.session()}},
                 "server {} is left out of lists: {}", member.name(), text::printable(why));
    member.missed = true;
    schedule();
  }
}

/** Answers those lists nothing is missing of. From the loop. */
void AggregateSession::finish_lists() {
  for (auto entry = lists_.begin(); entry != lists_.end();) {
    auto& list = entry->second;
    if (!list.complete()) {
      ++entry;
      continue;
    }
    resources_read_ = resources_read_ || (list.list() == List::resources && list.from_start());
    templates_read_ = templates_read_ || (list.list() == List::templates && list.from_start());
    if (!list.id().empty()) {
      auto rest = list.rest();
      const auto cursor = rest.empty() ? std::string() : cursors_.add(list.list(), std::move(rest));
      server_.answer(client_, list.id(), list.take_result(cursor));
    }
    std::erase_if(own_requests_, [&](const auto& request) { return request.second.list == entry->first; });
    entry = lists_.erase(entry);
  }
  const bool is_indexing =
      std::any_of(lists_.begin(), lists_.end(), [](const auto& entry) { return entry.second.id().empty(); });
  if (!unindexed_.empty() && !is_indexing) {
    replay_unindexed();
  }
}

}  // namespace hal::hub
