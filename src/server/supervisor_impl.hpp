#pragma once

#include "event/sources.hpp"
#include "server/announcer.hpp"
#include "server/supervisor.hpp"

#include <sys/types.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace hal::server {

/** A network namespace's identity: device and inode of its file. */
using NamespaceId = std::pair<dev_t, ino_t>;

/** The supervisor's state and steps; supervisor.cpp has the public calls, this the life of servers and processes. */
class Supervisor::Impl : public std::enable_shared_from_this<Impl>, private Launcher::Listener {
 public:
  Impl(event::Loop& loop, Launcher& launcher, Supervisor::Listener& listener, Options options);
  ~Impl() override;

  void apply(std::vector<ServerConfig> configs);
  void reconcile(std::vector<HeldInstance> held);
  void disconnected();
  void set_network_namespace(UniqueFd network_namespace);
  void start(std::string_view name, Done<void> done);
  void stop(std::string_view name, Done<void> done);
  void restart(std::string_view name, Done<void> done);
  void request(const std::string& name, const std::optional<std::string>& session);
  void release(const std::string& name, InstanceId instance);
  void stop_all(Done<void> done);
  [[nodiscard]] const Server* find(std::string_view name) const;
  [[nodiscard]] std::vector<const Server*> all() const;

 private:
  enum class Phase { starting, running, stopping };

  struct Instance {
    Phase phase = Phase::starting;
    std::optional<std::string> session;
    /** The gateway has its stdio, or will have it with what is announced already. */
    bool announced = false;
    pid_t pid = 0;
    std::string unit;
    std::optional<NamespaceId> network;
    std::chrono::steady_clock::time_point started{};
  };

  struct Entry {
    explicit Entry(BackoffPolicy policy) : backoff(policy), second_backoff(policy) {}
    Server server;
    /** Not stopped by the operator. */
    bool wanted = true;
    /** Given up: a crash loop. */
    bool failed = false;
    /** The next start is one after a failure. */
    bool after_failure = false;
    /** Mode shared: the gateway waits for it. */
    bool requested = false;
    std::string failure;
    Backoff backoff;
    std::unique_ptr<event::Timer> retry;
    std::chrono::steady_clock::time_point retry_at{};
    std::map<InstanceId, Instance> instances;
    /** Of the second process of a shared server, which is nobody's business but who asked for it. */
    Backoff second_backoff;
    std::chrono::steady_clock::time_point second_retry_at{};
    std::vector<Done<void>> start_waiters;
    std::vector<Done<void>> stop_waiters;
  };
  using Entries = std::map<std::string, Entry, std::less<>>;

  // Servers.
  void add(ServerConfig config);
  void change(Entry& entry, ServerConfig config);
  Entries::iterator remove(Entries::iterator entry);
  /** Starts what should run and does not; works out the state that is shown. */
  void ensure(Entry& entry);
  void ensure_all();
  /** Whether it may do without a process until somebody asks for one. */
  [[nodiscard]] static bool is_idle(const Entry& entry);
  void forget_failures(Entry& entry);
  void refresh(Entry& entry);
  [[nodiscard]] std::pair<State, std::string> state_of(const Entry& entry) const;
  /** Why a process of it cannot be started at this moment although it should; empty if it can. */
  [[nodiscard]] std::string hindrance(const Entry& entry) const;
  [[nodiscard]] static bool has_live_instance(const Entry& entry);
  /** Whether this is the second process of a shared server. */
  [[nodiscard]] static bool is_second(const Entry& entry, const Instance& instance);
  /** The one process of a shared server, the second not counted, or null. */
  [[nodiscard]] static const Instance* first_of(const Entry& entry);

  // Processes.
  void launch(Entry& entry, std::optional<std::string> session);
  void on_launched(const std::string& name, InstanceId id, Result<Launched> launched);
  void on_instance_exit(InstanceId id, const InstanceExit& exit) override;
  void hand_over(Entry& entry, InstanceId id, Launched launched);
  /** A process is gone from `entry`: whatever follows. */
  void on_ended(Entry& entry);
  void end(Entry& entry, InstanceId id, const std::string& reason);
  void end_all(Entry& entry, const std::string& reason);
  /** A start failed or a process ended by itself. */
  void failed(Entry& entry, const std::string& reason, std::chrono::steady_clock::duration ran,
              const std::optional<std::string>& session);
  void request_second(Entry& entry, const std::string& session);
  void second_failed(Entry& entry, const std::string& reason, std::chrono::steady_clock::duration ran,
                     const std::string& session);
  void tell_gone(const std::string& name, InstanceId id, const std::string& reason);
  void tell_unavailable(const std::string& name, const std::optional<std::string>& session, const std::string& reason,
                        std::optional<std::chrono::milliseconds> retry_in);
  [[nodiscard]] std::size_t instance_count() const;

  // Adoption.
  void adopt(Result<std::vector<Survivor>> survivors);
  void match(const std::vector<HeldInstance>& held);

  // Answers.
  void answer(Done<void> done, Result<void> result);
  void answer_all(std::vector<Done<void>>& waiters, const Result<void>& result);
  [[nodiscard]] Entry* entry_of(std::string_view name);
  void finish_stop_all();

  event::Loop& loop_;
  Launcher& launcher_;
  Options options_;
  Announcer announcer_;
  Entries entries_;
  /** Processes that are to end and belong to no server any more. */
  std::set<InstanceId> leaving_;
  UniqueFd network_;
  std::optional<NamespaceId> network_id_;
  bool connected_ = false;
  /** Whether the launcher has been asked for what an earlier daemon left, and has answered. */
  enum class Adoption { open, asked, done } adoption_ = Adoption::open;
  /** The latest word of the gateway, while the launcher is being asked. */
  std::vector<HeldInstance> held_meanwhile_;
  /** And what it has asked for in this time. */
  std::vector<std::pair<std::string, std::optional<std::string>>> requests_meanwhile_;
  bool stopping_ = false;
  std::vector<Done<void>> stop_all_waiters_;
};

/** Of an open namespace file, or of a process; nothing if it cannot be read. */
[[nodiscard]] std::optional<NamespaceId> namespace_id(int fd);
[[nodiscard]] std::optional<NamespaceId> network_namespace_of(pid_t pid);

}  // namespace hal::server
