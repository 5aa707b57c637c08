#pragma once

#include "base/result.hpp"
#include "base/strong_id.hpp"
#include "base/unique_fd.hpp"

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

/** What the worker folder needs of a container engine; `engine` implements it over the Docker Engine API. */
namespace hal::worker {

/** Everything a container is made from. The engine adds nothing but its own defaults (seccomp, masked paths). */
struct ContainerSpec {
  std::string name;
  std::string image;
  std::map<std::string, std::string> labels;
  /** "NAME=value" */
  std::vector<std::string> env;
  /** Empty: the image's. */
  std::vector<std::string> entrypoint;
  std::vector<std::string> command;
  /** "UID:GID"; empty: the image's. */
  std::string user;
  std::string hostname;
  std::string working_dir;
  /** Its part of hal9000.slice, whose limits bind all that is in it: "worker", "parent". Empty: the engine's own. */
  std::string slice;
  /** "none", "bridge", "container:ID" */
  std::string network;
  /** Bytes; swap is off. 0: unlimited. */
  std::uint64_t memory_bytes = 0;
  /** Billionths of a CPU. 0: unlimited. */
  std::uint64_t nano_cpus = 0;
  /** Processes and threads. 0: unlimited. */
  std::uint64_t pids = 0;
  bool read_only_root = true;
  /** Target path to mount options, e.g. {"/tmp", "rw,nosuid,nodev,mode=1777,size=512m"}. */
  std::map<std::string, std::string> tmpfs;
  struct Bind {
    std::string source;
    std::string target;
    bool read_only = true;
  };
  std::vector<Bind> binds;
  std::chrono::seconds stop_timeout{10};
  /** The engine's log of the container: at most this much is kept. */
  std::uint64_t log_bytes = std::uint64_t{10} << 20;
};

enum class ContainerStatus { created, running, paused, exited, dead };

/** A container as the engine describes it. */
struct ContainerInfo {
  ContainerId id;
  std::string name;
  std::string image;
  std::map<std::string, std::string> labels;
  ContainerStatus status = ContainerStatus::created;
  /** Of its PID 1 in the host's PID namespace; 0 unless running or paused. */
  pid_t pid = 0;
  /** Meaningful once it has ended. */
  int exit_code = 0;
  bool oom_killed = false;
  /** The image's own health check fails; false where it has none. */
  bool unhealthy = false;
  std::uint64_t memory_bytes = 0;
  std::uint64_t nano_cpus = 0;
  std::uint64_t pids = 0;
};

/** Something that happened to one of our containers. */
struct ContainerEvent {
  enum class Kind { created, started, died, out_of_memory, removed, paused, resumed, health };
  Kind kind;
  ContainerId id;
  std::map<std::string, std::string> labels;
  /** For died. */
  int exit_code = 0;
};

/** What the engine says of itself once a connection stands. */
struct EngineInfo {
  std::string version;
  std::string api_version;
  std::string cgroup_driver;
  int cgroup_version = 0;
  std::string storage_driver;
};

/** An image as the engine describes it. */
struct ImageInfo {
  /** "sha256:…" */
  std::string id;
  std::map<std::string, std::string> labels;
  std::uint64_t size_bytes = 0;
};

/** What is used at this moment; absent controllers give 0. */
struct ContainerUsage {
  std::uint64_t memory_bytes = 0;
  /** Of these, what the kernel can take back at once: copies of files. */
  std::uint64_t file_bytes = 0;
  std::uint64_t cpu_nanoseconds = 0;
  std::uint64_t pids = 0;
};

struct LogOptions {
  bool follow = false;
  /** Lines from the end; nothing: all. */
  std::optional<std::uint32_t> tail;
  bool timestamps = false;
};

/** Limits to change while running; what is unset stays. */
struct LimitChange {
  std::optional<std::uint64_t> memory_bytes;
  std::optional<std::uint64_t> nano_cpus;
  std::optional<std::uint64_t> pids;
};

/** Keeps an asynchronous call going; its destruction cancels the call, whose completion then never comes. */
class Operation {
 public:
  virtual ~Operation() = default;
};
using OperationHandle = std::unique_ptr<Operation>;

/**
 * The engine. All calls are asynchronous and answer by their Done, also with Errc::unavailable while there is no
 * connection. Calls run until their handle is destroyed; the ones without a handle run to their end (which has a
 * deadline) as long as the runtime lives.
 */
class Runtime {
 public:
  /** Told about the engine's coming and going and about the containers that carry our instance label. */
  class Listener {
   public:
    virtual ~Listener() = default;
    /** The connection stands and events flow; list() now gives the truth. Called again after each reconnect. */
    virtual void on_engine_up(const EngineInfo& info) = 0;
    virtual void on_engine_down(const Error& reason) = 0;
    /** Events are hints: some may be lost or come twice over a reconnect. */
    virtual void on_container_event(const ContainerEvent& event) = 0;
    /** A hint that some image was built, pulled, tagged or removed. */
    virtual void on_image_event() {}
  };

  virtual ~Runtime() = default;

  virtual void set_listener(Listener* listener) = 0;
  [[nodiscard]] virtual bool up() const = 0;
  [[nodiscard]] virtual const EngineInfo& info() const = 0;

  /** All containers, running or not, that carry every one of these labels. */
  virtual void list(std::vector<std::pair<std::string, std::string>> labels, Done<std::vector<ContainerInfo>> done) = 0;
  virtual void inspect(const ContainerId& id, Done<ContainerInfo> done) = 0;
  /** Errc::not_found names the image where that is what is missing. A name in use is Errc::already_exists. */
  virtual void create(const ContainerSpec& spec, Done<ContainerId> done) = 0;
  /** Starting a running container succeeds. */
  virtual void start(const ContainerId& id, Done<void> done) = 0;
  /** SIGTERM, then SIGKILL after `timeout`. Answers when it has ended; stopping a stopped container succeeds. */
  virtual void stop(const ContainerId& id, std::chrono::seconds timeout, Done<void> done) = 0;
  /** `signal` by name ("SIGKILL") or number. */
  virtual void kill(const ContainerId& id, const std::string& signal, Done<void> done) = 0;
  /** With force: kills it first. Removing what is gone succeeds. */
  virtual void remove(const ContainerId& id, bool force, Done<void> done) = 0;
  virtual void pause(const ContainerId& id, Done<void> done) = 0;
  virtual void resume(const ContainerId& id, Done<void> done) = 0;
  virtual void update(const ContainerId& id, const LimitChange& change, Done<void> done) = 0;
  virtual void usage(const ContainerId& id, Done<ContainerUsage> done) = 0;
  /** By its name; Errc::not_found if the engine does not have it. */
  virtual void inspect_image(const std::string& image, Done<ImageInfo> done) = 0;

  /**
   * Streams the container's output into `sink` (a pipe or socket, made non-blocking) with back-pressure; closes it at
   * the end, when nobody reads it any more, or when the handle is destroyed.
   */
  [[nodiscard]] virtual OperationHandle logs(const ContainerId& id, const LogOptions& options, UniqueFd sink,
                                             Done<void> done) = 0;
};

}  // namespace hal::worker
