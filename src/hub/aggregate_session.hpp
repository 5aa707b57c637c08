#pragma once

#include "event/sources.hpp"
#include "hub/aggregate_member.hpp"
#include "hub/member_names.hpp"
#include "hub/merged_list.hpp"
#include "hub/resource_index.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hal::hub {

class AggregateServer;

/**
 * One client at all servers it may use. Requests go to the server their name or URI tells and keep their ids; lists are
 * asked of all and merged; what the servers ask gets a fresh number, so that two of them cannot collide.
 *
 * The parts are in aggregate_up.cpp (from the client), aggregate_lists.cpp, aggregate_resources.cpp, aggregate_down.cpp
 * (from the servers) and aggregate_session.cpp (life of client and members).
 */
class AggregateSession {
 public:
  using Clock = std::chrono::steady_clock;
  using Envelope = jsonrpc::Envelope;

  AggregateSession(AggregateServer& server, event::Loop& loop, Client& client, WorkerId worker);
  ~AggregateSession();
  AggregateSession(const AggregateSession&) = delete;
  AggregateSession& operator=(const AggregateSession&) = delete;

  void from_client(const Envelope& message, std::string_view line);
  void client_drained();
  /** The servers this worker may use, in order. */
  void set_servers(const std::vector<std::string>& names);
  /** This server is being destroyed and has answered all that was open. */
  void detach(const Server& server, const std::string& reason);
  void shut_down(const std::string& reason);
  [[nodiscard]] const WorkerId& worker() const { return worker_; }
  [[nodiscard]] const std::string& revision() const { return revision_; }

  // For members.

  [[nodiscard]] Clock::time_point now() const { return loop_.now(); }
  /** From joining a server to its answer to initialize: a process, and its handshake. */
  [[nodiscard]] std::chrono::milliseconds joining_deadline() const;
  [[nodiscard]] ClientId new_client();
  [[nodiscard]] Result<Server*> join(AggregateMember& member);
  [[nodiscard]] const std::string& client_session() const { return client_.session(); }
  [[nodiscard]] const std::string& initialize_params() const { return initialize_params_; }
  /** JSON text of an id no client can guess: one of its own cannot be mistaken for it. */
  [[nodiscard]] std::string own_id();
  [[nodiscard]] bool is_own_id(std::string_view raw) const { return raw.starts_with(own_prefix_); }
  [[nodiscard]] std::size_t backlog() const { return client_.backlog(); }
  void hold(bool held);
  void schedule() { work_.schedule(); }
  void arm_deadline();

  void on_member_up(AggregateMember& member);
  /** It could not be joined; nothing waits for it any more. */
  void on_member_failed(AggregateMember& member, int code, const std::string& reason);
  /** It was up and is not any more. */
  void on_member_lost(AggregateMember& member, const std::string& reason);
  /** Too much waits for it. */
  void refuse_held(AggregateMember& member, std::string_view line);
  /** To a request of ours, from the loop. */
  void on_own_answer(AggregateMember& member, const Envelope& message);
  /** To a request of the client's. */
  void on_answer(AggregateMember& member, std::string_view id, Parts message);
  void on_question(AggregateMember& member, const Envelope& message, std::string_view line);
  void on_notification_from(AggregateMember& member, const Envelope& message, std::string_view line);

 private:
  /** What is done with the answer to a request of the client's. */
  enum class Answer {
    pass,
    /** It may name a new task. */
    created_task,
    task,
    task_result,
    /** Of a resource whose server was guessed. */
    search,
  };
  /** Whom else to ask, and with what. */
  struct Search {
    std::string method;
    std::string uri;
    /** Empty: nobody else is asked. */
    std::string line;
    std::deque<std::string> rest;
    std::string first_error;
  };
  /** A request of the client's at a member, or one that waits for resources' lists or the next server, without. */
  struct Call {
    /** As the client spelled it. */
    std::string id;
    AggregateMember* member = nullptr;
    Answer answer = Answer::pass;
    /** Key of its progress token, or empty. */
    std::string token;
    std::unique_ptr<Search> search;
  };
  /** A question of a member's that waits for the client. */
  struct Asked {
    AggregateMember* member;
    std::string id;
    std::string token;
  };
  /** A progress token of the client's. */
  struct Token {
    AggregateMember* member;
    bool task = false;
  };
  struct OwnRequest {
    std::uint64_t list;
    AggregateMember* member;
  };

