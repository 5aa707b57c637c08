#include "base/names.hpp"
#include "base/text.hpp"
#include "build_config.hpp"
#include "claudy/client.hpp"
#include "claudy/exit_code.hpp"
#include "claudy/reply.hpp"
#include "claudy/table.hpp"
#include "claudy/verbs.hpp"
#include "json/json.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

/** Verbs on MCP servers, the parent and the daemon itself. */
namespace hal::claudy {

namespace {

using nlohmann::json;

constexpr auto server_timeout = std::chrono::minutes(4);
constexpr auto chroma_timeout = std::chrono::minutes(6);

Result<void> call_server_method(Bus& bus, const std::string& name, const std::string& member) {
  const auto reply = bus.call(server_method(name, member), {}, server_timeout);
  if (reply) {
    return {};
  }
  // The object is asked for first, so that a server that does not exist is told apart from one whose program does not.
  const auto server = server_properties(bus, name);
  return server ? reply.error() : server.error();
}

/** Runs systemctl on our unit with our standard descriptors and gives claudy's exit code for its own. */
Result<int> systemctl(const Global& global, const std::string& verb) {
  std::vector<std::string> words = {"systemctl"};
  if (global.user) {
    words.emplace_back("--user");
  }
  words.insert(words.end(), {verb, "hal9000.service"});
  std::vector<char*> argv;
  for (auto& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  pid_t pid = 0;
  if (const int error = ::posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ); error != 0) {
    return errno_error("systemctl", error);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) {
      return errno_error("waitpid");
    }
  }
  if (WIFSIGNALED(status)) {
    return Error{Errc::internal, fmt::format("systemctl was ended by signal {}", WTERMSIG(status))};
  }
  switch (WEXITSTATUS(status)) {  // as systemctl(1) describes them; it has told the reason itself
    case 0:
      return 0;
    case 4:
      return exit_code(Errc::denied);
    case 5:
      return exit_code(Errc::unavailable);
    default:
      return 1;
  }
}

/** The daemon's process, by the bus' word. */
Result<std::uint32_t> daemon_pid(Bus& bus) {
  const auto reply =
      bus.call({"/org/freedesktop/DBus", "org.freedesktop.DBus", "GetConnectionUnixProcessID", "org.freedesktop.DBus"},
               {Value(std::string(names::bus_name))});
  if (!reply) {
    return reply.error();
  }
  return reply->body().at(0).get<std::uint32_t>();
}

/** What to do by hand where no systemd runs. */
Error without_systemd(const Global& global, const std::string& verb) {
  const auto how_to_start = fmt::format("start {}/hal9000d as root", build::libexecdir);
  const auto bus = Bus::open(global.user);
  const auto pid = bus ? daemon_pid(**bus) : Result<std::uint32_t>(bus.error());
  std::string how = how_to_start;
  if (verb == "stop") {
    how = pid ? fmt::format("kill {}", *pid) : "it is not running";
  } else if (pid) {
    how = verb == "start" ? fmt::format("it runs already as process {}", *pid)
                          : fmt::format("kill {}, then {}", *pid, how_to_start);
  }
  return {Errc::unavailable, fmt::format("no systemd runs here to {} the daemon: {}", verb, how)};
}

}  // namespace

Result<int> change_server(const Global& global, const std::string& name, const std::string& verb) {
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  const auto done = call_server_method(**bus, name, verb);
  return done ? Result<int>(0) : Result<int>(done.error());
}

Result<int> restart_chroma(const Global& global) {
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  const auto reply = (*bus)->call(parent_method("RestartChroma"), {}, chroma_timeout);
  return reply ? Result<int>(0) : Result<int>(reply.error());
}

Result<int> change_daemon(const Global& global, const std::string& verb) {
  if (sd_booted() > 0) {
    return systemctl(global, verb);
  }
  return without_systemd(global, verb);
}

Result<int> show_daemon(const Global& global, const ListOptions& options) {
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  const auto read = [](Bus& connection) -> Result<json> {
    auto manager = properties(connection, names::root_path, manager_interface);
    if (!manager) {
      return manager;
    }
    const auto pid = daemon_pid(connection);
    if (!pid) {
      return pid.error();
    }
    (*manager)["pid"] = *pid;
    return manager;
  };
  const auto table = [](const json& daemon) {
    return pairs({{"state", text_of(daemon, "state")},
                  {"version", text_of(daemon, "version")},
                  {"pid", std::to_string(number_of(daemon, "pid"))},
                  {"workers", std::to_string(number_of(daemon, "n_workers"))}});
  };
  return show_listing(**bus, options, {read, table});
}

}  // namespace hal::claudy
