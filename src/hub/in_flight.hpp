#pragma once

#include "hub/client.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hal::hub {

using Clock = std::chrono::steady_clock;

/** What a request at the server is for. */
enum class Purpose {
  /** A client's own, with id and token restored on the way back. */
  forward,
  /** The same, for the result of a task: it may take as long as the task. */
  await_task,
  /** The same, for a list of tasks, of which the client gets its own. */
  list_tasks,
  /** A client's stream of notifications (subscriptions/listen), open until either side ends it. */
  listen,
  /** A client's, whose success also counts in Subscriptions. */
  subscribe,
  unsubscribe,
  /** Ours; the client is unset. */
  initialize,
  /** Ours, and whatever the answer is, nobody waits for it. */
  upkeep,
};

/** Whether the server can be told that nobody waits for the answer. */
[[nodiscard]] constexpr bool is_cancellable(Purpose purpose) {
  return purpose == Purpose::forward || purpose == Purpose::await_task || purpose == Purpose::list_tasks ||
         purpose == Purpose::listen;
}

struct Request {
  Purpose purpose = Purpose::upkeep;
  ClientId client;
  /** As the client spelled them; the token is empty if it wants no progress. */
  std::string id;
  std::string progress_token;
  std::string uri;
  /** Of await_task. */
  std::string task_id;
  /** The answer is to name a new task. */
  bool makes_task = false;
  /** Log messages are wanted with it. */
  bool logs = false;
  /** Nobody waits any more; only what follows from the answer is to be done. */
  bool cancelled = false;
  std::optional<Clock::time_point> deadline;

  template <class Archive>
  void keep(Archive& archive) {
    archive(purpose, client, id, progress_token, uri, task_id, makes_task, logs, cancelled, deadline);
  }
};

/**
 * Requests open at one server process, by the fresh number each got, which is its id and progress token there.
 * Numbers are never used twice, so an answer of an earlier process is an unknown one.
 */
class InFlight {
 public:
  std::uint64_t add(Request request);
  /** Null for a number that is not open. */
  [[nodiscard]] Request* find(std::uint64_t number);
  /** The number as the server spells it. */
  [[nodiscard]] Request* find(std::string_view raw_number, std::uint64_t& number);
  /** The client's own id, as a key (jsonrpc::id_key). */
  [[nodiscard]] std::optional<std::uint64_t> find_of(ClientId client, const std::string& id_key) const;

  [[nodiscard]] Request take(std::uint64_t number);
  /**
   * The client waits no more; its id is free again. The entry goes, unless the answer means something all the same: a
   * task to be ended, a subscription. Then it is kept until `forget_at`.
   */
  void cancel(std::uint64_t number, Clock::time_point forget_at);
  /** Everything, in no order; the table is empty afterwards. */
  [[nodiscard]] std::vector<Request> take_all();

  [[nodiscard]] std::vector<std::uint64_t> of(ClientId client) const;
  [[nodiscard]] std::size_t count_of(ClientId client) const;
  [[nodiscard]] std::size_t size() const { return requests_.size(); }
  /** Clients that wait for an answer to a forwarded request. */
  [[nodiscard]] std::set<ClientId> waiting_clients() const;
  /** Numbers whose deadline has come; `next` is the earliest of the others. */
  [[nodiscard]] std::vector<std::uint64_t> overdue(Clock::time_point now, std::optional<Clock::time_point>& next) const;

  template <class Archive>
  void keep(Archive& archive) {
    archive(requests_, cancelled_tasks_, next_);
    if constexpr (Archive::loading) {
      link_all();
    }
  }

 private:
  using IdKeys = std::unordered_map<std::string, std::uint64_t>;

  void link_all();
  void unlink(const Request& request);

  std::unordered_map<std::uint64_t, Request> requests_;
  std::unordered_map<ClientId, IdKeys> by_client_;
  /** Numbers of cancelled requests that were to make tasks; some may have been answered. */
  std::deque<std::uint64_t> cancelled_tasks_;
  std::uint64_t next_ = 1;
};

}  // namespace hal::hub
