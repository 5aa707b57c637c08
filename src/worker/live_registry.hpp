#pragma once

#include "base/alive.hpp"
#include "worker/follower.hpp"
#include "worker/launch.hpp"
#include "worker/output_reader.hpp"
#include "worker/parent.hpp"
#include "worker/registry.hpp"
#include "worker/stock.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hal::worker {

struct End;

/**
 * The registry over a real runtime and binder.
 *
 * What the engine knows is asked of the engine: every event makes the worker's container be inspected, and the answer
 * decides the state. What it does not know (owner's project, command, environment) is in the worker's record.
 *
 * A claim takes the warm worker's record away before it binds anything, and writes a new one when the command runs:
 * what a crash leaves between the two is a container nobody knows, which reconcile() removes. A removal, too, begins
 * with the record. A restart says in it that it has begun, and names the new container when the command runs there.
 */
class LiveRegistry final : public Registry, public Stock {
 public:
  struct Parts {
    event::Loop& loop;
    Runtime& runtime;
    Binder& binder;
    const Settings& settings;
    /** The namespace holder workers join; its id is empty while there is none. */
    std::function<ContainerId()> parent;
    /** Names of the MCP servers that exist. */
    std::function<std::vector<std::string>()> servers;
    /** What the processes of a container use, by its PID 1. */
    std::function<ContainerUsage(pid_t)> usage;
    /** Whether the process is in the network of the parent as it is now; also where that cannot be told. */
    std::function<bool(pid_t)> in_parent_network;
    /** When bytes last went through a terminal of the container with this PID 1; microseconds since the epoch. */
    std::function<std::uint64_t(pid_t)> terminal_activity = {};
    /** The process that was last killed for the container's limit of memory, by name; empty if unknown. */
    std::function<std::string(const ContainerId&)> memory_victim = {};
  };

  explicit LiveRegistry(Parts parts);
  ~LiveRegistry() override;

  /** The engine is there (again): takes up what runs and is ours, removes what nobody knows. */
  void reconcile(Done<void> done);
  /** A hint that something happened to a container. */
  void on_container_event(const ContainerEvent& event);
  /** Another namespace holder runs: workers of its predecessor's network say in their reason that they are cut off. */
  void on_parent_replaced();
  /** Engine and parent are there: what waits for them to be made anew is. */
  void on_makeable();
  /** The worker's programs could not start others, for its limit of tasks; `busiest` is whose they are. */
  void on_tasks_refused(const WorkerId& id, const std::string& busiest);
  /** Profiles may say something else of the workers that there are. */
  void on_profiles_changed();
  /** Those who are cut off, and those who were being made anew when the last daemon ended. */
  [[nodiscard]] std::vector<Stranded> stranded() const;

  void set_listener(Registry::Listener* listener) override { listener_ = listener; }
  [[nodiscard]] const Worker* find(const WorkerId& id) const override;
  [[nodiscard]] const Worker* find(uid_t owner, std::string_view name) const override;
  [[nodiscard]] std::vector<const Worker*> all() const override;
  [[nodiscard]] ContainerUsage usage(const WorkerId& id) const override;
  void note_activity(const WorkerId& id, std::uint64_t usec) override;
  [[nodiscard]] std::uint64_t last_activity(const WorkerId& id) const override;
  [[nodiscard]] Result<UniqueFd> reopen_gateway_socket(const WorkerId& id) override;

  void spawn(SpawnRequest request, Done<WorkerId> done) override;
  void attach(const WorkerId& id, TerminalSize size, std::string term, Done<Stream> done) override;
  void exec(const WorkerId& id, ExecRequest request, Done<Stream> done) override;
  void wait_exec(const WorkerId& id, ExecId exec, Done<int> done) override;
  Result<void> resize(const WorkerId& id, ExecId exec, TerminalSize size) override;
  void send(const WorkerId& id, std::string text, Done<void> done) override;
  void capture(const WorkerId& id, std::uint32_t lines, Done<std::string> done) override;
  /** Errc::limit at limits::log_streams_per_worker and _per_owner. */
  void logs(const WorkerId& id, LogOptions options, Done<UniqueFd> done) override;
  void stop(const WorkerId& id, std::chrono::milliseconds timeout, Done<void> done) override;
  void kill(const WorkerId& id, std::string signal, Done<void> done) override;
  void remove(const WorkerId& id, Done<void> done) override;
  void restart(const WorkerId& id, Done<void> done) override;
  void pause(const WorkerId& id, Done<void> done) override;
  void resume(const WorkerId& id, Done<void> done) override;
  void set_limits(const WorkerId& id, LimitChange change, Done<void> done) override;

  void set_stock_listener(Stock::Listener* listener) override { stock_listener_ = listener; }
  [[nodiscard]] std::vector<WarmWorker> stock() const override;
  [[nodiscard]] std::size_t starting() const override;
  [[nodiscard]] std::size_t claiming() const override;
  [[nodiscard]] std::size_t claimed() const override;
  void prefer_generation(std::string generation) override { preferred_generation_ = std::move(generation); }
  void make_warm(std::string generation, Done<WorkerId> done) override;
  void retire(const WorkerId& id, const std::string& reason, Done<void> done) override;

 private:
  struct Entry;
  struct LogStream {
    WorkerId worker;
    uid_t owner = 0;
    OperationHandle handle;
  };

