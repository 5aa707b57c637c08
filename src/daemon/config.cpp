#include "daemon/config.hpp"

#include "base/limits.hpp"
#include "base/text.hpp"
#include "build_config.hpp"
#include "daemon/toml_reader.hpp"
#include "guard/rules.hpp"
#include "json/json.hpp"
#include "policy/grant.hpp"

#include <dirent.h>
#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace hal::daemon {

namespace {

std::string from_environment(const char* variable, const std::string& otherwise) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

std::vector<std::string> files_of(const std::string& folder, std::string_view suffix) {
  std::vector<std::string> files;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(folder.c_str()), ::closedir);
  while (const dirent* entry = dir ? ::readdir(dir.get()) : nullptr) {
    const std::string_view name = entry->d_name;
    if (name.ends_with(suffix) && !name.starts_with('.')) {
      files.push_back(folder + "/" + std::string(name));
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

Result<void> to_run_as(const TomlValue& value, RunAs& target) {
  std::string word;
  if (auto read = value.into(word); !read) {
    return read;
  }
  if (word == "auto") {
    target = RunAs::automatic;
  } else if (word == "child") {
    target = RunAs::child;
  } else if (word == "unit") {
    target = RunAs::unit;
  } else {
    return value.error("must be \"auto\", \"child\" or \"unit\"");
  }
  return {};
}

Result<void> to_level(const TomlValue& value, log::Level& target) {
  std::string word;
  if (auto read = value.into(word); !read) {
    return read;
  }
  constexpr std::pair<std::string_view, log::Level> levels[] = {{"error", log::Level::error},
                                                                {"warning", log::Level::warning},
                                                                {"notice", log::Level::notice},
                                                                {"info", log::Level::info},
                                                                {"debug", log::Level::debug}};
  for (const auto& [name, level] : levels) {
    if (word == name) {
      target = level;
      return {};
    }
  }
  return value.error("must be \"error\", \"warning\", \"notice\", \"info\" or \"debug\"");
}

Result<void> to_name(const TomlValue& value, std::string& target) {
  if (auto read = value.into(target); !read) {
    return read;
  }
  return text::is_name(target) ? Result<void>() : value.error("must be 1 to 64 letters, digits, '.', '_' or '-'");
}

/** The least memory the engine accepts. */
constexpr std::uint64_t least_memory_bytes = std::uint64_t{6} << 20;

Result<void> to_memory(const TomlValue& value, std::uint64_t& target) {
  if (auto read = value.into_size(target); !read) {
    return read;
  }
  return target >= least_memory_bytes ? Result<void>() : value.error("must be at least 6M");
}

/** The keys "servers" and "tools" of a profile or an owner. */
Result<void> grant_value(const TomlValue& value, std::string_view key, policy::Grant& grant) {
  std::string text;
  if (auto read = value.into_json(text); !read) {
    return read;
  }
  const auto document = json::parse(text);
  if (!document) {
    return value.error(document.error().message);
  }
  if (key == "servers") {
    auto patterns = policy::read_patterns(*document, "servers");
    if (!patterns) {
      return value.error(patterns.error().message);
    }
    grant.servers = std::move(*patterns);
    return {};
  }
  std::string path = fmt::format("{}", fmt::join(value.path(), "."));
  if (const auto read = policy::read_grant_tools(*document, value.place(), path, grant); !read) {
    return Error{Errc::invalid_argument, fmt::format("{}: key {}", value.place(), read.error().message)};
  }
  return {};
}

/** A user's name or uid. Nothing in the loop waits: the user database is read at start and reload only. */
Result<void> owner_value(const TomlValue& value, worker::Settings& settings) {
  const auto& owner = value.path()[1];
  const auto& key = value.path()[2];
  if (key != "servers" && key != "tools") {
    return value.error("unknown key");
  }
  if (owner == "*") {
    return grant_value(value, key, settings.other_owners);
  }
  uid_t uid = 0;
  const auto [end, error] = std::from_chars(owner.data(), owner.data() + owner.size(), uid);
  if (error != std::errc() || end != owner.data() + owner.size()) {
    const passwd* user = ::getpwnam(owner.c_str());
    if (user == nullptr) {
      return value.error("there is no user of this name");
    }
    uid = user->pw_uid;
  }
  return grant_value(value, key, settings.owners[uid]);
}

/** Terminals tell when they were used last to 8 s. */
constexpr std::uint64_t shortest_idle_timeout = 10;
constexpr std::uint64_t longest_seconds = std::uint64_t{365} * 24 * 3600;

Result<void> to_idle_timeout(const TomlValue& value, std::chrono::microseconds& timeout) {
  std::uint64_t seconds = 0;
  if (auto read = value.into(seconds); !read) {
    return read;
  }
  if (seconds > longest_seconds || (seconds > 0 && seconds < shortest_idle_timeout)) {
    return value.error(fmt::format("must be 0, or {} seconds to a year", shortest_idle_timeout));
  }
  timeout = std::chrono::seconds(seconds);
  return {};
}

Result<void> to_guards(const TomlValue& value, std::vector<std::string>& guards) {
  if (auto read = value.into(guards); !read) {
    return read;
  }
  guard::Guards known;
  for (const auto& name : guards) {
    if (!guard::set_guard(known, name)) {
      return value.error("must be some of git, rm and env");
    }
  }
  return {};
}

Result<void> profile_value(const TomlValue& value, std::string_view key, worker::Profile& profile) {
  if (key == "image") {
    return value.into(profile.image);
  }
  if (key == "command") {
    if (auto read = value.into(profile.command); !read) {
      return read;
    }
    return profile.command.empty() ? value.error("must not be empty") : Result<void>();
  }
  if (key == "env") {
    return value.into(profile.env);
  }
  if (key == "servers" || key == "tools") {
    return grant_value(value, key, profile.grant);
  }
  if (key == "guards") {
    return to_guards(value, profile.guards);
  }
  if (key == "memory") {
    return to_memory(value, profile.limits.memory_bytes);
  }
  if (key == "idle_timeout") {
    return to_idle_timeout(value, profile.idle_timeout);
  }
  if (key == "restart") {
    std::string text;
    if (auto read = value.into(text); !read) {
      return read;
    }
    profile.restart_on_failure = text == "on-failure";
    return profile.restart_on_failure || text == "no" ? Result<void>() : value.error("must be on-failure or no");
  }
  if (key == "cpus") {
    if (auto read = value.into(profile.limits.cpus); !read) {
      return read;
    }
    return profile.limits.cpus > 0 ? Result<void>() : value.error("must be more than 0");
  }
  if (key == "pids") {
    if (auto read = value.into(profile.limits.pids); !read) {
      return read;
    }
    return profile.limits.pids > 0 ? Result<void>() : value.error("must be at least 1");
  }
  return value.error("unknown key");
}

Result<void> pool_value(const TomlValue& value, std::string_view key, worker::PoolSettings& pool) {
  std::uint64_t number = 0;
  if (key != "min" && key != "max" && key != "idle_timeout") {
    return value.error("unknown key");
  }
  if (auto read = value.into(number); !read) {
    return read;
  }
  if (key == "idle_timeout") {
    pool.idle_timeout = std::chrono::seconds(std::min(number, longest_seconds));
    return number <= longest_seconds ? Result<void>() : value.error("must be at most a year, in seconds");
  }
  if (number > limits::warm_workers) {
    return value.error(fmt::format("must be at most {}", limits::warm_workers));
  }
  (key == "min" ? pool.min : pool.max) = static_cast<std::uint32_t>(number);
  return {};
}

/** One table of the settings to one part of the configuration. */
Result<void> main_value(const TomlValue& value, std::string_view section, std::string_view key, Config& config) {
  const std::string path = section.empty() ? std::string(key) : fmt::format("{}.{}", section, key);
  if (path == "instance") {
    return to_name(value, config.worker.instance);
  }
  if (path == "log.level") {
    return to_level(value, config.log_level);
  }
  if (path == "engine.socket") {
    return value.into(config.engine_socket);
  }
  if (path == "gateway.run") {
    return to_run_as(value, config.gateway);
  }
  if (path == "servers.run") {
    return to_run_as(value, config.servers);
  }
  if (path == "parent.image") {
    return value.into(config.worker.parent_image);
  }
  if (path == "parent.network") {
    return value.into(config.worker.parent_network);
  }
  if (path == "parent.chroma_memory") {
    return to_memory(value, config.worker.chroma_memory_bytes);
  }
  if (path == "worker.profile") {
    return to_name(value, config.worker.default_profile);
  }
  if (section == "pool") {
    return pool_value(value, key, config.worker.pool);
  }
  return value.error("unknown key");
}

Result<void> read_settings(const std::string& file, Config& config) {
  return read_toml(file, [&config](const TomlValue& value) -> Result<void> {
    if (value.path().size() == 3 && value.path()[0] == "profile") {
      const auto& name = value.path()[1];
      if (!text::is_name(name)) {
        return value.error("a profile's name has 1 to 64 letters, digits, '.', '_' or '-'");
      }
      return profile_value(value, value.path()[2], config.worker.profiles[name]);
    }
    if (value.path().size() == 3 && value.path()[0] == "owner") {
      return owner_value(value, config.worker);
    }
    if (value.path().size() == 1) {
      return main_value(value, "", value.path()[0], config);
    }
    if (value.path().size() == 2) {
      return main_value(value, value.path()[0], value.path()[1], config);
    }
    return value.error("unknown key");
  });
}

Result<void> read_profile(const std::string& file, Config& config) {
  const auto slash = file.find_last_of('/');
  const std::string name = file.substr(slash + 1, file.size() - slash - 1 - std::string_view(".toml").size());
  if (!text::is_name(name)) {
    return Error{Errc::invalid_argument, file + ": the file's name is no name of a profile"};
  }
  auto [profile, fresh] = config.worker.profiles.try_emplace(name);
  if (fresh) {
    profile->second = config.worker.profiles["base"];
  }
  return read_toml(file, [&target = profile->second](const TomlValue& value) -> Result<void> {
    return value.path().size() == 1 ? profile_value(value, value.path()[0], target) : value.error("unknown key");
  });
}

Result<void> check(const Config& config) {
  if (!config.worker.profiles.contains(config.worker.default_profile)) {
    return Error{Errc::invalid_argument, "worker.profile: there is no profile " + config.worker.default_profile};
  }
  if (config.worker.pool.min > config.worker.pool.max) {
    return Error{Errc::invalid_argument,
                 fmt::format("pool.min: {} is more than pool.max, {}", config.worker.pool.min, config.worker.pool.max)};
  }
  for (const auto& [name, profile] : config.worker.profiles) {
    if (profile.image.empty() || profile.command.empty()) {
      return Error{Errc::invalid_argument, fmt::format("profile {}: needs image and command", name)};
    }
  }
  return {};
}

}  // namespace

Places places_from_environment() {
  Places places;
  places.vendor_dir = from_environment("HAL9000_DATADIR", build::datadir);
  places.config_dir = from_environment("CONFIGURATION_DIRECTORY", build::sysconfdir);
  places.state_dir = from_environment("STATE_DIRECTORY", "/var/lib/hal9000");
  places.run_dir = from_environment("RUNTIME_DIRECTORY", "/run/hal9000");
  places.programs_dir = from_environment("HAL9000_LIBEXECDIR", build::libexecdir);
  places.credentials_dir = from_environment("CREDENTIALS_DIRECTORY", "");
  return places;
}

Result<Config> read_config(const Places& places) {
  Config config;
  config.worker.run_dir = places.run_dir;
  config.worker.state_dir = places.state_dir;
  config.worker.init_program = places.programs_dir + "/hal9000-init";
  config.worker.relay_program = places.programs_dir + "/hal9000-mcp";

  std::vector<std::string> files = {places.vendor_dir + "/hal9000.toml"};
  const std::string main_file = places.config_dir + "/hal9000.toml";
  if (struct stat status{}; ::stat(main_file.c_str(), &status) == 0) {
    files.push_back(main_file);
  }
  for (auto& file : files_of(places.config_dir + "/conf.d", ".toml")) {
    files.push_back(std::move(file));
  }
  for (const auto& file : files) {
    if (auto read = read_settings(file, config); !read) {
      return read.error();
    }
  }
  for (const auto& file : files_of(places.config_dir + "/profiles.d", ".toml")) {
    if (auto read = read_profile(file, config); !read) {
      return read.error();
    }
  }
  if (auto checked = check(config); !checked) {
    return checked.error();
  }
  auto servers = read_mcp_servers(places);
  if (!servers) {
    return servers.error();
  }
  config.mcp = *std::move(servers);
  return config;
}

std::string mcp_directory(const Places& places) {
  return places.config_dir + "/mcp.d";
}

server::ConfigOptions mcp_options(const Places& places) {
  return {.state_root = places.state_dir + "/server",
          .variables = {},
          .remote_program = places.programs_dir + "/hal9000-remote",
          .credentials_directory = places.credentials_dir};
}

Result<server::ServerConfigs> read_mcp_servers(const Places& places) {
  return server::read_servers(places.config_dir + "/mcp.json", mcp_directory(places), mcp_options(places));
}

}  // namespace hal::daemon
