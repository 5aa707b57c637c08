#include "http/endpoint.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "http/http_limits.hpp"
#include "http/one_server.hpp"
#include "http/stateless_client.hpp"
#include "hub/era.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"

#include <exception>
#include <utility>

#include <fmt/format.h>

namespace hal::http {

namespace {

/** 128 random bits: a session cannot be guessed. It is no proof of identity: the token is. */
constexpr std::size_t session_id_digits = 32;

Answer refuse(unsigned status, std::string_view message) {
  return error_answer(status, jsonrpc::invalid_request, message);
}

Answer refuse_with(unsigned status, std::string_view message, const char* header, std::string value) {
  auto answer = refuse(status, message);
  answer.headers.emplace_back(header, std::move(value));
  return answer;
}

Answer too_much(unsigned status, std::string_view message) {
  auto answer = error_answer(status, jsonrpc::code_of(Errc::limit), message);
  answer.headers.emplace_back("Retry-After", "1");
  return answer;
}

Answer too_large() {
  return error_answer(413, jsonrpc::code_of(Errc::limit),
                      fmt::format("a message may have {} bytes", limits::mcp_line_bytes));
}

/** What a POST's headers must say of its body and of the answer. */
std::optional<Answer> check_post(const Head& head) {
  if (!head.content_type || !is_json(*head.content_type)) {
    return refuse(415, "Content-Type must be application/json");
  }
  if (head.content_encoding && *head.content_encoding != "identity") {
    return refuse(415, "no Content-Encoding is taken");
  }
  if (head.content_length) {
    const auto length = text::to_number<std::uint64_t>(*head.content_length);
    if (!length || *length > limits::mcp_line_bytes) {
      return too_large();
    }
  }
  return std::nullopt;
}

constexpr std::string_view unknown_revision = "MCP-Protocol-Version names no revision that is spoken here";

bool names_known_revision(const Head& head) {
  return !head.protocol_version || is_known_revision(*head.protocol_version);
}

/** Of revision 2026-07-28, by its header or by what it says of itself. */
bool is_stateless(const Head& head, const jsonrpc::Envelope& message) {
  return head.protocol_version == hub::modern_revision ||
         (message.kind == jsonrpc::Kind::request && hub::opens_modern(message));
}

/** Of the old transport: streams are opened by GET, messages are posted. */
std::optional<Answer> check_old_method(const Exchange& exchange, bool is_stream) {
  const char* method = is_stream ? "GET" : "POST";
  if (exchange.method() != method) {
    return refuse_with(405, fmt::format("{} only", method), "Allow", method);
  }
  if (!is_stream) {
    return check_post(exchange.head());
  }
  return accepted(exchange.head()).events ? std::nullopt
                                          : std::optional(refuse(406, "Accept must name text/event-stream"));
}

std::optional<Answer> check_method(const Exchange& exchange) {
  const auto& head = exchange.head();
  if (exchange.method() != "POST" && head.protocol_version == hub::modern_revision) {
    return refuse_with(405, "this revision of the protocol has POST only", "Allow", "POST");
  }
  if (exchange.method() == "POST") {
    const auto can = accepted(head);
    return can.json || can.events
               ? check_post(head)
               : std::optional(refuse(406, "Accept must name application/json and text/event-stream"));
  }
  if (exchange.method() == "GET") {
    return accepted(head).events ? std::nullopt : std::optional(refuse(406, "Accept must name text/event-stream"));
  }
  if (exchange.method() == "DELETE") {
    return std::nullopt;
  }
  return refuse_with(405, "POST, GET or DELETE", "Allow", "POST, GET, DELETE");
}

}  // namespace

Endpoint::Endpoint(event::Loop& loop, hub::Hub& hub, Times times)
    : loop_(loop), hub_(hub), times_(times), old_(loop, hub), tick_(loop, "http keep-alive", [this] {
        old_.tick();
        for (const auto& [id, entry] : sessions_) {
          entry.session->tick();
        }
        for (const auto& [key, entry] : stateless_) {
          entry.front->tick();
        }
        arm_tick();
      }) {}

Endpoint::~Endpoint() {
  webs_.clear();  // their exchanges end at their sessions
  for (const auto& [id, entry] : sessions_) {
    hub_.close(*entry.client);
  }
  for (const auto& [key, entry] : stateless_) {
    hub_.close(*entry.client);
  }
}

Result<void> Endpoint::listen(const std::string& network, UniqueFd listening, const WorkerId& owner) {
  close(network);
  const auto connections = owner.value.empty() ? limits::connections : limits::connections_of_one;
  try {
    const auto made = webs_.emplace(
        network, std::make_unique<WebServer>(loop_, std::move(listening), static_cast<WebServer::Handler&>(*this),
                                             connections, times_.late_check));
    if (!owner.value.empty()) {
      owners_.emplace(made.first->second.get(), owner);
    }
  } catch (const std::exception& error) {
    return Error{Errc::internal, error.what()};
  }
  return {};
}

void Endpoint::close(const std::string& network) {
  if (const auto node = webs_.extract(network)) {
    owners_.erase(node.mapped().get());
  }
}

std::vector<std::string> Endpoint::networks() const {
  std::vector<std::string> names;
  for (const auto& [network, web] : webs_) {
    names.push_back(network);
  }
  return names;
}

void Endpoint::set_worker(const WorkerId& id, std::string token) {
  auto& worker = workers_[id];
  if (worker == nullptr) {
    worker = std::make_unique<Worker>();
    worker->id = id;
  }
  if (!token.empty()) {
    worker->token = std::move(token);
  }
}

void Endpoint::remove_worker(const WorkerId& id) {
  if (auto node = workers_.extract(id); node && node.mapped()->exchanges > 0) {
    auto* worker = node.mapped().get();
    removed_.emplace(worker, std::move(node.mapped()));
  }
}

// Headers.

std::optional<Answer> Endpoint::on_head(Exchange& exchange) {
  if (auto refusal = check_address(exchange)) {
    return refusal;
  }
  auto* worker = worker_of(exchange);
  if (worker == nullptr) {
    return refuse_with(401, "a worker's token is needed: /run/hal9000/token", "WWW-Authenticate",
                       "Bearer realm=\"hal9000\"");
  }
  const bool is_new = read_path(exchange.path()).has_value();
  auto refusal =
      is_new ? check_method(exchange) : check_old_method(exchange, read_sse_path(exchange.path()).has_value());
  if (refusal) {
    return refusal;
  }
  const auto revision = exchange.head().protocol_version;
  // A POST's body tells whether it comes from a client that can be told which ones are.
  const bool known = is_new ? exchange.method() == "POST" || names_known_revision(exchange.head())
                            : !revision || is_known_sse_revision(*revision);
  if (!known) {
    return refuse(400, unknown_revision);
  }
  return admit(exchange, *worker);
}

std::optional<Answer> Endpoint::check_address(const Exchange& exchange) const {
  const auto& head = exchange.head();
  if (head.doubled) {
    return refuse(400, "a header stands twice");
  }
  if (!head.host || !is_our_host(*head.host, exchange.server().port())) {
    return refuse(403, "Host is not this endpoint's");
  }
  if (head.origin && !is_our_origin(*head.origin)) {
    return refuse(403, "Origin is not of this machine");
  }
  if (!read_path(exchange.path()) && !read_sse_path(exchange.path()) && !read_message_path(exchange.path())) {
    return refuse(404, "there is nothing but /mcp, /mcp/NAME, and for old clients /sse and /sse/NAME");
  }
  return std::nullopt;
}

/** The token begins with the worker's id, which is no secret; the rest is compared in constant time. */
Endpoint::Worker* Endpoint::worker_of(const Exchange& exchange) {
  const auto token = bearer_token(exchange.head().authorization.value_or(std::string_view()));
  const auto dot = token.rfind('.');
  if (dot == std::string_view::npos) {
    return nullptr;
  }
  const auto found = workers_.find(WorkerId{std::string(token.substr(0, dot))});
  const bool known = found != workers_.end() && equal_secrets(found->second->token, token);
  // Nobody else can be in a network of its own, whatever they know.
  const auto owner = owners_.find(&exchange.server());
  const bool at_home = owner == owners_.end() || (known && owner->second == found->first);
  return known && at_home ? found->second.get() : nullptr;
}

std::optional<Answer> Endpoint::admit(Exchange& exchange, Worker& worker) {
  if (worker.exchanges >= limits::exchanges_per_worker) {
    return too_much(429, "too many requests of this worker at once");
  }
  const auto length =
      text::to_number<std::size_t>(exchange.head().content_length.value_or(std::string_view("0"))).value_or(0);
  if (worker.body_bytes + length > limits::body_bytes_per_worker) {
    return too_much(503, "too many bytes of this worker are on their way");
  }
  ++worker.exchanges;
  worker.body_bytes += length;
  exchange.reserved_bytes = length;
  exchange.context = &worker;
  (void)exchange.body().room(length);
  return std::nullopt;
}

bool Endpoint::on_body(Exchange& exchange, std::size_t bytes, Answer& refusal) {
  const auto size = exchange.body().size() + bytes;
  if (size > limits::mcp_line_bytes) {
    refusal = too_large();
    return false;
  }
  if (size <= exchange.reserved_bytes) {
    return true;
  }
  auto& worker = *static_cast<Worker*>(exchange.context);
  if (worker.body_bytes + bytes > limits::body_bytes_per_worker) {
    refusal = too_much(503, "too many bytes of this worker are on their way");
    return false;
  }
  worker.body_bytes += size - exchange.reserved_bytes;
  exchange.reserved_bytes = size;
  return true;
}

void Endpoint::on_over(Exchange& exchange) {
  auto* worker = static_cast<Worker*>(exchange.context);
  if (worker == nullptr) {
    return;
  }
  --worker->exchanges;
  worker->body_bytes -= exchange.reserved_bytes;
  if (worker->exchanges == 0) {
    removed_.erase(worker);
  }
}

// Requests.

std::string Endpoint::hub_name(const std::string& name) {
  return name.empty() ? names::all_servers : name;
}

void Endpoint::on_request(Exchange& exchange) {
  const auto& worker = *static_cast<Worker*>(exchange.context);
  hub_.note_activity(worker.id);
  if (const auto server = read_sse_path(exchange.path())) {
    return open_old(exchange, *server);
  }
  if (const auto session = read_message_path(exchange.path())) {
    return old_.post(exchange, worker.id, *session);
  }
  if (exchange.method() == "POST") {
    return on_post(exchange);
  }
  Answer refusal;
  auto* session = find_session(exchange, refusal);
  if (session == nullptr) {
    return exchange.answer(std::move(refusal));
  }
  if (exchange.method() == "GET") {
    return session->get(exchange);
  }
  session->end("the client deleted it");
  exchange.answer({204, {{"Cache-Control", "no-store"}}, {}});
}

Session* Endpoint::find_session(const Exchange& exchange, Answer& refusal) {
  const auto id = exchange.head().session_id;
  if (!id) {
    refusal = refuse(400, "Mcp-Session-Id header is required");
    return nullptr;
  }
  const auto& worker = *static_cast<const Worker*>(exchange.context);
  const auto found = sessions_.find(*id);
  auto* session = found != sessions_.end() ? found->second.session.get() : nullptr;
  if (session == nullptr || session->ended() || session->worker() != worker.id ||
      session->server() != read_path(exchange.path())) {
    refusal = error_answer(404, jsonrpc::request_timeout, "Session not found");
    return nullptr;
  }
  return session;
}

void Endpoint::on_post(Exchange& exchange) {
  const auto message = jsonrpc::scan(exchange.body().view());
  if (message.kind == jsonrpc::Kind::not_json) {
    return exchange.answer(error_answer(400, jsonrpc::parse_error, message.problem));
  }
  if (message.kind == jsonrpc::Kind::invalid) {
    return exchange.answer(error_answer(400, jsonrpc::invalid_request, message.problem, message.id));
  }
  flatten(exchange.body().bytes());
  if (is_stateless(exchange.head(), message)) {
    return post_stateless(exchange, message);
  }
  if (!names_known_revision(exchange.head())) {
    return exchange.answer(refuse(400, unknown_revision));
  }
  const bool opens = message.kind == jsonrpc::Kind::request && message.method() == "initialize";
  if (opens && !exchange.head().session_id) {
    return initialize(exchange, message);
  }
  Answer refusal;
  auto* session = find_session(exchange, refusal);
  if (session == nullptr) {
    return exchange.answer(std::move(refusal));
  }
  if (message.kind == jsonrpc::Kind::batch && !session->takes_batches()) {
    return exchange.answer(refuse(400, "the agreed revision of the protocol has no batches"));
  }
  session->post(exchange, message);
}

void Endpoint::initialize(Exchange& exchange, const jsonrpc::Envelope& message) {
  const auto& worker = *static_cast<Worker*>(exchange.context);
  if (sessions() >= limits::sessions) {
    return exchange.answer(too_much(503, "too many sessions of all workers"));
  }
  const auto name = read_path(exchange.path()).value_or("");
  auto session = std::make_unique<Session>(loop_, times_, text::random_hex(session_id_digits), worker.id, name,
                                           static_cast<Session::Listener&>(*this));
  OneServer* client = nullptr;
  const auto server = hub_.open(worker.id, hub_name(name), [&](hub::ClientId id) {
    auto made = std::make_unique<OneServer>(*session, id);
    client = made.get();
    return made;
  });
  if (!server) {
    return exchange.answer(refused_session(server.error(), message.id));
  }
  client->joined(**server);
  session->set_backend(client);
  auto& kept = *session;
  sessions_.emplace(kept.id(), Entry{std::move(session), client});
  arm_tick();
  kept.post(exchange, message);
}

void Endpoint::open_old(Exchange& exchange, const std::string& server) {
  if (sessions() >= limits::sessions) {
    return exchange.answer(too_much(503, "too many sessions of all workers"));
  }
  old_.open(exchange, static_cast<Worker*>(exchange.context)->id, hub_name(server));
  arm_tick();
}

void Endpoint::on_session_over(Session& session) {
  auto node = sessions_.extract(session.id());
  hub_.close(*node.mapped().client);
}

void Endpoint::arm_tick() {
  if ((sessions() > 0 || !stateless_.empty()) && !tick_.armed()) {
    tick_.arm(times_.keep_alive);
  }
}

}  // namespace hal::http
