#pragma once

#include "base/result.hpp"
#include "base/strong_id.hpp"
#include "event/loop.hpp"
#include "hub/account.hpp"
#include "hub/client.hpp"
#include "jsonrpc/envelope.hpp"
#include "link/messages.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hal::hub {

class Tracer;

/** Why a trace is over, as its last line tells. */
enum class TraceEnd { worker_gone, server_removed, stopped };

/** What the hub knows of a response besides its bytes. */
struct TracedAnswer {
  jsonrpc::Kind kind = jsonrpc::Kind::result;
  /** As the client spells it. */
  std::string_view id;
  /** As the audit has it. */
  std::string_view outcome;
  /** Since the request; unset where no request ends with it. */
  std::optional<std::chrono::nanoseconds> time;
};

/**
 * Who reads one server's traffic, message by message as its clients see it. Usually nobody: then empty() is all that is
 * asked on the way of a message. A line a message, docs/MCP.md has its members.
 */
class Traces {
 public:
  explicit Traces(event::Loop& loop);
  ~Traces();
  Traces(const Traces&) = delete;
  Traces& operator=(const Traces&) = delete;

  [[nodiscard]] bool empty() const { return tracers_.empty(); }
  /** Errc::limit: one too many. */
  [[nodiscard]] Result<void> add(link::Trace request);

  void received(const Client& client, const Access& access, const jsonrpc::Envelope& message, std::string_view line);
  void sent(const Client& client, const Access& access, Parts message, const TracedAnswer* answer);
  /** The client's requests will not be answered any more; or one of them. */
  void forget(ClientId client);
  void forget(ClientId client, std::string_view id);

  void end_of_worker(const WorkerId& worker);
  void end_all(TraceEnd end, std::string_view reason);

 private:
  struct Line;
  /** What an answer does not say again. */
  struct Asked {
    std::string method;
    std::string tool;
  };

  [[nodiscard]] bool anybody_sees(const Access& access) const;
  void write(const Client& client, const Access& access, const Line& line, Parts message);
  void drop(const Tracer& tracer);

  event::Loop& loop_;
  std::vector<std::unique_ptr<Tracer>> tracers_;
  /** Requests seen and not answered, by client and jsonrpc::id_key. */
  std::unordered_map<ClientId, std::unordered_map<std::string, Asked>> asked_;
};

}  // namespace hal::hub
