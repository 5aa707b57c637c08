#pragma once

#include "event/sources.hpp"
#include "hub/handshake.hpp"
#include "hub/in_flight.hpp"
#include "hub/instance_slot.hpp"
#include "hub/questions.hpp"
#include "hub/server.hpp"
#include "hub/subscriptions.hpp"
#include "hub/tasks.hpp"

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hal::hub {

/**
 * One process, many clients, each as if it were the only one. The process may end and be replaced: its clients stay,
 * what was in flight is answered with an error, and the new process is told what the old one knew.
 *
 * Where each kind of message goes stands in routes.cpp; the parts are in shared_up.cpp (clients to server),
 * shared_down.cpp (server to clients), shared_tasks.cpp, shared_idle.cpp and
 * shared_server.cpp (life of clients and process).
 */
class SharedServer final : public Server, private InstanceSlot::Listener {
 public:
  SharedServer(ServerContext& context, link::ServerSet config);
  ~SharedServer() override;

  void set_config(link::ServerSet config) override;
  void attach(link::InstanceAttach instance) override;
  void gone(const link::InstanceGone& news) override;
  void unavailable(const link::ServerUnavailable& news) override;
  void daemon_returned() override;
  [[nodiscard]] std::vector<InstanceId> instances() const override;
  void shut_down(const std::string& reason) override;
  [[nodiscard]] bool takes_batches(const Client& client) const override;

 private:
  using Envelope = jsonrpc::Envelope;

  /** One client at this server. */
  struct Seat {
    Client* client;
    /** Set once it has sent a valid initialize. */
    std::optional<ClientHello> hello;
    /** Its initialize waits for the server; empty when it has been answered. */
    std::string initialize_id;
    /** It has its InitializeResult. */
    bool greeted = false;
    /** It has said initialized. */
    bool ready = false;
    std::optional<int> log_level;
    /** Of the protocol, as answered to its initialize. */
    std::string revision;

    template <class Archive>
    void keep(Archive& archive) {
      archive(hello, initialize_id, greeted, ready, log_level, revision);
    }
  };

  /** A request that waits for a process. */
  struct Held {
    ClientId client;
    std::string id;
    std::string line;
    Clock::time_point deadline;

    template <class Archive>
    void keep(Archive& archive) {
      archive(client, id, line, deadline);
    }
  };

  Result<void> do_add(Client& client) override;
  void do_remove(Client& client) override;
  void do_from_client(Client& client, const Envelope& message, std::string_view line) override;
  void save_client(Saver& archive, const Client& client) override;
  void load_client(Loader& archive, Client& client) override;
  void save_rest(Saver& archive) override;
  void load_rest(Loader& archive) override;

  void on_instance_running() override;
  void on_server_message(const Envelope& message, std::string_view line) override;
  void on_server_overlong(std::size_t bytes) override;
  void on_server_drained() override;
  void on_instance_ended(const std::string& reason) override;
  void on_instance_unavailable(const std::string& reason) override;
  void on_instance_retry() override;

  // Life of clients and process.
  [[nodiscard]] Seat* seat_of(ClientId client);
  [[nodiscard]] bool serving() const { return slot_.running() && hello_.has_value(); }
  [[nodiscard]] bool anybody_greeted() const;
  /** Brings the handshake one step on: a process, its hello, the answers of those who wait. */
  void advance();
  void start_handshake();
  void finish_handshake(const Envelope& message);
  void refuse_handshake(int code, const std::string& reason);
  void hand_over_to_modern();
  void fail_initializes(int code, const std::string& reason);
  void restore_state();
  void answer_initialize(Seat& seat);
  void ensure_initialized();
  void fail_requests(const std::string& reason);
  void hold(Seat& seat, const Envelope& message, std::string_view line);
  void replay_held();
  void fail_first_held(const std::string& reason);
  void fail_all_held(const std::string& reason);
  void on_deadline();
  void expire(std::uint64_t number);
  void arm_deadline();

  // Idle stop: shared_idle.cpp
  void used() { last_use_ = context().loop.now(); }
  [[nodiscard]] bool in_use() const;
  void watch_idleness();
  void on_idle_check();

  // Clients to server.
  void up_request(Seat& seat, const Envelope& message, std::string_view line);
  void up_notification(Seat& seat, const Envelope& message, std::string_view line);
  void up_response(Seat& seat, const Envelope& message, std::string_view line);
  void on_initialize(Seat& seat, const Envelope& message);
  void on_client_cancelled(Seat& seat, const Envelope& message, std::string_view line);
  void on_set_level(Seat& seat, const Envelope& message);
  void on_subscription(Seat& seat, const Envelope& message, std::string_view line, bool subscribe);
  void forward(Seat& seat, const Envelope& message, std::string_view line, Purpose purpose, std::string uri);
  /** Whether the request may go to the server now; if not it has been held or answered. */
  [[nodiscard]] bool admit(Seat& seat, const Envelope& message, std::string_view line);
  void send_upkeep(std::string_view method, const std::string& params);
  /** The client waits no more: tells the server and keeps the entry for the late answer. */
  void cancel_at_server(std::uint64_t number);
  void merge_log_level();
  void brake();

  // Server to clients.
  void down_request(const Envelope& message, std::string_view line);
  void down_notification(const Envelope& message, std::string_view line);
  void down_response(const Envelope& message, std::string_view line);
  void settle_subscription(const Request& request, bool success);
  void ask_client(const Envelope& message, std::string_view line);
  void refuse_question(const Envelope& message, std::string_view why);
  void withdraw_questions();
  void on_server_cancelled(const Envelope& message, std::string_view line);
  void on_progress(const Envelope& message, std::string_view line);
  void on_log_message(const Envelope& message, std::string_view line);
  void on_elicitation_complete(const Envelope& message, std::string_view line);
  /**
   * Whom a message without a receiver on the wire is for: the owner of the task it names, else the one client it can
   * belong to. Null when that is nobody, or one of several.
   */
  [[nodiscard]] Seat* receiver_of(const Envelope& message);
  [[nodiscard]] Seat* only_candidate();

  // Tasks.
  void on_own_task(Seat& seat, const Envelope& message, std::string_view line);
  /** Before the answer to `request` is delivered. */
  void follow_tasks(std::uint64_t number, const Request& request, const Envelope& message);
  void deliver_task_list(Seat& seat, const Request& request, const Envelope& message);
  void on_task_status(const Envelope& message, std::string_view line);
  void abandon_task(std::string_view id);

  /** All but the process and the clients. */
  template <class Archive>
  void keep(Archive& archive) {
    archive(in_flight_, subscriptions_, questions_, tasks_, elicitations_, held_, hello_, handshaking_,
            initialized_sent_, log_level_sent_, last_use_);
  }

  InstanceSlot slot_;
  std::map<ClientId, Seat> seats_;
  InFlight in_flight_;
  Subscriptions subscriptions_;
  Questions questions_;
  Tasks tasks_;
  /** elicitationId to whom it was put; the oldest is forgotten. */
  std::deque<std::pair<std::string, ClientId>> elicitations_;
  std::deque<Held> held_;
  std::size_t held_bytes_ = 0;
  /** Of the running process. */
  std::optional<ServerHello> hello_;
  bool handshaking_ = false;
  bool initialized_sent_ = false;
  std::optional<int> log_level_sent_;
  /** The server reads too slowly: no client is read from. */
  bool braked_ = false;
  event::Timer deadline_;
  Clock::time_point last_use_{};
  event::Timer idle_check_;
};

}  // namespace hal::hub
