#pragma once

#include "hub/in_flight.hpp"
#include "hub/modern_lane.hpp"
#include "hub/server.hpp"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hal::hub {

class ModernBridge;

/**
 * A server as clients of the modern revision (2026-07-28) see it. If its program speaks that revision they have
 * processes of their own, one together or one each as the mode says; for a process speaks the revision it was opened
 * with. If not, each is a client of the legacy server beside this one, through a ModernBridge. Which it is, is asked
 * when the first modern client comes, and of a process that legacy clients do not use: some servers do not survive a
 * method they do not know. Owned by the hub.
 */
class ModernServer final : public Server {
 public:
  /** `legacy` outlives it. */
  ModernServer(ServerContext& context, Server& legacy);
  ~ModernServer() override;

  void set_config(link::ServerSet config) override;
  [[nodiscard]] bool takes_batches(const Client&) const override { return false; }
  void client_drained(Client& client) override;
  void attach(link::InstanceAttach instance) override;
  void gone(const link::InstanceGone& news) override;
  void unavailable(const link::ServerUnavailable& news) override;
  void daemon_returned() override;
  [[nodiscard]] std::vector<InstanceId> instances() const override;
  void shut_down(const std::string& reason) override;

  /** Whether a process asked for under this name is one of the modern side. */
  [[nodiscard]] static bool is_ours(const std::optional<link::SessionId>& session);
  /** For a daemon that has just connected. */
  [[nodiscard]] std::vector<link::HeldInstance> held() const;

 private:
  friend class ModernBridge;
  friend class ModernLane;

  /** A client and its ways to the server. */
  struct Seat {
    Client* client;
    std::vector<std::unique_ptr<ModernBridge>> bridges;
  };

  Result<void> do_add(Client& client) override;
  void do_remove(Client& client) override;
  void do_from_client(Client& client, const jsonrpc::Envelope& message, std::string_view line) override;
  [[nodiscard]] std::string refusal_result(const std::string& text) const override;

  // For lanes and bridges.
  [[nodiscard]] Client* client(ClientId id);
  /** The program speaks the modern revision. */
  void on_modern(std::string server_info);
  /** It does not; `for_good`: it has said so itself. */
  void on_legacy(bool for_good);
  /** A message that had to wait is tried once more. */
  void again(ClientId client, const std::string& line);
  void hold_clients(const ModernLane& lane, bool held);
  /** The bridge's way has ended. It is gone after this. */
  void on_bridge_over(ModernBridge& bridge);

  [[nodiscard]] bool is_legacy();
  [[nodiscard]] ModernLane& lane_of(const Client& client);
  [[nodiscard]] ModernLane* lane_of(const std::optional<link::SessionId>& session);
  void translate(Seat& seat, const jsonrpc::Envelope& message, std::string_view line);
  /** The seat's bridge for these capabilities; null, and the request is answered, where it has too many. */
  [[nodiscard]] ModernBridge* bridge_of(Seat& seat, const jsonrpc::Envelope& request);

  Server& legacy_;
  std::map<ClientId, Seat> seats_;
  /** By the names of their processes. */
  std::map<std::string, std::unique_ptr<ModernLane>> lanes_;
  bool legacy_only_ = false;
  /** Unset: for good. */
  std::optional<Clock::time_point> ask_again_at_;
  std::uint64_t next_bridge_ = 1;
};

}  // namespace hal::hub
