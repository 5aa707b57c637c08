#include "http/sse_sessions.hpp"

#include "base/text.hpp"
#include "http/session.hpp"
#include "jsonrpc/code.hpp"

#include <memory>

namespace hal::http {

namespace {

/** 128 random bits: a session cannot be guessed. It is no proof of identity: the token is. */
constexpr std::size_t session_id_digits = 32;

}  // namespace

Answer refused_session(const Error& error, std::string_view id) {
  if (error.code == Errc::limit) {
    auto answer = error_answer(429, jsonrpc::code_of(Errc::limit), error.message, id);
    answer.headers.emplace_back("Retry-After", "1");
    return answer;
  }
  // One answer for a server that does not exist and one that this worker may not use.
  return error_answer(error.code == Errc::denied ? 404 : 503, jsonrpc::code_of(error.code), error.message, id);
}

SseSessions::~SseSessions() {
  for (const auto& [id, session] : sessions_) {
    hub_.close(*session);
  }
}

void SseSessions::open(Exchange& exchange, const WorkerId& worker, const std::string& server) {
  SseSession* session = nullptr;
  const auto joined = hub_.open(worker, server, [&](hub::ClientId id) {
    auto made = std::make_unique<SseSession>(loop_, id, text::random_hex(session_id_digits), worker,
                                             static_cast<SseSession::Listener&>(*this));
    session = made.get();
    return made;
  });
  if (!joined) {
    return exchange.answer(refused_session(joined.error(), {}));
  }
  sessions_.emplace(session->session(), session);
  session->start(**joined, exchange);
}

void SseSessions::post(Exchange& exchange, const WorkerId& worker, std::string_view id) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end() || found->second->ended() || found->second->worker() != worker) {
    return exchange.answer(error_answer(404, jsonrpc::request_timeout, "Session not found"));
  }
  const auto message = jsonrpc::scan(exchange.body().view());
  if (message.kind == jsonrpc::Kind::not_json) {
    return exchange.answer(error_answer(400, jsonrpc::parse_error, message.problem));
  }
  if (message.kind == jsonrpc::Kind::invalid) {
    return exchange.answer(error_answer(400, jsonrpc::invalid_request, message.problem, message.id));
  }
  flatten(exchange.body().bytes());
  found->second->post(exchange, message);
}

void SseSessions::tick() {
  for (const auto& [id, session] : sessions_) {
    session->tick();
  }
}

void SseSessions::on_session_over(SseSession& session) {
  sessions_.erase(session.session());
  hub_.close(session);
}

}  // namespace hal::http
