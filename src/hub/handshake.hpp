#pragma once

#include "base/result.hpp"

#include <string>
#include <string_view>
#include <vector>

/** The handshake of the Model Context Protocol, once with the server and once with each client. */
namespace hal::hub {

/** The newest revision we offer a server. */
inline constexpr std::string_view newest_revision = "2025-11-25";

/** What a client said in `initialize`. */
struct ClientHello {
  std::string revision;
  /** JSON text of capabilities. */
  std::string capabilities;
  bool roots = false;
  bool sampling = false;
  bool elicitation = false;
};
[[nodiscard]] Result<ClientHello> read_client_hello(std::string_view params);

/**
 * Our own `initialize` params for the server: the union of what the present clients can be asked, and nothing that no
 * client has.
 */
[[nodiscard]] std::string server_hello_params(const std::vector<ClientHello>& clients);

/** A server's InitializeResult, kept for every client of its process. */
struct ServerHello {
  std::string revision;
  /** JSON text of the whole result, without what we do not carry (tasks). */
  std::string result;
  /** JSON text of serverInfo. */
  std::string server_info;
  bool logging = false;
  bool tools_list_changed = false;
  bool resources_list_changed = false;
  bool prompts_list_changed = false;
};
[[nodiscard]] Result<ServerHello> read_server_hello(std::string_view result);

/** The result for one client: its own revision where that is older than the server's, else the server's. */
[[nodiscard]] std::string result_for(const ServerHello& server, std::string_view client_revision);

/** The rank of a level of RFC 5424 as MCP spells it, debug 0 to emergency 7; an error for another text. */
[[nodiscard]] Result<int> log_level_rank(std::string_view level);
[[nodiscard]] std::string_view log_level_name(int rank);
/** params.level, ranked. */
[[nodiscard]] Result<int> read_log_level(std::string_view params);

}  // namespace hal::hub
