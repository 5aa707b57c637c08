#pragma once

#include "base/names.hpp"
#include "event/sources.hpp"
#include "worker/runtime.hpp"

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace hal::test {

/**
 * An engine in memory, for faults a real one cannot be made to show at will: any call can be told to fail, to hang, or
 * to answer late. Answers come from the loop, as the interface demands.
 */
class FakeRuntime : public worker::Runtime {
 public:
  explicit FakeRuntime(event::Loop& loop) : loop_(loop) {}

  /** The next calls of this name ("create", "start", …) fail with this; Errc::timed_out etc. as given. */
  void fail(const std::string& call, Error error) { failures_[call] = std::move(error); }
  void heal() { failures_.clear(); }
  /** Calls of this name get no answer until release(). */
  void hold(const std::string& call) { held_.insert({call, {}}); }
  void release(const std::string& call) {
    const auto node = held_.extract(call);
    for (auto& answer : node.mapped()) {
      event::post(loop_, "fake engine", answer);
    }
  }
  void go_down() {
    up_ = false;
    if (listener != nullptr) {
      listener->on_engine_down({Errc::unavailable, "the engine is gone"});
    }
  }
  void come_up() {
    up_ = true;
    if (listener != nullptr) {
      listener->on_engine_up(info_);
    }
  }
  /** The container's PID 1 ends. Tells the listener, as the engine's event stream would. */
  void die(const ContainerId& id, int exit_code, bool oom = false) {
    auto& container = containers.at(id);
    container.status = worker::ContainerStatus::exited;
    container.exit_code = exit_code;
    container.oom_killed = oom;
    container.pid = 0;
    if (oom) {
      tell(worker::ContainerEvent::Kind::out_of_memory, container);
    }
    tell(worker::ContainerEvent::Kind::died, container);
  }
  /** What the image's health check says. */
  void check_health(const ContainerId& id, bool healthy) {
    containers.at(id).unhealthy = !healthy;
    tell(worker::ContainerEvent::Kind::health, containers.at(id));
  }
  /** Somebody else removes the container. */
  void vanish(const ContainerId& id) {
    const auto node = containers.extract(id);
    tell(worker::ContainerEvent::Kind::removed, node.mapped());
  }

  std::map<ContainerId, worker::ContainerInfo> containers;
  std::map<ContainerId, worker::ContainerSpec> specs;
  std::vector<std::string> calls;
  Listener* listener = nullptr;
  /** Of every image, and so of every container. */
  std::map<std::string, std::string> image_labels{{names::label_image, "worker-fake"}};
  /** Called when a container starts: the place of its PID 1. */
  std::function<pid_t(const worker::ContainerSpec&)> on_start = [](const worker::ContainerSpec&) { return 4711; };
  /** Called before each change and again when it is made and not answered yet: where the daemon can be cut off. */
  std::function<void()> on_step = [] {};

  void set_listener(Listener* new_listener) override { listener = new_listener; }
  [[nodiscard]] bool up() const override { return up_; }
  [[nodiscard]] const worker::EngineInfo& info() const override { return info_; }

  void list(std::vector<std::pair<std::string, std::string>> labels,
            Done<std::vector<worker::ContainerInfo>> done) override {
    std::vector<worker::ContainerInfo> found;
    for (const auto& [id, container] : containers) {
      bool all = true;
      for (const auto& [key, value] : labels) {
        const auto it = container.labels.find(key);
        all = all && it != container.labels.end() && it->second == value;
      }
      if (all) {
        found.push_back(container);
        found.back().pid = 0;  // a real list does not tell
      }
    }
    answer<std::vector<worker::ContainerInfo>>("list", std::move(done), std::move(found));
  }
  void inspect(const ContainerId& id, Done<worker::ContainerInfo> done) override {
    answer<worker::ContainerInfo>("inspect", std::move(done), look(id));
  }
  void create(const worker::ContainerSpec& spec, Done<ContainerId> done) override {
    on_step();
    if (failures_.contains("create")) {
      return answer<ContainerId>("create", std::move(done), ContainerId{});
    }
    const ContainerId id{"container" + std::to_string(++serial_)};
    worker::ContainerInfo info;
    info.id = id;
    info.name = spec.name;
    info.labels = spec.labels;
    info.labels.insert(image_labels.begin(), image_labels.end());
    info.memory_bytes = spec.memory_bytes;
    info.nano_cpus = spec.nano_cpus;
    info.pids = spec.pids;
    containers[id] = info;
    specs[id] = spec;
    answer<ContainerId>("create", std::move(done), id);
  }
  void start(const ContainerId& id, Done<void> done) override {
    on_step();
    if (!failures_.contains("start") && containers.contains(id) &&
        containers[id].status != worker::ContainerStatus::running) {
      containers[id].status = worker::ContainerStatus::running;
      containers[id].pid = on_start(specs[id]);
    }
    answer<void>("start", std::move(done), present(id));
  }
  void stop(const ContainerId& id, std::chrono::seconds, Done<void> done) override {
    on_step();
    if (!failures_.contains("stop") && containers.contains(id)) {
      die(id, 143);
    }
    answer<void>("stop", std::move(done), present(id));
  }
  void kill(const ContainerId& id, const std::string& signal, Done<void> done) override {
    on_step();
    if (!failures_.contains("kill") && containers.contains(id) && signal == "SIGKILL") {
      die(id, 137);
    }
    answer<void>("kill", std::move(done), present(id));
  }
  void remove(const ContainerId& id, bool, Done<void> done) override {
    on_step();
    if (!failures_.contains("remove") && containers.contains(id)) {
      vanish(id);
    }
    answer<void>("remove", std::move(done), {});
  }
  void pause(const ContainerId& id, Done<void> done) override {
    on_step();
    if (containers.contains(id)) {
      containers[id].status = worker::ContainerStatus::paused;
      tell(worker::ContainerEvent::Kind::paused, containers[id]);
    }
    answer<void>("pause", std::move(done), present(id));
  }
  void resume(const ContainerId& id, Done<void> done) override {
    on_step();
    if (containers.contains(id)) {
      containers[id].status = worker::ContainerStatus::running;
      tell(worker::ContainerEvent::Kind::resumed, containers[id]);
    }
    answer<void>("resume", std::move(done), present(id));
  }
  void update(const ContainerId& id, const worker::LimitChange& change, Done<void> done) override {
    on_step();
    if (change.memory_bytes && containers.contains(id)) {
      containers[id].memory_bytes = *change.memory_bytes;
    }
    answer<void>("update", std::move(done), present(id));
  }
  void usage(const ContainerId&, Done<worker::ContainerUsage> done) override {
    answer<worker::ContainerUsage>("usage", std::move(done), worker::ContainerUsage{});
  }
  void inspect_image(const std::string&, Done<worker::ImageInfo> done) override {
    answer<worker::ImageInfo>("inspect_image", std::move(done), worker::ImageInfo{"sha256:0", image_labels, 0});
  }
  worker::OperationHandle logs(const ContainerId&, const worker::LogOptions&, UniqueFd, Done<void> done) override {
    answer<void>("logs", std::move(done), {});
    return nullptr;
  }

 private:
  Result<worker::ContainerInfo> look(const ContainerId& id) const {
    const auto it = containers.find(id);
    return it == containers.end() ? Result<worker::ContainerInfo>(Error{Errc::not_found, "no such container"})
                                  : it->second;
  }
  Result<void> present(const ContainerId& id) const {
    return containers.contains(id) ? Result<void>() : Error{Errc::not_found, "no such container"};
  }
  void tell(worker::ContainerEvent::Kind kind, const worker::ContainerInfo& container) {
    event::post(loop_, "fake engine event",
                [this, event = worker::ContainerEvent{kind, container.id, container.labels, container.exit_code}] {
                  if (listener != nullptr) {
                    listener->on_container_event(event);
                  }
                });
  }
  template <class T>
  void answer(const std::string& call, Done<T> done, Result<T> result) {
    calls.push_back(call);
    on_step();
    if (const auto failure = failures_.find(call); failure != failures_.end()) {
      result = failure->second;
    }
    const auto reply = [done = std::move(done), result = std::move(result)] { done(result); };
    if (const auto held = held_.find(call); held != held_.end()) {
      held->second.push_back(reply);
    } else {
      event::post(loop_, "fake engine", reply);
    }
  }

  event::Loop& loop_;
  bool up_ = true;
  worker::EngineInfo info_;
  int serial_ = 0;
  std::map<std::string, Error> failures_;
  std::map<std::string, std::vector<std::function<void()>>> held_;
};

}  // namespace hal::test
