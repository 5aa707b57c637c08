#pragma once

#include "event/sources.hpp"
#include "hub/in_flight.hpp"
#include "hub/instance_slot.hpp"
#include "hub/session_server.hpp"

#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace hal::hub {

/** One client of a SessionServer and the process it has for itself. */
class SessionLane final : private InstanceSlot::Listener {
 public:
  SessionLane(SessionServer& server, ServerContext& context, Client& client);
  ~SessionLane() override;

  void from_client(const jsonrpc::Envelope& message, std::string_view line);
  void client_drained();
  [[nodiscard]] InstanceSlot& slot() { return slot_; }
  [[nodiscard]] const std::string& session() const { return client_.session(); }
  /** Of the protocol, as the process answered to initialize; empty before. */
  [[nodiscard]] const std::string& revision() const { return revision_; }
  /** The client is gone. */
  void close();
  void shut_down(const std::string& reason);
  void save(Saver& archive);
  void load(Loader& archive);

 private:
  void on_instance_running() override;
  void on_server_message(const jsonrpc::Envelope& message, std::string_view line) override;
  void on_server_overlong(std::size_t bytes) override;
  void on_server_drained() override;
  void on_instance_ended(const std::string& reason) override;
  void on_instance_unavailable(const std::string& reason) override;
  void on_instance_retry() override {}

  [[nodiscard]] bool admit(const jsonrpc::Envelope& message, std::string_view line);
  void send(std::string_view line);
  void hold(std::string_view line);
  void on_response(const jsonrpc::Envelope& message, std::string_view line);
  void fail_requests(int code, const std::string& reason);
  void on_deadline();
  void arm_deadline();

  SessionServer& server_;
  Client& client_;
  event::Loop& loop_;
  InstanceSlot slot_;
  /** The numbers are unused: ids pass as they are. */
  InFlight in_flight_;
  /** Lines that wait for the process, in order. */
  std::deque<std::string> held_;
  std::size_t held_bytes_ = 0;
  /** The client's initialize, whose answer tells who the server is, until that comes. */
  std::string initialize_id_;
  std::string initialize_line_;
  std::string revision_;
  event::Timer deadline_;
};

}  // namespace hal::hub
