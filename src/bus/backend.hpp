#pragma once

#include "base/latency.hpp"
#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "image/catalog.hpp"
#include "server/supervisor.hpp"
#include "worker/runtime.hpp"

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/** What the D-Bus interfaces show and do that is neither worker::Registry nor worker::Parent; the daemon implements it.
 */
namespace hal::bus {

/** An open session of a worker with an MCP server. */
struct SessionStatistics {
  std::string session;
  std::string worker;
  std::uint32_t owner = 0;
  std::uint64_t requests = 0;
  std::uint64_t calls = 0;
  std::uint64_t refused = 0;
  std::uint64_t errors = 0;
  std::uint64_t received_bytes = 0;
  std::uint64_t sent_bytes = 0;
  Latency latency;
};

/** What the gateway knows of an MCP server. */
struct ServerStatistics {
  std::uint64_t sessions = 0;
  std::uint64_t requests = 0;
  std::uint64_t errors = 0;
  std::string protocol_version;
  /** JSON text, empty before the first session. */
  std::string server_info;
  std::uint64_t calls = 0;
  std::uint64_t refused = 0;
  std::uint64_t received_bytes = 0;
  std::uint64_t sent_bytes = 0;
  Latency latency;
  std::vector<SessionStatistics> session_list;
};

/** Who reads a server's live traffic, and how much of it. */
struct TraceRequest {
  uid_t reader = 0;
  /** Sessions of all workers; else only of the reader's. */
  bool all = false;
  /** Id of the only worker whose sessions are wanted; empty: any. */
  std::string worker;
  bool payloads = false;
};

/** The MCP servers: server::Supervisor and the gateway together. Calls answer by their Done, never from inside. */
class ServerControl {
 public:
  virtual ~ServerControl() = default;
  [[nodiscard]] virtual const server::Server* find(std::string_view name) const = 0;
  [[nodiscard]] virtual std::vector<const server::Server*> all() const = 0;
  [[nodiscard]] virtual ServerStatistics statistics(std::string_view name) const = 0;

  virtual void start(std::string_view name, Done<void> done) = 0;
  virtual void stop(std::string_view name, Done<void> done) = 0;
  virtual void restart(std::string_view name, Done<void> done) = 0;
  /** One MCP request; `params` is JSON text that nobody has looked at yet, or empty. */
  virtual void call(std::string_view name, std::string method, std::string params, Done<std::string> done) = 0;
  /** The read end of a pipe with a line a message. Errc::denied: the worker is another's. */
  virtual void trace(std::string_view name, TraceRequest request, Done<UniqueFd> done) = 0;
};

struct EngineStatus {
  bool available = false;
  /** Why it is not. */
  std::string reason;
  /** Of the connection that stands. */
  worker::EngineInfo info;
};

/** The daemon as a whole. */
class DaemonControl {
 public:
  virtual ~DaemonControl() = default;
  [[nodiscard]] virtual std::string version() const = 0;
  /** "starting", "running", "degraded" or "stopping" */
  [[nodiscard]] virtual std::string state() const = 0;
  [[nodiscard]] virtual EngineStatus engine() const = 0;
  /** Constant. */
  [[nodiscard]] virtual std::vector<std::string> features() const = 0;

  virtual void reload(Done<void> done) = 0;

  /** How far something is, from 0 to 1, and what it is doing, for people. */
  using Progress = std::function<void(double fraction, std::string message)>;
  /** Stops all workers. Destroying the handle gives up what is not done; neither callback comes after it. */
  [[nodiscard]] virtual worker::OperationHandle stop_all(std::chrono::milliseconds timeout, Progress progress,
                                                         Done<void> done) = 0;
};

/** What became of a server that was to be added, or what would become of it. */
struct ServerChange {
  std::string name;
  /** "added", "replaced", "same" or "refused" */
  std::string change;
  /** What differs, where the same stands, or why it is refused. */
  std::string detail;
};

struct AddOptions {
  /** Servers that were added before and differ. */
  bool replace = false;
  bool dry_run = false;
};

/** An MCP server to be installed from a registry of packages. What is not set stays as an earlier installation has it.
 */
struct InstallRequest {
  std::string name;
  std::string package;
  std::optional<std::vector<std::string>> args;
  std::optional<std::map<std::string, std::string>> env;
  std::string mode;
  std::string bin;
  bool scripts = false;
  bool replace = false;
};

/** Changes which MCP servers there are. */
class ServerEditor {
 public:
  virtual ~ServerEditor() = default;
  /** `servers` is JSON text that nobody has looked at yet. All of them, or none. */
  virtual void add(std::string servers, AddOptions options, Done<std::vector<ServerChange>> done) = 0;
  /** And what was installed for it. */
  virtual void remove(const std::string& name, Done<void> done) = 0;
  /** Why it cannot even begin. */
  [[nodiscard]] virtual Result<void> may_install(const InstallRequest& request) const = 0;
  /** Destroying the handle undoes what is not done. */
  [[nodiscard]] virtual worker::OperationHandle install(InstallRequest request, DaemonControl::Progress progress,
                                                        Done<void> done) = 0;
};

/** Images to be built; without names those that the parent and the default profile are made from. */
struct BuildRequest {
  std::vector<std::string> names;
  /** Also where they are current: with the packages' present versions. */
  bool refresh = false;
};

/** The images of parent and workers. */
class ImageControl {
 public:
  virtual ~ImageControl() = default;
  virtual void list(Done<std::vector<image::Image>> done) = 0;
  /** Why no job can begin now, or not with these names. */
  [[nodiscard]] virtual Result<void> may_begin(const std::vector<std::string>& names) const = 0;
  /** Destroying the handle gives it up; no image is left half made. */
  [[nodiscard]] virtual worker::OperationHandle build(BuildRequest request, DaemonControl::Progress progress,
                                                      Done<void> done) = 0;
  /** `archive`: a file of `docker save`, which nobody has looked at yet. */
  [[nodiscard]] virtual worker::OperationHandle load(UniqueFd archive, DaemonControl::Progress progress,
                                                     Done<void> done) = 0;
};

}  // namespace hal::bus
