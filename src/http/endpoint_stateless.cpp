// Requests of revision 2026-07-28, which stand for themselves.
#include "base/text.hpp"
#include "http/endpoint.hpp"
#include "http/http_limits.hpp"
#include "http/stateless_client.hpp"
#include "jsonrpc/code.hpp"

#include <utility>

namespace hal::http {

namespace {

/** For the log and the audit; no client ever sees it. */
constexpr std::size_t name_digits = 32;

}  // namespace

void Endpoint::post_stateless(Exchange& exchange, const jsonrpc::Envelope& message) {
  const auto& worker = *static_cast<Worker*>(exchange.context);
  const auto stateless = stateless_of(worker.id, hub_name(read_path(exchange.path()).value_or("")));
  if (stateless) {
    return (*stateless)->post(exchange, message);
  }
  const auto& error = stateless.error();
  // One answer for a server that does not exist and one that this worker may not use.
  const unsigned status = error.code == Errc::denied ? 404 : error.code == Errc::limit ? 429 : 503;
  exchange.answer(error_answer(status, jsonrpc::internal_error, error.message, message.id));
}

/** All that a worker asks one server is one client's there. */
Result<Stateless*> Endpoint::stateless_of(const WorkerId& worker, const std::string& server) {
  const std::pair key(worker, server);
  if (const auto found = stateless_.find(key); found != stateless_.end()) {
    if (found->second.front->ended()) {
      return Error{Errc::unavailable, "the server is changing"};
    }
    return found->second.front.get();
  }
  if (sessions() + stateless_.size() >= limits::sessions) {
    return Error{Errc::limit, "too many sessions of all workers"};
  }
  auto front = std::make_unique<Stateless>(loop_, times_, text::random_hex(name_digits), worker, server,
                                           static_cast<Stateless::Listener&>(*this));
  StatelessClient* client = nullptr;
  const auto joined = hub_.open_modern(worker, server, [&](hub::ClientId id) {
    auto made = std::make_unique<StatelessClient>(*front, id);
    client = made.get();
    return made;
  });
  if (!joined) {
    return joined.error();
  }
  client->joined(**joined);
  front->set_backend(client);
  auto* kept = front.get();
  stateless_.emplace(key, StatelessEntry{std::move(front), client});
  arm_tick();
  return kept;
}

void Endpoint::on_stateless_over(Stateless& stateless) {
  auto node = stateless_.extract(std::pair(stateless.worker(), stateless.server()));
  hub_.close(*node.mapped().client);
}

}  // namespace hal::http
