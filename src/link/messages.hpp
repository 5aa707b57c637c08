#pragma once

#include "base/result.hpp"
#include "base/strong_id.hpp"
#include "base/unique_fd.hpp"
#include "io/message_channel.hpp"
#include "link/traffic.hpp"
#include "policy/tools.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

/**
 * What hal9000d and hal9000-gateway say to each other: one JSON object a datagram, {"kind":"worker_add",…}, with file
 * descriptors beside it. Decoding is strict: an unknown kind or key, a wrong type or a wrong number of descriptors is
 * Errc::protocol and closes the link, for both ends are installed together.
 *
 * Order of a connection: the gateway sends Hello with all it has, the daemon answers with its own Hello and then with
 * everything the gateway should have but does not (and the removal of what it should not). Both ends may then say
 * anything at any time.
 */
namespace hal::link {

/** Raised with every change of these messages. */
inline constexpr std::uint64_t protocol_version = 6;

/** Names one relay session for its life; random, unguessable. */
using SessionId = StrongId<struct SessionTag, std::string>;

enum class ServerMode { shared, session };

/** What the audit line of a tools/call tells of its arguments; or no line at all. */
enum class Audit { hash, arguments, off };

// both ways

/** Daemon: first message after the gateway's. */
struct DaemonHello {
  std::uint64_t version = protocol_version;
};

/** A server's process the gateway holds the stdio of. */
struct HeldInstance {
  std::string server;
  InstanceId instance;
  /** As in InstanceAttach. */
  std::optional<SessionId> session = std::nullopt;
};

/** Gateway: first message of every connection, so that a restarted daemon knows what lives. */
struct GatewayHello {
  std::uint64_t version = protocol_version;
  std::vector<WorkerId> workers;
  std::vector<HeldInstance> instances;
  /** Of each HttpListen it serves. */
  std::vector<std::string> http_networks;
};

// daemon -> gateway

/** What a worker may do with the servers whose name fits the pattern. */
struct WorkerTools {
  std::string server;
  policy::ToolRules rules;
};

/**
 * A worker's listening SOCK_STREAM socket, its token, and what may be used with either. A known id: the lists
 * of servers and tools are replaced.
 */
struct WorkerAdd {
  WorkerId id;
  std::uint32_t owner = 0;
  std::vector<std::string> servers;
  /** Unset only for a worker the gateway has already. */
  UniqueFd listener;
  /** Its bearer token for MCP over HTTP, "ID." and a secret; empty: none, or the one the gateway has already. */
  std::string token;
  /** A call must pass all that fit its server, and the server's own. */
  std::vector<WorkerTools> tools;
};

/** One more place where MCP over HTTP is served; in a known network, in place of the socket before. */
struct HttpListen {
  /** Names the network namespace. */
  std::string network;
  UniqueFd listener;
  /** Whose network it is, and nobody else's; empty: all workers of a parent share one loopback. */
  WorkerId worker = {};
};

/** Nobody is left in the network. */
struct HttpClose {
  std::string network;
};

/** Closes the worker's socket and all its sessions. */
struct WorkerRemove {
  WorkerId id;
};

/** Defines a server or changes its limits; a changed mode ends its sessions. */
struct ServerSet {
  std::string name;
  ServerMode mode = ServerMode::shared;
  std::uint64_t max_sessions = 0;        ///< 0: no bound of its own
  std::uint64_t max_requests = 0;        ///< in flight at the server in all sessions; 0: no bound of its own
  std::uint64_t request_timeout_ms = 0;  ///< 0: requests wait as long as their client does
  std::uint64_t idle_timeout_ms = 0;     ///< mode shared: a process unused for so long is released; 0: never
  policy::ToolRules tools;               ///< for all who use it
  Audit audit = Audit::hash;
  /** Another text: another program, or the same one started otherwise. */
  std::string configuration;
};

/** Forgets a server; its sessions end with an error. */
struct ServerRemove {
  std::string name;
};

/** A server's process is running; the gateway owns its stdio from now on. */
struct InstanceAttach {
  std::string server;
  InstanceId instance;
  /** Whom it is for, as asked by InstanceRequest; unset for the one process of a shared server. */
  std::optional<SessionId> session;
  UniqueFd to_server;    ///< the write end of its stdin
  UniqueFd from_server;  ///< the read end of its stdout
};

/** A server's process has ended. */
struct InstanceGone {
  std::string server;
  InstanceId instance;
  /** For people: "exited with code 3; last stderr: …" */
  std::string reason;
};

/** An InstanceRequest cannot be fulfilled now; whoever waits for this server is answered with the reason. */
struct ServerUnavailable {
  std::string server;
  std::optional<SessionId> session;
  std::string reason;
  /** When asking again makes sense; unset: when the operator has done something. */
  std::optional<std::uint64_t> retry_in_ms;
};

/** One request of the daemon itself (Server1.Call). Answered by CallResult with the same id. */
struct Call {
  std::uint64_t id = 0;
  std::string server;
  std::string method;
  /** JSON text of an object, or empty for none. */
  std::string params;
};

/** Somebody reads a server's traffic. Answered by CallResult with the same id; ends with the link. */
struct Trace {
  std::uint64_t id = 0;
  std::string server;
  /** The reader, as the bus knows them. */
  std::uint32_t owner = 0;
  /** Of all sessions; else only of those of the owner's workers. */
  bool all = false;
  /** Of this worker's sessions only; empty: of any. */
  std::string worker;
  bool payloads = false;
  /** The write end of a pipe. */
  UniqueFd pipe;
};

// gateway -> daemon

/** Someone wants to talk to this server and it has no process: answered by InstanceAttach or ServerUnavailable. */
struct InstanceRequest {
  std::string server;
  /** Of a shared server: a second process, for clients of another revision than the first one speaks. */
  std::optional<SessionId> session;
};

/** The gateway has closed the stdio of this process and wants it ended. */
struct InstanceRelease {
  std::string server;
  InstanceId instance;
};

struct SessionReport {
  /** The first digits of its id: enough to tell it apart, too few to be it. */
  std::string session;
  /** Empty: a call of the daemon's own. */
  std::string worker;
  std::uint32_t owner = 0;
  Traffic traffic;
};

/** What Server1 shows; sent when changed, at most once a second a server. */
struct ServerReport {
  std::string name;
  Traffic traffic;
  /** That are open now. */
  std::vector<SessionReport> sessions;
  std::string protocol_version;
  /** JSON text of serverInfo, empty before the first handshake. */
  std::string server_info;
  /** CLOCK_REALTIME, microseconds; 0 for never. */
  std::uint64_t last_activity_usec = 0;
};

struct WorkerReport {
  WorkerId id;
  std::uint64_t sessions = 0;
  std::uint64_t last_activity_usec = 0;
};

/** The answer to a Call: JSON text of the result, or the error as a sentence; to a Trace: nothing, or the error. */
struct CallResult {
  std::uint64_t id = 0;
  Result<std::string> result = Error{Errc::internal, "unset"};
};

using ToGateway = std::variant<DaemonHello, WorkerAdd, WorkerRemove, HttpListen, HttpClose, ServerSet, ServerRemove,
                               InstanceAttach, InstanceGone, ServerUnavailable, Call, Trace>;
using ToDaemon = std::variant<GatewayHello, InstanceRequest, InstanceRelease, ServerReport, WorkerReport, CallResult>;

/** Text of a Call's params or result, at most; D-Bus carries no more in comfort. */
inline constexpr std::size_t max_call_bytes = std::size_t{16} << 20;

/** JSON text of one message, at most: max_call_bytes, escaped as JSON text in JSON text is, and the rest. */
inline constexpr std::size_t max_message_bytes = 3 * max_call_bytes;

/**
 * A datagram. What does not fit in one (large params, results, hellos) travels in a sealed memory file beside it.
 * Errc::limit: more than the other end would take.
 */
[[nodiscard]] Result<io::Message> encode(ToGateway message);
[[nodiscard]] Result<io::Message> encode(ToDaemon message);
[[nodiscard]] Result<ToGateway> decode_to_gateway(io::Message message);
[[nodiscard]] Result<ToDaemon> decode_to_daemon(io::Message message);

}  // namespace hal::link
