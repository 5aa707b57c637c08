#pragma once

#include "base/result.hpp"
#include "policy/tools.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/** MCP servers on the host as the operator describes them. */
namespace hal::server {

/** shared: one process for all sessions. session: one process for each. */
enum class Mode { shared, session };
[[nodiscard]] std::string_view name(Mode mode);

/** none: a namespace with nothing in it. parent: that of the workers, where ChromaDB is. host: the host's own. */
enum class Network { none, parent, host };
[[nodiscard]] std::string_view name(Network network);

/** What the audit line of a tools/call has of its arguments, or no line at all. */
enum class Audit { hash, arguments, off };

/** A server elsewhere. The process that stands for it here is hal9000-remote. */
struct RemoteServer {
  /** http: Streamable HTTP. sse: the HTTP+SSE transport of revision 2024-11-05. */
  enum class Transport { http, sse };

  std::string url;
  Transport transport = Transport::http;
  /** Values may name a credential instead of being one, see check_header_value(). */
  std::map<std::string, std::string> headers;
  /** How long a request may wait for its answer to begin, and then for each piece of it. */
  std::chrono::milliseconds timeout{600'000};
  /** A URL; empty: none. */
  std::string proxy;
  /** Where credentials are; they are read at each start of a process. Empty: there are none. */
  std::string credentials_directory;

  friend bool operator==(const RemoteServer&, const RemoteServer&) = default;
};

/** One server, every variable expanded. */
struct ServerConfig {
  std::string name;
  std::vector<std::string> argv;
  /** Set: argv is the program that stands for it. */
  std::optional<RemoteServer> remote;
  std::map<std::string, std::string> env;
  /** Empty: its state directory. */
  std::string cwd;
  /** The server's own folder, kept for ever; made before it starts. STATE_DIRECTORY in its environment. */
  std::string state_directory;
  Mode mode = Mode::shared;
  Network network = Network::host;
  /** Bytes; 0: unlimited. */
  std::uint64_t memory_max = 0;
  /** Processes and threads; 0: unlimited. */
  std::uint64_t tasks_max = 0;
  /** From the end of its stdin to SIGTERM, and again from SIGTERM to SIGKILL. */
  std::chrono::milliseconds stop_timeout{5000};
  /** Sessions at once; in mode session also processes. */
  std::uint64_t max_sessions = 64;
  /** Requests in flight at the server, of all sessions; 0: no bound of its own. */
  std::uint64_t max_requests = 0;
  /** 0: a request waits as long as its client does. */
  std::chrono::milliseconds request_timeout{0};
  /** Mode shared: a process nobody has used for so long is ended, and started when somebody does; 0: it always runs. */
  std::chrono::milliseconds idle_timeout{0};
  /** For all who use the server; workers may be allowed less. */
  policy::ToolRules tools;
  Audit audit = Audit::hash;
  /** What it was installed from ("npm:NAME@VERSION"), or empty. */
  std::string package;
  /** The file it stands in. */
  std::string file;

  friend bool operator==(const ServerConfig&, const ServerConfig&) = default;
};

/**
 * 16 hexadecimal digits of all that matters to a running process, so that one started with other settings is known.
 * Limits that the gateway or the supervisor keep do not count.
 */
[[nodiscard]] std::string fingerprint(const ServerConfig& config);

/** What the reader needs to know besides the files. */
struct ConfigOptions {
  /** state_directory is `state_root`/NAME. */
  std::string state_root;
  /** What ${NAME} stands for, besides STATE_DIRECTORY; the daemon's own environment is never looked at. */
  std::map<std::string, std::string> variables;
  /** hal9000-remote, and the credentials of the daemon. */
  std::string remote_program;
  std::string credentials_directory;
};

/** A server as it is written down. */
struct Definition {
  std::string file;
  /** Its object, as JSON text. */
  std::string object;
};

/** Servers and what the operator should know about how they were read, for the log. */
struct ServerConfigs {
  /** In name order. Disabled servers are left out. */
  std::vector<ServerConfig> servers;
  /** By name, disabled ones too. */
  std::map<std::string, Definition> definitions;
  std::vector<std::string> notes;
};

/** Servers in one file and in all files together. */
inline constexpr std::size_t max_servers = 256;
/** Of one file; a hundred servers with long environments need a tenth of it. */
inline constexpr std::size_t max_config_bytes = std::size_t{1} << 20;

/**
 * Reads the text of one file in the `mcpServers` format of .mcp.json. `file` is only for messages. Errors
 * (Errc::invalid_argument) name file, JSON path and problem.
 */
[[nodiscard]] Result<ServerConfigs> parse_servers(std::string_view text, std::string_view file,
                                                  const ConfigOptions& options);

/**
 * Reads `file` and then the *.json of `directory` in name order; what is read later replaces a server of the same name.
 * A missing file or directory is empty.
 */
[[nodiscard]] Result<ServerConfigs> read_servers(const std::string& file, const std::string& directory,
                                                 const ConfigOptions& options);

}  // namespace hal::server
