#pragma once

#include "event/sources.hpp"
#include "hub/in_flight.hpp"
#include "hub/instance_slot.hpp"

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>

namespace hal::hub {

class ModernServer;

/**
 * One process that speaks the modern revision, and the clients that use it: all of a shared server, or one. The process
 * is opened with `server/discover`, whose answer tells whether it speaks that revision at all. There is no state at the
 * server but open requests, so ids and progress tokens are all that has to be kept apart.
 */
class ModernLane final : private InstanceSlot::Listener {
 public:
  /** A request that waits for the process. */
  struct Held {
    ClientId client;
    std::string id;
    std::string line;
  };

  /** `session` names the process; `single`: of one client. */
  ModernLane(ModernServer& server, ServerContext& context, std::string session, bool single);
  ~ModernLane() override;

  void from_client(Client& client, const jsonrpc::Envelope& message, std::string_view line);
  /** The client is gone: what it waits for is cancelled. */
  void remove(ClientId client);
  void client_drained();
  [[nodiscard]] InstanceSlot& slot() { return slot_; }
  [[nodiscard]] const InstanceSlot& slot() const { return slot_; }
  [[nodiscard]] const std::string& session() const { return session_; }
  [[nodiscard]] bool braked() const { return braked_; }
  void watch_idleness();
  void shut_down(const std::string& reason);

 private:
  enum class Phase {
    /** No process, or none that was asked anything yet. */
    closed,
    /** It has been asked what it speaks. */
    probing,
    open,
  };

  void on_instance_running() override;
  void on_server_message(const jsonrpc::Envelope& message, std::string_view line) override;
  void on_server_overlong(std::size_t bytes) override;
  void on_server_drained() override;
  void on_instance_ended(const std::string& reason) override;
  void on_instance_unavailable(const std::string& reason) override;
  void on_instance_retry() override {}

  // Clients to server.
  void request(Client& client, const jsonrpc::Envelope& message, std::string_view line);
  void forward(Client& client, const jsonrpc::Envelope& message, std::string_view line);
  void hold(Client& client, const jsonrpc::Envelope& message, std::string_view line);
  void cancel(Client& client, const jsonrpc::Envelope& message, std::string_view line);
  void cancel_at_server(std::uint64_t number);
  void brake();

  // Server to clients.
  void on_response(const jsonrpc::Envelope& message, std::string_view line);
  void on_probe_answer(const jsonrpc::Envelope& message);
  void on_notification(const jsonrpc::Envelope& message, std::string_view line);
  void on_stream_message(const jsonrpc::Envelope& message, std::string_view line);
  void on_progress(const jsonrpc::Envelope& message, std::string_view line);
  void on_stream_end(const jsonrpc::Envelope& message, std::string_view line);
  /** To the only client it can belong to. */
  void on_ownerless(const jsonrpc::Envelope& message, std::string_view line);

  // The process.
  void turned_out_legacy(const std::string& why, bool for_good);
  void close();
  void fail_requests(const std::string& reason);
  [[nodiscard]] std::deque<Held> take_held();
  void fail_held(const std::string& reason);
  void arm_deadline();
  void on_deadline();
  void on_idle_check();

  ModernServer& server_;
  event::Loop& loop_;
  std::string session_;
  bool single_;
  InstanceSlot slot_;
  Phase phase_ = Phase::closed;
  InFlight in_flight_;
  std::deque<Held> held_;
  std::size_t held_bytes_ = 0;
  /** The server reads too slowly: no client is read from. */
  bool braked_ = false;
  Clock::time_point last_use_{};
  event::Timer deadline_;
  event::Timer idle_check_;
};

}  // namespace hal::hub
