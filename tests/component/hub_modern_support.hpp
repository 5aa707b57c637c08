#pragma once

#include "hub_support.hpp"

/** What clients and servers of revision 2026-07-28 say. */
namespace hal::hub::test {

inline constexpr const char* version_key = "io.modelcontextprotocol/protocolVersion";
inline constexpr const char* capabilities_key = "io.modelcontextprotocol/clientCapabilities";
inline constexpr const char* level_key = "io.modelcontextprotocol/logLevel";
inline constexpr const char* stream_key = "io.modelcontextprotocol/subscriptionId";
inline constexpr const char* server_key = "io.modelcontextprotocol/serverInfo";

/** A request that says of itself what the revision wants. */
inline Json modern(const Json& id, const std::string& method, Json params = Json::object(),
                   const Json& capabilities = Json::object()) {
  params["_meta"][version_key] = "2026-07-28";
  params["_meta"][capabilities_key] = capabilities;
  return request(id, method, params);
}

inline Json discovered(const Json& capabilities = {{"tools", {{"listChanged", true}}}}) {
  return {{"resultType", "complete"},
          {"supportedVersions", {"2026-07-28"}},
          {"capabilities", capabilities},
          {"_meta", {{server_key, {{"name", "fake"}, {"version", "8"}}}}}};
}

/** Of a stream, for the request with this id. */
inline Json on_stream(const Json& id, const std::string& method, Json params = Json::object()) {
  params["_meta"][stream_key] = id;
  return notification(method, params);
}

/** Workers a and b with one server of either mode. */
class ModernHub : public HubTest {
 public:
  explicit ModernHub(link::ServerMode mode = link::ServerMode::shared) : mode_(mode) {
    add_server("s", mode);
    add_worker("a", {"s"});
    add_worker("b", {"s"});
  }

  std::unique_ptr<RelayPeer> client(const std::string& worker) {
    auto peer = connect(worker);
    EXPECT_NE(peer->open("s"), "");
    return peer;
  }

  /** The process that modern clients have, once it has been asked what it speaks. */
  FakeProcess& modern_process() {
    auto& process = start_process("s");
    EXPECT_TRUE(process.session && process.session->starts_with("2026-07-28"));
    const auto probe = process.next();
    EXPECT_EQ(probe["method"], "server/discover");
    EXPECT_EQ(probe["params"]["_meta"][version_key], "2026-07-28");
    process.answer(probe, discovered());
    return process;
  }

  /** The same of a program that speaks older revisions only, and the process its clients get then. */
  FakeProcess& legacy_process() {
    auto& probed = start_process("s");
    const auto probe = probed.next();
    EXPECT_EQ(probe["method"], "server/discover");
    probed.send({{"jsonrpc", "2.0"}, {"id", probe["id"]}, {"error", {{"code", -32601}, {"message", "no"}}}});
    EXPECT_TRUE(wait_told<link::InstanceRelease>());
    return start_process("s");
  }

 protected:
  link::ServerMode mode_;
};

class EitherMode : public ModernHub, public testing::WithParamInterface<link::ServerMode> {
 public:
  EitherMode() : ModernHub(GetParam()) {}
};

}  // namespace hal::hub::test
