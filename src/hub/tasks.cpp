#include "hub/tasks.hpp"

#include "hub/hub_limits.hpp"
#include "json/json.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

namespace hal::hub {

namespace {

using Json = nlohmann::json;

/** Tasks come without their results, so they are small. */
constexpr json::Limits task_limits{.bytes = std::size_t{1} << 20};

std::optional<TaskState> state_of(const Json& task) {
  auto id = json::string_at(task, "taskId");
  const auto status = json::string_at(task, "status");
  if (!id || !status) {
    return std::nullopt;
  }
  return TaskState{std::move(*id), *status == "completed" || *status == "failed" || *status == "cancelled"};
}

}  // namespace

void Tasks::add(Task task) {
  if (const auto known = by_id_.find(task.id); known != by_id_.end()) {
    erase(known->second);  // the server gave the id anew: it has forgotten the old one
  }
  const auto owner = task.owner;
  if (count_[owner] >= limits::tasks_per_session) {
    erase(
        std::find_if(tasks_.begin(), tasks_.end(), [owner](const Entry& entry) { return entry.task.owner == owner; }));
  }
  ++count_[owner];
  const auto entry = tasks_.insert(tasks_.end(), {std::move(task), false});
  by_id_[entry->task.id] = entry;
  by_number_[entry->task.number] = entry;
}

const Task* Tasks::find(std::string_view id) const {
  const auto found = by_id_.find(std::string(id));
  return found != by_id_.end() ? &found->second->task : nullptr;
}

const Task* Tasks::find_number(std::uint64_t number) const {
  const auto found = by_number_.find(number);
  return found != by_number_.end() ? &found->second->task : nullptr;
}

bool Tasks::owned_by(std::string_view id, ClientId client) const {
  const auto* task = find(id);
  return task != nullptr && task->owner == client;
}

void Tasks::ended(std::string_view id) {
  if (const auto found = by_id_.find(std::string(id)); found != by_id_.end()) {
    found->second->ended = true;
    found->second->task.progress_token.clear();
  }
}

std::vector<std::string> Tasks::remove(ClientId client) {
  std::vector<std::string> working;
  for (auto entry = tasks_.begin(); entry != tasks_.end();) {
    const auto next = std::next(entry);
    if (entry->task.owner == client) {
      if (!entry->ended) {
        working.push_back(entry->task.id);
      }
      erase(entry);
    }
    entry = next;
  }
  return working;
}

bool Tasks::any_working() const {
  return std::any_of(tasks_.begin(), tasks_.end(), [](const Entry& entry) { return !entry.ended; });
}

void Tasks::clear() {
  tasks_.clear();
  by_id_.clear();
  by_number_.clear();
  count_.clear();
}

void Tasks::erase(Entries::iterator entry) {
  const auto count = count_.find(entry->task.owner);
  if (--count->second == 0) {
    count_.erase(count);
  }
  by_id_.erase(entry->task.id);
  by_number_.erase(entry->task.number);
  tasks_.erase(entry);
}

std::optional<TaskState> read_task(std::string_view object) {
  const auto task = json::parse(object, task_limits);
  return task ? state_of(*task) : std::nullopt;
}

std::optional<TaskState> read_created_task(std::string_view result) {
  const auto created = json::parse(result, task_limits);
  const auto* task = created ? json::find(*created, "task") : nullptr;
  return task != nullptr ? state_of(*task) : std::nullopt;
}

std::string read_related_task(std::string_view object) {
  const auto related = json::parse(object, task_limits);
  return related ? json::string_at(*related, "taskId").value_or({}) : std::string();
}

std::string own_tasks(std::string_view result, const Tasks& tasks, ClientId client) {
  auto object = json::parse(result);
  const auto list = object ? json::find(*object, "tasks") : nullptr;
  if (list == nullptr || !list->is_array()) {
    return R"({"tasks":[]})";
  }
  Json own = Json::array();
  for (const auto& task : *list) {
    if (const auto state = state_of(task); state && tasks.owned_by(state->id, client)) {
      own.push_back(task);
    }
  }
  (*object)["tasks"] = std::move(own);
  return json::dump(*object);
}

}  // namespace hal::hub
