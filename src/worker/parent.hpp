#pragma once

#include "base/result.hpp"
#include "event/sources.hpp"
#include "worker/runtime.hpp"

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace hal::worker {

/**
 * The parent: the container that holds the workers' network namespace, and ChromaDB in a second container beside it.
 * Finds both by their labels after a start, makes what is missing, restarts what dies (with backoff), and asks
 * ChromaDB's heartbeat whether it is well.
 */
class Parent {
 public:
  enum class State { absent, starting, running, degraded };

  class Listener {
   public:
    virtual ~Listener() = default;
    /** Any of the values below changed. */
    virtual void on_parent_changed() = 0;
    /** A namespace holder runs that workers can join; false: there is none now. */
    virtual void on_namespace(bool available) = 0;
  };

  virtual ~Parent() = default;
  [[nodiscard]] virtual State state() const = 0;
  /** Why it is not running, or empty. */
  [[nodiscard]] virtual const std::string& reason() const = 0;
  [[nodiscard]] virtual const ContainerId& container() const = 0;
  /** Of the namespace holder, on the host; 0 if none runs. Its network namespace is /proc/PID/ns/net. */
  [[nodiscard]] virtual pid_t pid() const = 0;
  [[nodiscard]] virtual const ContainerId& chroma_container() const = 0;
  /** "starting", "healthy", "unhealthy", "absent" */
  [[nodiscard]] virtual std::string_view chroma_health() const = 0;
  /** Stops and starts ChromaDB; the namespace stays. */
  virtual void restart_chroma(Done<void> done) = 0;
};

/** The state's name on D-Bus. */
[[nodiscard]] std::string_view name(Parent::State state);

}  // namespace hal::worker
