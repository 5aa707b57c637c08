#pragma once

#include "base/alive.hpp"
#include "event/sources.hpp"
#include "worker/registry.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <vector>

namespace hal::worker {

/** A worker that is to be made anew in the network of the parent as it is now. */
struct Stranded {
  WorkerId id;
  /** Somebody wants it as it is. */
  bool paused = false;
  /** A client has a terminal or a program in it. */
  bool in_use = false;
  /** It was being made anew when a daemon ended, and does not run. */
  bool interrupted = false;
};

/**
 * Workers follow a parent that was replaced: processes cannot change their network, so each worker is made anew with
 * its project and command, which ends what runs in it. One at a time: those first with which nothing happens, the
 * others when that is so of them, all of them within a time. A paused one follows after it was resumed.
 *
 * Looks again and again only while there are such workers.
 */
class Follower {
 public:
  struct Times {
    std::chrono::milliseconds look{2'000};
    /** No terminal and no program of a client, no use of MCP, less CPU time than a hundredth, for so long. */
    std::chrono::milliseconds quiet{10'000};
    /** At the latest. */
    std::chrono::milliseconds grace{600'000};
  };
  struct Parts {
    event::Loop& loop;
    Registry& registry;
    std::function<std::vector<Stranded>()> stranded;
    /** There is an engine, and a parent to follow. */
    std::function<bool()> possible;
    Times times = {};
  };

  explicit Follower(Parts parts);

  /** A parent was replaced, or what is needed to follow one is there (again). */
  void look();
  void on_worker_changed(const WorkerId& id);

 private:
  using Time = std::chrono::steady_clock::time_point;
  /** Of a worker that waits. */
  struct Watch {
    Time since;
    Time quiet_since;
    Time looked;
    std::uint64_t cpu_nanoseconds = 0;
    std::uint64_t activity_usec = 0;
  };
  /** Of a worker that could not be made anew, and does not run now. */
  struct Failure {
    unsigned attempts = 0;
    Time next;
  };

  /** Whether it is time. */
  bool watch(const Stranded& worker, Time now);
  void follow(const WorkerId& id);
  void followed(const WorkerId& id, const Result<void>& result);

  Parts parts_;
  std::map<WorkerId, Watch> watches_;
  std::map<WorkerId, Failure> failures_;
  std::set<WorkerId> paused_;
  bool following_ = false;
  event::Timer again_;
  Alive alive_;
};

}  // namespace hal::worker
