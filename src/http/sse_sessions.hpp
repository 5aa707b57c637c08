#pragma once

#include "event/loop.hpp"
#include "http/exchange.hpp"
#include "http/sse_session.hpp"
#include "hub/hub.hpp"

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

namespace hal::http {

/** The transport of revision 2024-11-05: GET /sse/NAME opens a session, POST /message/ID says something in it. */
class SseSessions final : private SseSession::Listener {
 public:
  /** The hub outlives it. */
  SseSessions(event::Loop& loop, hub::Hub& hub) : loop_(loop), hub_(hub) {}
  ~SseSessions() override;

  /** `server` as the hub knows it. */
  void open(Exchange& exchange, const WorkerId& worker, const std::string& server);
  void post(Exchange& exchange, const WorkerId& worker, std::string_view session);
  void tick();
  [[nodiscard]] std::size_t size() const { return sessions_.size(); }

 private:
  void on_session_over(SseSession& session) override;

  event::Loop& loop_;
  hub::Hub& hub_;
  /** The hub's. */
  std::map<std::string, SseSession*, std::less<>> sessions_;
};

/** The answer to who asks for a session that the hub refuses. */
[[nodiscard]] Answer refused_session(const Error& error, std::string_view id);

}  // namespace hal::http