  [[nodiscard]] Entry* entry(const WorkerId& id) const;
  [[nodiscard]] Entry* entry_of(const ContainerId& container) const;
  /** The entry if its worker is running; otherwise answers `done` with the error. */
  template <class T>
  Entry* running(const WorkerId& id, const Done<T>& done);
  /** As running(), for starting programs: a paused worker is busy. */
  Entry* awake(const WorkerId& id, const Done<Stream>& done);
  template <class T>
  void answer(Done<T> done, Result<T> result);

  [[nodiscard]] Result<Worker> plan(const SpawnRequest& request) const;
  /** MCP servers that the worker's owner may use, but not this worker. */
  [[nodiscard]] std::vector<std::string> other_servers(const Worker& worker) const;
  [[nodiscard]] Result<void> check_room(uid_t owner);
  [[nodiscard]] Result<void> check_log_streams(const Worker& worker) const;
  [[nodiscard]] Result<void> check_makeable(const Worker& worker) const;
  [[nodiscard]] std::vector<Binder::OpenRequest> mounts_of(const Worker& worker, int directory) const;
  void opened(const WorkerId& id, Result<std::vector<DetachedMount>> mounts);
  [[nodiscard]] Result<void> claim_name(Entry& entry);
  [[nodiscard]] Result<void> open_init_channel(Entry& entry);
  [[nodiscard]] Result<void> open_doors(Entry& entry);
  void launch(Entry& entry, Mounts mounts, Done<void> done);
  void launched(const WorkerId& id, Result<Worker>&& result, const Done<void>& done);
  [[nodiscard]] std::unique_ptr<Launch> new_launch(Entry& entry, Done<Worker> done);
  void finish_spawn(const WorkerId& id, const Result<void>& result);
  void remake(Entry& entry, std::string reason, Done<void> done);
  void reopen(const WorkerId& id, Done<void> done);

  [[nodiscard]] bool warm_would_do(const Worker& asked) const;
  [[nodiscard]] std::string defect_of(const Entry& entry) const;
  [[nodiscard]] Entry* find_warm(const Worker& asked) const;
  [[nodiscard]] Error no_warm(const Worker& asked) const;
  [[nodiscard]] WorkerId take_warm(Entry& asked, Entry& warm);
  void bind(Entry& entry, Mounts mounts, Done<void> done);
  void made_warm(const WorkerId& id, Result<Worker>&& result, const Done<WorkerId>& done);
  void adopt_warm(Worker record, const ContainerInfo& info);
  void drop_warm(Entry& entry, const std::string& reason);
  void stock_changed();

  void take_up(const std::vector<ContainerInfo>& containers);
  void adopt(Worker record, const ContainerInfo& info);
  /** Those nobody has any more. */
  [[nodiscard]] std::vector<ContainerId> strays_among(const std::vector<ContainerInfo>& containers) const;
  void look_for_strays(const ContainerEvent& event);
  void sweep_folders();
  /** Removes a container nobody waits for. */
  void discard(const ContainerId& container, Done<void> done);
  void refresh(const WorkerId& id, Done<void> done);
  void apply(Entry& entry, const ContainerInfo& info);
  void ended(Entry& entry, State state, int exit_code, std::string reason);
  /** The reason of a worker that runs: what its owner should know of it, or empty. */
  [[nodiscard]] static std::string remark(const Entry& entry);
  void check_network(Entry& entry);
  void lost_container(Entry& entry);

  /** Whether it is to be made anew, which then is under way; or was too often, and it has failed. */
  bool recover(Entry& entry, const End& end, int exit_code, const std::string& failure);
  void await_replacement(Entry& entry, std::chrono::milliseconds delay);
  void replace(const WorkerId& id);
  void replaced(const WorkerId& id, const std::string& failure, const Result<void>& result);
  void silent(const WorkerId& id, const std::string& what);
  /** The container runs, and is of no use. */
  void sicken(Entry& entry, const std::string& failure);
  /** What ailed it is over, before it was made anew. */
  void cure(Entry& entry);
  /** Of an unhealthy worker: nothing is made of it any more. False if its container has still to be stopped. */
  bool forgo(Entry& entry);
  [[nodiscard]] bool may_replace(const Worker& worker) const;

  void on_out_of_memory(Entry& entry);
  void limit_hit(Entry& entry, std::string_view what, std::string_view message_id, const std::string& process,
                 std::string note);

  [[nodiscard]] std::chrono::microseconds idle_timeout(const Worker& worker) const;
  void follow_idleness(Entry& entry);
  void look_at_idleness(const WorkerId& id);

  void start_program(const WorkerId& id, ExecRequest request, Done<Stream> done);
  void run_tool(Entry& entry, std::vector<std::string> argv, std::size_t max_output, Done<std::string> done);

  void changed(Entry& entry);
  void erase(const WorkerId& id);
  [[nodiscard]] std::string records() const;

  Parts parts_;
  Registry::Listener* listener_ = nullptr;
  Stock::Listener* stock_listener_ = nullptr;
  std::string preferred_generation_;
  std::map<WorkerId, std::unique_ptr<Entry>> entries_;
  std::map<std::uint64_t, std::unique_ptr<OutputReader>> readers_;
  std::map<std::uint64_t, LogStream> log_streams_;
  std::uint64_t next_serial_ = 1;
  /** The containers of an earlier daemon have been looked at: who is not known now never will be. */
  bool reconciled_ = false;
  Alive alive_;
};

}  // namespace hal::worker
