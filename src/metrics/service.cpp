#include "metrics/service.hpp"

#include "base/log.hpp"

#include <utility>

namespace hal::metrics {

namespace {

constexpr unsigned connections = 32;
constexpr auto late_check = std::chrono::seconds(10);
constexpr char openmetrics[] = "application/openmetrics-text; version=1.0.0; charset=utf-8";

http::Answer answer(unsigned status, std::string_view type, std::string_view text) {
  http::Answer answer;
  answer.status = status;
  answer.headers.emplace_back("Content-Type", type);
  answer.body.append(text);
  return answer;
}

http::Answer refusal(unsigned status, std::string_view text) {
  return answer(status, "text/plain; charset=utf-8", text);
}

}  // namespace

Service::Service(event::Loop& loop, std::vector<UniqueFd> listening, bool user) : collector_(loop, user) {
  for (auto& fd : listening) {
    servers_.push_back(std::make_unique<http::WebServer>(
        loop, std::move(fd), static_cast<http::WebServer::Handler&>(*this), connections, late_check));
  }
}

std::optional<http::Answer> Service::on_head(http::Exchange& exchange) {
  if (exchange.path() != "/metrics") {
    return refusal(404, "There is /metrics, and nothing else.\n");
  }
  if (exchange.method() != "GET" && exchange.method() != "HEAD") {
    auto refused = refusal(405, "GET only\n");
    refused.headers.emplace_back("Allow", "GET, HEAD");
    return refused;
  }
  return std::nullopt;
}

bool Service::on_body(http::Exchange&, std::size_t, http::Answer& refused) {
  refused = refusal(413, "A GET has no body.\n");
  return false;
}

void Service::on_request(http::Exchange& exchange) {
  waiting_.insert(&exchange);
  if (!std::exchange(collecting_, true)) {
    collector_.collect([this](const Figures& figures) { collected(figures); });
  }
}

void Service::on_over(http::Exchange& exchange) {
  waiting_.erase(&exchange);
}

void Service::collected(const Figures& figures) {
  collecting_ = false;
  if (figures.trouble != trouble_) {
    trouble_ = figures.trouble;
    log::notice({}, "{}", trouble_.empty() ? "the daemon answers" : trouble_);
  }
  const auto text = render(figures);
  for (auto* exchange : std::exchange(waiting_, {})) {
    exchange->answer(answer(200, openmetrics, text));
  }
}

}  // namespace hal::metrics
