#include "base/limits.hpp"
#include "base/text.hpp"
#include "claudy/attachment.hpp"
#include "claudy/client.hpp"
#include "claudy/reply.hpp"
#include "claudy/verbs.hpp"
#include "json/json.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

/** Verbs that make workers. */
namespace hal::claudy {

namespace {

using nlohmann::json;

/** Making a container, at most: the daemon's own deadline is the same. */
constexpr auto spawn_timeout = std::chrono::minutes(11);

Result<UniqueFd> open_directory(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (fd) {
    return fd;
  }
  const int error = errno;
  const auto shown = text::printable(path, limits::path_bytes);
  if (error == ENOENT && path.find('/') == std::string::npos) {
    return Error{Errc::invalid_argument, fmt::format("'{}' is neither a directory here nor a verb of claudy: "
                                                     "see `claudy --help`",
                                                     shown)};
  }
  // A wrong argument, also where errno has a code of its own: 5 is for workers.
  const auto code = error == EACCES ? Errc::denied : Errc::invalid_argument;
  return Error{code, errno_error(shown, error).message};
}

Result<std::string> spawn_at(Bus& bus, int directory, Options options) {
  const auto reply =
      bus.call(manager_method("SpawnAt"), {Value(Fd{directory}), Argument(std::move(options))}, spawn_timeout);
  if (!reply) {
    return reply.error();
  }
  return reply->body().at(0).get<std::string>();
}

template <class Type>
void add_if_set(Options& options, const char* key, const std::optional<Type>& value) {
  if (value) {
    options.emplace_back(key, *value);
  }
}

void add_if_set(Options& options, const char* key, const std::string& value) {
  if (!value.empty()) {
    options.emplace_back(key, value);
  }
}

Options spawn_options(const SpawnOptions& from) {
  Options options;
  add_if_set(options, "name", from.name);
  add_if_set(options, "profile", from.profile);
  add_if_set(options, "image", from.image);
  add_if_set(options, "network", from.network);
  add_if_set(options, "claim", from.claim);
  add_if_set(options, "request_id", from.request_id);
  add_if_set(options, "memory", from.limits.memory);
  add_if_set(options, "cpus", from.limits.cpus);
  add_if_set(options, "pids", from.limits.pids);
  add_if_set(options, "servers", from.servers);
  if (!from.command.empty()) {
    options.emplace_back("command", from.command);
  }
  if (!from.env.empty()) {
    options.emplace_back("env", from.env);
  }
  if (from.read_only) {
    options.emplace_back("read_only", true);
  }
  if (from.no_wait) {
    options.emplace_back("wait", false);
  }
  return options;
}

bool is_live(const std::string& state) {
  return state == "creating" || state == "running" || state == "unhealthy";
}

/** The caller's live worker for the directory, the newest of several; null if there is none. */
Result<json> live_worker(Bus& bus, const std::string& real_path) {
  const auto all = snapshot(bus);
  if (!all) {
    return all.error();
  }
  json found;
  for (const auto& worker : (*all)["workers"]) {
    if (text_of(worker, "workspace") == real_path && number_of(worker, "owner") == ::geteuid() &&
        is_live(text_of(worker, "state"))) {
      found = worker;
    }
  }
  return found;
}

/** Until a worker that is being made by someone else runs. */
Result<void> wait_created(Bus& bus, const std::string& path) {
  const auto changes = std::make_shared<std::uint64_t>(0);
  const auto subscribed = bus.subscribe(fmt::format("type='signal',sender='org.hal9000',path='{}'", path),
                                        [changes](const std::string&, const json&) { ++*changes; });
  if (!subscribed) {
    return subscribed;
  }
  const auto deadline = std::chrono::steady_clock::now() + spawn_timeout;
  for (;;) {
    const auto seen = *changes;
    const auto worker = properties(bus, path, worker_interface);
    if (!worker) {
      return worker.error();
    }
    if (text_of(*worker, "state") != "creating") {
      return {};
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::microseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0 || !bus.wait_until([&] { return *changes != seen; }, left)) {
      return Error{Errc::timed_out, "the worker is still being made: see `claudy ls`"};
    }
  }
}

Result<std::string> real_path_of(int directory) {
  const std::unique_ptr<char, decltype(&::free)> path(
      ::realpath(fmt::format("/proc/self/fd/{}", directory).c_str(), nullptr), &::free);
  if (!path) {
    return errno_error("the directory's path");
  }
  return std::string(path.get());
}

/** A worker for the directory: the one that lives, or a new one. */
Result<std::string> find_or_spawn(Bus& bus, int directory, const OpenOptions& options) {
  const auto real_path = real_path_of(directory);
  if (!real_path) {
    return real_path.error();
  }
  auto live = live_worker(bus, *real_path);
  if (live && live->is_null()) {
    Options request;
    if (!options.claude_arguments.empty()) {
      std::vector<std::string> command = {"claude"};
      command.insert(command.end(), options.claude_arguments.begin(), options.claude_arguments.end());
      request.emplace_back("command", std::move(command));
    }
    auto made = spawn_at(bus, directory, std::move(request));
    if (made || made.error().code != Errc::already_exists) {
      return made;
    }
    live = live_worker(bus, *real_path);  // another claudy was faster
    if (live && live->is_null()) {
      return made;
    }
  }
  if (!live) {
    return live.error();
  }
  const auto name = text::printable(text_of(*live, "name"));
  if (!options.claude_arguments.empty()) {
    return Error{Errc::busy, fmt::format("{} runs already and Claude's arguments are for a new worker: leave them out "
                                         "to attach to it, or `claudy rm {}` first",
                                         name, name)};
  }
  auto path = text_of(*live, "path");
  if (const auto created = wait_created(bus, path); !created) {
    return created.error();
  }
  return path;
}

}  // namespace

Result<int> open_claude(const Global& global, const OpenOptions& options) {
  const auto directory = open_directory(options.directory);
  if (!directory) {
    return directory.error();
  }
  if (const auto terminal = require_terminal(); !terminal) {
    return terminal.error();
  }
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  const auto path = find_or_spawn(**bus, directory->get(), options);
  if (!path) {
    return path.error();
  }
  return attach_terminal(**bus, *path, options.keys);
}

Result<int> spawn(const Global& global, const SpawnOptions& options) {
  const auto directory = open_directory(options.directory);
  if (!directory) {
    return directory.error();
  }
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  const auto path = spawn_at(**bus, directory->get(), spawn_options(options));
  if (!path) {
    return path.error();
  }
  const auto worker = properties(**bus, *path, worker_interface);
  if (!worker) {
    return worker.error();
  }
  const auto printed =
      print(options.json ? hal::json::dump_pretty(*worker) + "\n" : text::printable(text_of(*worker, "name")) + "\n");
  return printed ? Result<int>(0) : Result<int>(printed.error());
}

}  // namespace hal::claudy
