#pragma once

#include "base/alive.hpp"
#include "event/sources.hpp"
#include "worker/parent.hpp"
#include "worker/settings.hpp"

#include <sys/types.h>

#include <functional>
#include <string>

namespace hal::worker {

/** The parent over a real runtime. One step at a time: each answer of the engine decides the next. */
class LiveParent final : public Parent {
 public:
  /** Asks ChromaDB's heartbeat in the network namespace of this process. Has a deadline of its own. */
  using Heartbeat = std::function<void(pid_t holder, Done<void> done)>;

  /** `in_use`: a worker runs that may want ChromaDB. */
  LiveParent(event::Loop& loop, Runtime& runtime, const Settings& settings, Heartbeat heartbeat,
             std::function<bool()> in_use);

  void set_listener(Listener* listener) { listener_ = listener; }

  /** The engine is there (again). Answers when the namespace holder runs or could not be made. */
  void reconcile(Done<void> done);
  void on_engine_down();
  /** Something that may have been missing is there: what waits to be tried again is tried now. */
  void retry_now();
  void on_container_event(const ContainerEvent& event);
  /** What `in_use` says may be another now. */
  void on_use();

  [[nodiscard]] State state() const override { return state_; }
  [[nodiscard]] const std::string& reason() const override { return reason_; }
  [[nodiscard]] const ContainerId& container() const override { return holder_; }
  [[nodiscard]] pid_t pid() const override { return pid_; }
  [[nodiscard]] const ContainerId& chroma_container() const override { return chroma_; }
  [[nodiscard]] std::string_view chroma_health() const override;
  void restart_chroma(Done<void> done) override;

 private:
  enum class Health { absent, starting, healthy, unhealthy };

  void find_holder(Done<void> done);
  void make_holder(Done<void> done);
  void start_holder(const ContainerId& id, Done<void> done);
  void take_holder(const ContainerInfo& info);
  void find_chroma();
  void make_chroma();
  void start_chroma(const ContainerId& id);
  void replace_chroma(const std::string& why);
  void beat();
  void on_beat(const Result<void>& answer);
  void set(State state, std::string reason);
  void set_health(Health health, std::string reason);
  void retry(const std::string& what, const Error& error);
  void remove_surplus(const std::vector<ContainerInfo>& containers, const ContainerId& keep);

  Runtime& runtime_;
  const Settings& settings_;
  Heartbeat heartbeat_;
  std::function<bool()> in_use_;
  Listener* listener_ = nullptr;
  State state_ = State::absent;
  std::string reason_ = "the container engine has not been asked yet";
  ContainerId holder_;
  pid_t pid_ = 0;
  ContainerId chroma_;
  Health health_ = Health::absent;
  int missed_beats_ = 0;
  bool asking_ = false;
  bool busy_ = false;
  std::chrono::milliseconds retry_delay_;
  event::Timer retry_;
  event::Timer beat_;
  Alive alive_;
};

}  // namespace hal::worker
