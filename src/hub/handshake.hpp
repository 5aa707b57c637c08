#pragma once

#include "base/result.hpp"

#include <string>
#include <string_view>
#include <vector>

/** The handshake of the Model Context Protocol, once with the server and once with each client. */
namespace hal::hub {

/** The newest revision we offer a server. */
inline constexpr std::string_view newest_revision = "2025-11-25";
/** The first one with tasks. */
inline constexpr std::string_view tasks_revision = "2025-11-25";

/** What a client said in `initialize`. */
struct ClientHello {
  std::string revision;
  /** JSON text of capabilities. */
  std::string capabilities;
  /** JSON text of clientInfo, or empty. */
  std::string client_info;
  bool roots = false;
  bool sampling = false;
  bool sampling_tools = false;
  /** Elicitation by a form, which is what the bare capability means, and by a page to visit. */
  bool elicitation_form = false;
  bool elicitation_url = false;

  template <class Archive>
  void keep(Archive& archive) {
    archive(revision, capabilities, client_info, roots, sampling, sampling_tools, elicitation_form, elicitation_url);
  }
};
[[nodiscard]] Result<ClientHello> read_client_hello(std::string_view params);

/** Whether a client with these capabilities may be asked this by a server. What we do not know it may be asked. */
[[nodiscard]] bool may_be_asked(const ClientHello& client, std::string_view method, std::string_view params);

/**
 * Our own `initialize` params for the server: the union of what the present clients can be asked, and nothing that no
 * client has.
 */
[[nodiscard]] std::string server_hello_params(const std::vector<ClientHello>& clients);

/** A server's InitializeResult, kept for every client of its process. */
struct ServerHello {
  std::string revision;
  /** JSON text of the whole result. */
  std::string result;
  /** JSON text of serverInfo. */
  std::string server_info;
  bool logging = false;
  bool tasks = false;
  bool tasks_cancel = false;
  bool tools_list_changed = false;
  bool resources_list_changed = false;
  bool prompts_list_changed = false;

  template <class Archive>
  void keep(Archive& archive) {
    archive(revision, result, server_info, logging, tasks, tasks_cancel, tools_list_changed, resources_list_changed,
            prompts_list_changed);
  }
};
[[nodiscard]] Result<ServerHello> read_server_hello(std::string_view result);

/** What a client gets: its own revision where that is older than the server's, else the server's. */
[[nodiscard]] std::string_view revision_for(const ServerHello& server, std::string_view client_revision);
/** The result for one client, in that revision and without capabilities that are younger. */
[[nodiscard]] std::string result_for(const ServerHello& server, std::string_view client_revision);

/** The only revision that has batches. */
inline constexpr std::string_view batch_revision = "2025-03-26";

/** The rank of a level of RFC 5424 as MCP spells it, debug 0 to emergency 7; an error for another text. */
[[nodiscard]] Result<int> log_level_rank(std::string_view level);
[[nodiscard]] std::string_view log_level_name(int rank);
/** params.level, ranked. */
[[nodiscard]] Result<int> read_log_level(std::string_view params);

}  // namespace hal::hub
