#pragma once

#include "hub/client.hpp"

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hal::hub {

/** A task at the server, as it came into being from a client's request. */
struct Task {
  std::string id;
  ClientId owner;
  /** The number of that request, which stays its progress token at the server as long as the task works. */
  std::uint64_t number = 0;
  /** The client's own token; empty if it wants no progress, or after the task's end. */
  std::string progress_token;

  template <class Archive>
  void keep(Archive& archive) {
    archive(id, owner, number, progress_token);
  }
};

/**
 * Whose tasks are whose at one server: a task's id says nothing about its owner. Holds limits::tasks_per_session for
 * each client; beyond it its oldest is forgotten, and cannot be asked for any more.
 */
class Tasks {
 public:
  void add(Task task);
  /** Null for a task that is not known. */
  [[nodiscard]] const Task* find(std::string_view id) const;
  [[nodiscard]] const Task* find_number(std::uint64_t number) const;
  [[nodiscard]] bool owned_by(std::string_view id, ClientId client) const;
  /** It has come to its end: no progress follows. Its result can still be asked for. */
  void ended(std::string_view id);
  /** The client is gone: its tasks that had not ended. */
  [[nodiscard]] std::vector<std::string> remove(ClientId client);
  [[nodiscard]] bool any_working() const;
  void clear();
  [[nodiscard]] std::size_t size() const { return tasks_.size(); }

  template <class Archive>
  void keep(Archive& archive) {
    if constexpr (Archive::loading) {
      Entries kept;
      archive(kept);
      clear();
      for (auto& entry : kept) {
        const std::string id = entry.task.id;
        add(std::move(entry.task));
        if (entry.ended) {
          ended(id);
        }
      }
    } else {
      archive(tasks_);
    }
  }

 private:
  struct Entry {
    Task task;
    bool ended = false;

    template <class Archive>
    void keep(Archive& archive) {
      archive(task, ended);
    }
  };
  using Entries = std::list<Entry>;

  void erase(Entries::iterator entry);

  /** Oldest first. */
  Entries tasks_;
  std::unordered_map<std::string, Entries::iterator> by_id_;
  std::unordered_map<std::uint64_t, Entries::iterator> by_number_;
  std::unordered_map<ClientId, std::size_t> count_;
};

/** What a CreateTaskResult, a task or a status notification says: JSON text of an object with taskId and status. */
struct TaskState {
  std::string id;
  /** completed, failed or cancelled. */
  bool ended = false;
};
/** Of a task object; nothing if it is none. */
[[nodiscard]] std::optional<TaskState> read_task(std::string_view object);
/** Of the result of a task-augmented request; nothing if the server answered without making a task. */
[[nodiscard]] std::optional<TaskState> read_created_task(std::string_view result);
/** The taskId of a related-task object. */
[[nodiscard]] std::string read_related_task(std::string_view object);
/** A result of tasks/list with the tasks of others taken out; all else keeps its value. */
[[nodiscard]] std::string own_tasks(std::string_view result, const Tasks& tasks, ClientId client);

}  // namespace hal::hub
