#pragma once

#include "http/endpoint.hpp"
#include "http_support.hpp"
#include "hub_support.hpp"

/** The endpoint on a real hub and real sockets; the test plays the HTTP client and the server's process. */
namespace hal::http::test {

using hub::test::FakeProcess;
using Headers = HttpPeer::Headers;

inline constexpr char both_types[] = "application/json, text/event-stream";

inline Json request(const Json& id, const std::string& method, const Json& params = Json::object()) {
  return {{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", params}};
}

inline Json notification(const std::string& method, const Json& params = Json::object()) {
  return {{"jsonrpc", "2.0"}, {"method", method}, {"params", params}};
}

inline Json initialize_request(const std::string& revision = "2025-11-25", const Json& capabilities = Json::object()) {
  return request(0, "initialize",
                 {{"protocolVersion", revision},
                  {"capabilities", capabilities},
                  {"clientInfo", {{"name", "test"}, {"version", "1"}}}});
}

class Http : public hub::test::HubTest {
 public:
  Http() {
    add_worker("a", {"memory"});
    add_worker("b", {"memory", "files"});
    add_server("memory");
    add_server("files", link::ServerMode::session);
    make_endpoint({});
  }
  ~Http() override { endpoint.reset(); }

  void make_endpoint(Times times) {
    endpoint.reset();
    endpoint = std::make_unique<Endpoint>(loop, *hub, times);
    endpoint->set_worker({"a"}, "a.0123456789");
    endpoint->set_worker({"b"}, "b.0123456789");
    EXPECT_TRUE(endpoint->listen("n", listen_tcp(port)).has_value());
  }

  std::unique_ptr<HttpPeer> peer() { return std::make_unique<HttpPeer>(loop, port); }

  static Headers headers(const std::string& session = "", const std::string& worker = "a") {
    Headers all = {{"Authorization", "Bearer " + worker + ".0123456789"},
                   {"Accept", both_types},
                   {"Content-Type", "application/json"}};
    if (!session.empty()) {
      all.emplace_back("Mcp-Session-Id", session);
      all.emplace_back("MCP-Protocol-Version", "2025-11-25");
    }
    return all;
  }

  static void post(HttpPeer& peer, const std::string& session, const Json& message,
                   const std::string& path = "/mcp/memory", const std::string& worker = "a") {
    peer.send("POST", path, headers(session, worker), message.dump());
  }

  Response answer_to(const std::string& session, const Json& message) {
    const auto one = peer();
    post(*one, session, message);
    return one->response();
  }

  /** A session that is initialized; the first one starts the process. */
  std::string open(const std::string& revision = "2025-11-25", const Json& capabilities = Json::object(),
                   const std::string& path = "/mcp/memory", const std::string& worker = "a") {
    const auto one = peer();
    post(*one, "", initialize_request(revision, capabilities), path, worker);
    const bool needs_process = path != "/mcp/memory" || process == nullptr;
    if (needs_process) {
      process = &start_process(path.substr(5));
    }
    const auto response = one->response();
    EXPECT_EQ(response.status, 200U) << response.body;
    EXPECT_EQ(response.json()["result"]["protocolVersion"], revision);
    const auto session = response.header("mcp-session-id");
    post(*one, session, notification("notifications/initialized"), path, worker);
    EXPECT_EQ(one->response().status, 202U);
    return session;
  }

  /** Opens the stream of what belongs to no request. */
  std::unique_ptr<HttpPeer> listen(const std::string& session, const std::string& last_event = "") {
    auto one = peer();
    auto all = headers(session);
    if (!last_event.empty()) {
      all.emplace_back("Last-Event-ID", last_event);
    }
    one->send("GET", "/mcp/memory", all);
    const auto head = one->head();
    EXPECT_EQ(head.status, 200U);
    EXPECT_EQ(head.header("content-type"), "text/event-stream");
    return one;
  }

  /** The first event: where to come back to, and when. */
  static Event priming(HttpPeer& stream) {
    auto event = stream.event().value_or(Event{});
    EXPECT_FALSE(event.id.empty());
    EXPECT_TRUE(event.has_data && event.data.empty());
    EXPECT_EQ(event.retry, "1000");
    return event;
  }

  std::uint16_t port = 0;
  std::unique_ptr<Endpoint> endpoint;
  FakeProcess* process = nullptr;
};

}  // namespace hal::http::test
