#pragma once

#include "base/unique_fd.hpp"
#include "http/web_server.hpp"
#include "metrics/collector.hpp"

#include <memory>
#include <set>
#include <string>
#include <vector>

namespace hal::metrics {

/** Answers `GET /metrics`. Who asks while figures are being collected gets the same ones. */
class Service final : private http::WebServer::Handler {
 public:
  /** Throws if libmicrohttpd cannot be started. */
  Service(event::Loop& loop, std::vector<UniqueFd> listening, bool user);

 private:
  std::optional<http::Answer> on_head(http::Exchange& exchange) override;
  bool on_body(http::Exchange& exchange, std::size_t bytes, http::Answer& refusal) override;
  void on_request(http::Exchange& exchange) override;
  void on_over(http::Exchange& exchange) override;
  void collected(const Figures& figures);

  Collector collector_;
  std::set<http::Exchange*> waiting_;
  bool collecting_ = false;
  /** As logged last. */
  std::string trouble_;
  std::vector<std::unique_ptr<http::WebServer>> servers_;
};

}  // namespace hal::metrics
