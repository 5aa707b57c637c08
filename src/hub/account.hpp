#pragma once

#include "base/strong_id.hpp"
#include "hub/audit_log.hpp"
#include "hub/client.hpp"
#include "jsonrpc/envelope.hpp"
#include "link/messages.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace hal::hub {

/** Digits of a session's id that are told to others than its client. */
inline constexpr std::size_t told_session_digits = 8;

/** Who uses a server, and what of it. Shared with the hub, which changes it when the daemon does. */
struct Access {
  /** Empty: the daemon itself. */
  WorkerId worker;
  std::uint32_t owner = 0;
  std::vector<link::WorkerTools> tools;
};

/** One client at one server: its requests that are not answered, what it may do, and its part of the traffic. */
class Account {
 public:
  using Clock = std::chrono::steady_clock;

  Account(std::string server, const Client& client, std::shared_ptr<const Access> access);

  /** False: a request with this id is open. */
  [[nodiscard]] bool open(const jsonrpc::Envelope& message, Clock::time_point now, link::Audit audit);

  struct Closed {
    bool lists_tools = false;
    std::chrono::nanoseconds time{0};
    /** Of a tools/call; what the audit is to tell. */
    std::optional<AuditEntry> entry;
  };
  /** The request is answered or given up. Nothing if no such request is open. `id` as the client spells it. */
  [[nodiscard]] std::optional<Closed> close(std::string_view id, Clock::time_point now, std::string_view outcome);
  /** All that is open, given up. */
  [[nodiscard]] std::vector<Closed> close_all(Clock::time_point now, std::string_view outcome);

  /** Why the call is refused, by the server's own rules or the worker's. */
  [[nodiscard]] std::optional<std::string> refusal(const policy::ToolRules& of_server,
                                                   const jsonrpc::Envelope& call) const;
  /** A result of tools/list without what may not be called. Nothing if nothing is to be left out. */
  [[nodiscard]] std::optional<std::string> filtered(const policy::ToolRules& of_server, std::string_view result) const;

  [[nodiscard]] const Client& client() const { return client_; }
  [[nodiscard]] const std::shared_ptr<const Access>& access() const { return access_; }
  [[nodiscard]] link::SessionReport report() const;

  link::Traffic traffic;

  template <class Archive>
  void keep(Archive& archive) {
    archive(traffic, open_, cancelled_lists_);
    if constexpr (Archive::loading) {
      for (auto& [id, request] : open_) {
        if (request.entry) {
          request.entry->subject = subject_;
        }
      }
    }
  }

 private:
  struct Open {
    Clock::time_point since;
    bool lists_tools = false;
    /** Set for tools/call that are to be told of. */
    std::unique_ptr<AuditEntry> entry;

    template <class Archive>
    void keep(Archive& archive) {
      archive(since, lists_tools, entry);
    }
  };

  [[nodiscard]] std::vector<const policy::ToolRules*> rules(const policy::ToolRules& of_server) const;
  [[nodiscard]] static Closed closed(Open open, Clock::time_point now, std::string_view outcome);

  std::string server_;
  const Client& client_;
  std::shared_ptr<const Access> access_;
  std::shared_ptr<const AuditSubject> subject_;
  /** By jsonrpc::id_key. */
  std::unordered_map<std::string, Open> open_;
  /** Ids of lists that were cancelled: where ids pass as they are, a late list answers whoever has taken its id. */
  std::unordered_set<std::string> cancelled_lists_;
};

}  // namespace hal::hub