  // From the client: aggregate_up.cpp
  void on_request(const Envelope& message, std::string_view line);
  void on_notification(const Envelope& message, std::string_view line);
  void on_response(const Envelope& message, std::string_view line);
  void on_initialize(const Envelope& message);
  void on_named(const Envelope& message, std::string_view line);
  void on_reference(const Envelope& message, std::string_view line);
  void on_task(const Envelope& message, std::string_view line);
  void on_set_level(const Envelope& message);
  void on_cancelled(const Envelope& message, std::string_view line);
  void on_progress(const Envelope& message, std::string_view line);
  Call& open_call(AggregateMember& member, const Envelope& message, Answer answer);
  void forward(AggregateMember& member, const Envelope& message, std::string_view raw, std::string_view replacement,
               std::string_view line, Answer answer);
  void send_level(AggregateMember& member);
  void to_all(std::string_view line);

  // Resources: aggregate_resources.cpp
  void on_resource(const Envelope& message, std::string_view line, std::string uri);
  [[nodiscard]] bool indexed() const { return resources_read_ && templates_read_; }
  void forget_index() { resources_read_ = templates_read_ = false; }
  void wait_for_index(const Envelope& message, std::string_view line);
  void search_later(Call& call, const std::string& key, std::string error);
  void search_on(const std::string& key);
  void on_found(const Call& call);
  void replay_unindexed();

  // Lists: aggregate_lists.cpp
  void on_list(const Envelope& message, List list);
  void start_list(List list, std::string id, ListPlaces places);
  [[nodiscard]] ListPlaces everywhere() const;
  void ask_page(std::uint64_t number, MergedList& list, AggregateMember& member);
  void ask_waiting(AggregateMember& member);
  void leave_out(AggregateMember& member, const std::string& why);
  void finish_lists();
  void index(List list, const MemberPage& page, const std::string& server);

  // From the servers: aggregate_down.cpp
  void answer_found(const std::string& key, std::string_view id, Parts message);
  void pass(const std::string& key, std::string_view id, Parts message, bool task_goes_on);
  void withdraw_questions(const AggregateMember& member);
  void forget_token(const Call& call, bool task_goes_on);

  // Life: aggregate_session.cpp
  void work();
  void on_deadline();
  void fail_call(const std::string& key, int code, const std::string& reason);
  void fail_calls_of(const AggregateMember& member, int code, const std::string& reason);
  void forget(AggregateMember& member);
  void announce_changes();
  [[nodiscard]] AggregateMember* find(std::string_view name);
  [[nodiscard]] bool is_server(std::string_view name) const;

  AggregateServer& server_;
  event::Loop& loop_;
  Client& client_;
  WorkerId worker_;
  std::map<std::string, std::unique_ptr<AggregateMember>, std::less<>> members_;
  /** As the client sent it; empty before. */
  std::string initialize_params_;
  std::string revision_;
  /** It has said initialized. */
  bool ready_ = false;
  std::optional<std::string> log_level_;

  /** By jsonrpc::id_key. */
  std::unordered_map<std::string, Call> calls_;
  std::unordered_map<std::string, Token> tokens_;
  /** Keys of tokens of tasks, the oldest first. */
  std::deque<std::string> task_tokens_;
  std::map<std::uint64_t, Asked> asked_;
  std::uint64_t next_question_ = 1;

  std::string own_prefix_;
  std::uint64_t next_own_ = 1;
  std::unordered_map<std::string, OwnRequest> own_requests_;

  std::map<std::uint64_t, MergedList> lists_;
  std::uint64_t next_list_ = 1;
  Cursors cursors_;

  ResourceIndex resources_;
  /** The lists of resources and of their templates have been read since they last changed. */
  bool resources_read_ = false;
  bool templates_read_ = false;
  /** Requests that wait for that: id_key and line. */
  std::deque<std::pair<std::string, std::string>> unindexed_;
  /** Keys of calls whose next server is to be asked. */
  std::deque<std::string> searching_;
  std::unordered_map<std::string, std::string> subscriptions_;

  std::size_t holds_ = 0;
  /** The client is to hear that its lists have changed. */
  bool changed_ = false;
  event::Defer work_;
  event::Timer deadline_;
};

/** Of an error response: its code and its message, or what stands for them. */
[[nodiscard]] int error_code(std::string_view outcome);
[[nodiscard]] std::string error_message(std::string_view outcome);

}  // namespace hal::hub
