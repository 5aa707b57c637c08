#include "worker/record.hpp"

#include "base/log.hpp"
#include "base/text.hpp"
#include "json/json.hpp"
#include "worker/state_file.hpp"

#include <dirent.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>

#include <nlohmann/json.hpp>

namespace hal::worker {

namespace {

constexpr const char suffix[] = ".json";
/** What replace_state_file() leaves when it is cut short. */
constexpr const char unfinished[] = ".json.new";

constexpr std::pair<State, std::string_view> state_names[] = {
    {State::creating, "creating"},   {State::warm, "warm"},         {State::running, "running"},
    {State::unhealthy, "unhealthy"}, {State::stopping, "stopping"}, {State::exited, "exited"},
    {State::failed, "failed"},
};

Result<State> state_from(std::string_view name) {
  for (const auto& [state, text] : state_names) {
    if (text == name) {
      return state;
    }
  }
  return Error{Errc::protocol, "state: unknown"};
}

std::string path_of(const std::string& folder, const WorkerId& id) {
  return folder + "/" + id.value + suffix;
}

/** Collects the first error of many readers. */
class Reader {
 public:
  explicit Reader(const nlohmann::json& object) : object_(object) {}

  template <class T, class Get>
  void into(T& target, const char* key, Get get) {
    auto value = get(object_, key, std::string_view());
    if (value) {
      target = static_cast<T>(*std::move(value));
    } else if (!error_) {
      error_ = value.error();
    }
  }
  void text(std::string& target, const char* key) { into(target, key, json::string_at); }
  template <class T>
  void number(T& target, const char* key) {
    into(target, key, json::unsigned_at);
  }
  void list(std::vector<std::string>& target, const char* key) { into(target, key, json::strings_at); }
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }

 private:
  const nlohmann::json& object_;
  std::optional<Error> error_;
};

}  // namespace

std::string_view name(State state) {
  for (const auto& [value, text] : state_names) {
    if (value == state) {
      return text;
    }
  }
  return "unknown";
}

std::string to_json(const Worker& worker) {
  nlohmann::json env = nlohmann::json::object();
  for (const auto& [key, value] : worker.env) {
    env[key] = value;
  }
  return json::dump({{"id", worker.id.value},
                     {"name", worker.name},
                     {"state", name(worker.state)},
                     {"reason", worker.reason},
                     {"owner", worker.owner},
                     {"workspace", worker.workspace},
                     {"profile", worker.profile},
                     {"image", worker.image},
                     {"container", worker.container.value},
                     {"created_usec", worker.created_usec},
                     {"last_activity_usec", worker.last_activity_usec},
                     {"memory_bytes", worker.limits.memory_bytes},
                     {"cpus", worker.limits.cpus},
                     {"pids", worker.limits.pids},
                     {"read_only", worker.read_only},
                     {"isolated", worker.network == Network::isolated},
                     {"command", worker.command},
                     {"env", env},
                     {"servers", worker.servers},
                     {"request_id", worker.request_id},
                     {"generation", worker.generation},
                     {"restarts", worker.restarts},
                     {"replaced_usec", worker.replaced_usec},
                     {"exit_code", worker.exit_code}});
}

Result<Worker> worker_from_json(std::string_view text) {
  auto document = json::parse(text);
  if (!document) {
    return document.error();
  }
  Worker worker;
  Reader reader(*document);
  std::string state;
  bool isolated = false;
  reader.text(worker.id.value, "id");
  reader.text(worker.name, "name");
  reader.text(state, "state");
  reader.text(worker.reason, "reason");
  reader.number(worker.owner, "owner");
  reader.text(worker.workspace, "workspace");
  reader.text(worker.profile, "profile");
  reader.text(worker.image, "image");
  reader.text(worker.container.value, "container");
  reader.number(worker.created_usec, "created_usec");
  reader.number(worker.last_activity_usec, "last_activity_usec");
  reader.number(worker.limits.memory_bytes, "memory_bytes");
  reader.into(worker.limits.cpus, "cpus", json::number_at);
  reader.number(worker.limits.pids, "pids");
  reader.into(worker.read_only, "read_only", json::bool_at);
  reader.into(isolated, "isolated", json::bool_at);
  reader.list(worker.command, "command");
  reader.list(worker.servers, "servers");
  reader.text(worker.request_id, "request_id");
  // Older records have none.
  const auto replaced = json::optional_array_at(*document, "replaced_usec");
  auto generation = json::optional_string_at(*document, "generation");
  reader.number(worker.restarts, "restarts");
  reader.number(worker.exit_code, "exit_code");
  auto env = json::object_at(*document, "env");
  if (reader.error()) {
    return *reader.error();
  }
  if (!env || !generation || !replaced) {
    return !env ? env.error() : !generation ? generation.error() : replaced.error();
  }
  for (const auto& time : *replaced != nullptr ? **replaced : nlohmann::json::array()) {
    if (!time.is_number_unsigned()) {
      return Error{Errc::protocol, "replaced_usec: must be times"};
    }
    worker.replaced_usec.push_back(time.get<std::uint64_t>());
  }
  worker.generation = generation->value_or("");
  for (const auto& [key, value] : (*env)->items()) {
    if (!value.is_string()) {
      return Error{Errc::protocol, "env." + key + ": must be a string"};
    }
    worker.env[key] = value.get_ref<const std::string&>();
  }
  auto parsed = state_from(state);
  if (!parsed) {
    return parsed.error();
  }
  worker.state = *parsed;
  worker.network = isolated ? Network::isolated : Network::parent;
  return worker;
}

Result<void> save_record(const std::string& folder, const Worker& worker) {
  return replace_state_file(path_of(folder, worker.id), to_json(worker));
}

Result<void> remove_record(const std::string& folder, const WorkerId& id) {
  const auto path = path_of(folder, id);
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) {
    return {};
  }
  const auto error = errno_error("unlink " + path);
  log::error({}, "{}", error.message);
  return error;
}

std::vector<Worker> load_records(const std::string& folder) {
  std::vector<Worker> workers;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(folder.c_str()), ::closedir);
  while (const dirent* entry = dir ? ::readdir(dir.get()) : nullptr) {
    const std::string file = entry->d_name;
    if (file.ends_with(unfinished)) {
      (void)::unlink((folder + "/" + file).c_str());
    }
    if (!file.ends_with(suffix)) {
      continue;
    }
    const auto text = read_state_file(folder + "/" + file);
    auto worker = text ? worker_from_json(*text) : Result<Worker>(text.error());
    if (worker) {
      workers.push_back(*std::move(worker));
    } else {
      log::warning({}, "{}/{}: {}; the worker cannot be taken up again", folder, file, worker.error().message);
    }
  }
  return workers;
}

}  // namespace hal::worker
