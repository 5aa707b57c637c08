#include "server/server_reader.hpp"

#include "base/limits.hpp"
#include "base/text.hpp"
#include "json/json.hpp"
#include "server/expand.hpp"
#include "server/remote_reader.hpp"
#include "server/units.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::server {

namespace {

using nlohmann::json;

/** Less is a mistake in the unit: no runtime starts in it. */
constexpr std::uint64_t min_memory_bytes = std::uint64_t{16} << 20;
constexpr std::chrono::milliseconds max_stop_timeout{300'000};
/** Below it a server would do little but start. */
constexpr std::chrono::milliseconds min_idle_timeout{1'000};
constexpr std::uint64_t max_sessions = 1024;
constexpr std::size_t max_env_name_bytes = 256;

Error at(std::string_view path, std::string_view problem) {
  return {Errc::invalid_argument, fmt::format("{}: {}", path, problem)};
}

std::string below(std::string_view path, std::string_view key) {
  return fmt::format("{}.{}", path, text::printable(key));
}

/** A failure of the typed readers, whose message has the path already. */
Error of_reader(const Error& error) {
  return {Errc::invalid_argument, error.message};
}

/** As shells and systemd take them. */
bool is_env_name(std::string_view name) {
  const auto word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && name.size() <= max_env_name_bytes && word(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return word(c) || (c >= '0' && c <= '9'); });
}

/** Collects one server's members; the first failure stays. */
class ServerReader {
 public:
  ServerReader(const json& object, std::string path, ServerConfig& config, std::vector<std::string>& notes,
               const ConfigOptions& options)
      : object_(object),
        path_(std::move(path)),
        config_(config),
        notes_(notes),
        options_(options),
        variables_(options.variables) {
    variables_["STATE_DIRECTORY"] = config.state_directory;
  }

  Result<bool> read() {
    if (!object_.is_object()) {
      return at(path_, "must be an object");
    }
    for (const auto step : {&ServerReader::read_kind, &ServerReader::read_command, &ServerReader::read_env,
                            &ServerReader::read_cwd, &ServerReader::read_own, &ServerReader::note_other_keys}) {
      if (auto done = (this->*step)(); !done) {
        return done.error();
      }
    }
    return read_enabled();
  }

 private:
  /** By its type, or else by what it has: a URL or a command. */
  Result<void> read_kind() {
    const auto type = hal::json::optional_string_at(object_, "type", path_);
    if (!type) {
      return of_reader(type.error());
    }
    const auto* url = url_key(object_);
    const auto transport = read_transport(type->value_or(url != nullptr ? "http" : "stdio"));
    if (!transport) {
      return at(below(path_, "type"), transport.error().message);
    }
    if (!*transport) {
      return url == nullptr ? Result<void>() : at(below(path_, url), "is for servers of type 'http' or 'sse'");
    }
    if (hal::json::find(object_, "command") != nullptr) {
      return at(below(path_, "command"), "a server with a URL has none");
    }
    config_.remote.emplace();
    config_.remote->transport = **transport;
    config_.remote->credentials_directory = options_.credentials_directory;
    config_.argv = {options_.remote_program, config_.name};
    return read_remote(object_, path_, variables_, *config_.remote, notes_);
  }

  Result<void> read_command() {
    if (config_.remote) {
      return {};
    }
    const auto command = hal::json::string_at(object_, "command", path_);
    const auto args = hal::json::optional_strings_at(object_, "args", path_);
    if (!command || !args) {
      return of_reader(!command ? command.error() : args.error());
    }
    if (args->size() >= limits::argv_words) {
      return at(below(path_, "args"), fmt::format("has more than {} words", limits::argv_words - 1));
    }
    auto program = expand_member(*command, below(path_, "command"), variables_);
    if (!program) {
      return program.error();
    }
    if (program->empty()) {
      return at(below(path_, "command"), "is empty");
    }
    config_.argv.push_back(*std::move(program));
    for (std::size_t i = 0; i < args->size(); ++i) {
      auto word = expand_member((*args)[i], fmt::format("{}.args[{}]", path_, i), variables_);
      if (!word) {
        return word.error();
      }
      config_.argv.push_back(*std::move(word));
    }
    return {};
  }

  Result<void> read_env() {
    const auto env = hal::json::optional_object_at(object_, "env", path_);
    if (!env) {
      return of_reader(env.error());
    }
    if (*env == nullptr) {
      return {};
    }
    const auto path = below(path_, "env");
    if ((*env)->size() > limits::env_entries) {
      return at(path, fmt::format("has more than {} entries", limits::env_entries));
    }
    for (const auto& [key, ignored] : (*env)->items()) {
      const auto value = hal::json::string_at(**env, key, path);
      if (!value) {
        return of_reader(value.error());
      }
      if (!is_env_name(key)) {
        return at(below(path, key), "is no name of an environment variable");
      }
      auto text = expand_member(*value, below(path, key), variables_);
      if (!text) {
        return text.error();
      }
      config_.env[key] = *std::move(text);
    }
    return {};
  }

  Result<void> read_cwd() {
    const auto cwd = hal::json::optional_string_at(object_, "cwd", path_);
    if (!cwd) {
      return of_reader(cwd.error());
    }
    if (*cwd) {
      auto text = expand_member(**cwd, below(path_, "cwd"), variables_);
      if (!text) {
        return text.error();
      }
      if (!text->empty() && text->front() != '/') {
        return at(below(path_, "cwd"), "must be an absolute path");
      }
      config_.cwd = *std::move(text);
    }
    return {};
  }

  /** What stands under the key "hal9000". */
  Result<void> read_own() {
    const auto own = hal::json::optional_object_at(object_, "hal9000", path_);
    if (!own) {
      return of_reader(own.error());
    }
    if (*own == nullptr) {
      return {};
    }
    const auto path = below(path_, "hal9000");
    if (auto known = hal::json::only_keys(
            **own,
            {"mode", "network", "memory_max", "tasks_max", "stop_timeout", "max_sessions", "max_requests",
             "request_timeout", "idle_timeout", "tools", "audit", "proxy", "package"},
            path);
        !known) {
      return of_reader(known.error());
    }
    if (!config_.remote && hal::json::find(**own, "proxy") != nullptr) {
      return at(below(path, "proxy"), "is for servers of type 'http' or 'sse'");
    }
    if (auto done = read_choices(**own, path); !done) {
      return done;
    }
    auto package = hal::json::optional_string_at(**own, "package", path);
    if (!package) {
      return of_reader(package.error());
    }
    config_.package = text::printable((*package).value_or(""));
    if (auto done = read_policy(**own, path); !done) {
      return done;
    }
    return read_limits(**own, path);
  }

  Result<void> read_policy(const json& own, const std::string& path) {
    if (const auto* tools = hal::json::find(own, "tools"); tools != nullptr) {
      auto rules = policy::read_tool_rules(*tools, below(path, "tools"));
      if (!rules) {
        return rules.error();
      }
      config_.tools = std::move(*rules);
      config_.tools.origin = below(path, "tools");
    }
    const auto audit = hal::json::optional_string_at(own, "audit", path);
    if (!audit) {
      return of_reader(audit.error());
    }
    if (*audit) {
      if (**audit != "hash" && **audit != "arguments" && **audit != "off") {
        return at(below(path, "audit"), "must be 'hash', 'arguments' or 'off'");
      }
      config_.audit = **audit == "off" ? Audit::off : **audit == "hash" ? Audit::hash : Audit::arguments;
    }
    return {};
  }

  Result<void> read_choices(const json& own, const std::string& path) {
    const auto mode = hal::json::optional_string_at(own, "mode", path);
    const auto network = hal::json::optional_string_at(own, "network", path);
    if (!mode || !network) {
      return of_reader(!mode ? mode.error() : network.error());
    }
    if (*mode) {
      if (**mode != "shared" && **mode != "session") {
        return at(below(path, "mode"), "must be 'shared' or 'session'");
      }
      config_.mode = **mode == "shared" ? Mode::shared : Mode::session;
    }
    if (*network) {
      constexpr std::array all{Network::none, Network::parent, Network::host};
      const auto* found = std::find_if(all.begin(), all.end(), [&](Network entry) { return name(entry) == **network; });
      if (found == all.end()) {
        return at(below(path, "network"), "must be 'none', 'parent' or 'host'");
      }
      config_.network = *found;
    }
    return {};
  }

  Result<void> read_limits(const json& own, const std::string& path) {
    if (auto done = read_memory(own, path); !done) {
      return done;
    }
    for (const auto& [key, target] :
         {std::pair{"tasks_max", &config_.tasks_max}, std::pair{"max_sessions", &config_.max_sessions},
          std::pair{"max_requests", &config_.max_requests}}) {
      const auto value = hal::json::optional_unsigned_at(own, key, path);
      if (!value) {
        return of_reader(value.error());
      }
      *target = value->value_or(*target);
    }
    if (config_.max_sessions == 0 || config_.max_sessions > max_sessions) {
      return at(below(path, "max_sessions"), fmt::format("must be between 1 and {}", max_sessions));
    }
    if (auto done = read_time(own, path, "stop_timeout", config_.stop_timeout); !done) {
      return done;
    }
    if (config_.stop_timeout > max_stop_timeout) {
      return at(below(path, "stop_timeout"), fmt::format("must be at most {} s", max_stop_timeout.count() / 1000));
    }
    if (auto done = read_time(own, path, "request_timeout", config_.request_timeout); !done) {
      return done;
    }
    return read_idle_timeout(own, path);
  }

  Result<void> read_idle_timeout(const json& own, const std::string& path) {
    if (auto done = read_time(own, path, "idle_timeout", config_.idle_timeout); !done) {
      return done;
    }
    if (config_.idle_timeout.count() != 0 && config_.idle_timeout < min_idle_timeout) {
      return at(below(path, "idle_timeout"), fmt::format("must be at least {} s", min_idle_timeout.count() / 1000));
    }
    if (config_.idle_timeout.count() != 0 && config_.mode == Mode::session) {
      return at(below(path, "idle_timeout"), "is for mode 'shared': a process of one session ends with the session");
    }
    return {};
  }

  Result<void> read_memory(const json& own, const std::string& path) {
    const auto* value = hal::json::find(own, "memory_max");
    if (value == nullptr || value->is_null()) {
      return {};
    }
    const auto* text = value->get_ptr<const json::string_t*>();
    const auto size = text != nullptr ? parse_size(*text) : hal::json::unsigned_at(own, "memory_max", path);
    if (!size) {
      return text != nullptr ? at(below(path, "memory_max"), size.error().message) : of_reader(size.error());
    }
    if (*size < min_memory_bytes) {
      return at(below(path, "memory_max"), fmt::format("{} bytes are less than any server needs (16M)", *size));
    }
    config_.memory_max = *size;
    return {};
  }

  static Result<void> read_time(const json& own, const std::string& path, const char* key,
                                std::chrono::milliseconds& target) {
    const auto* value = hal::json::find(own, key);
    if (value == nullptr || value->is_null()) {
      return {};
    }
    const auto* text = value->get_ptr<const json::string_t*>();
    if (text == nullptr && !value->is_number_unsigned()) {
      return at(below(path, key), "must be seconds, or a text like '500ms' or '10s'");
    }
    const auto time = parse_duration(text != nullptr ? *text : fmt::to_string(value->get<std::uint64_t>()));
    if (!time) {
      return at(below(path, key), time.error().message);
    }
    target = *time;
    return {};
  }

  /** Claude's own settings and what we do not know have no effect here; the operator is told. */
  Result<void> note_other_keys() {
    constexpr std::array known{"env", "cwd", "type", "disabled", "enabled", "hal9000"};
    constexpr std::array of_commands{"command", "args"};
    constexpr std::array of_remotes{"headers", "timeout"};
    const auto* url = url_key(object_);
    const auto among = [](const auto& keys, const std::string& key) {
      return std::find(keys.begin(), keys.end(), key) != keys.end();
    };
    for (const auto& [key, ignored] : object_.items()) {
      const bool has_effect =
          among(known, key) || (config_.remote ? key == url || among(of_remotes, key) : among(of_commands, key));
      if (!has_effect && notes_.size() < max_servers) {
        notes_.push_back(fmt::format("{} has no effect", below(path_, key)));
      }
    }
    return {};
  }

  Result<bool> read_enabled() {
    const auto disabled = hal::json::optional_bool_at(object_, "disabled", path_);
    const auto enabled = hal::json::optional_bool_at(object_, "enabled", path_);
    if (!disabled || !enabled) {
      return of_reader(!disabled ? disabled.error() : enabled.error());
    }
    return !disabled->value_or(false) && enabled->value_or(true);
  }

  const json& object_;
  std::string path_;
  ServerConfig& config_;
  std::vector<std::string>& notes_;
  const ConfigOptions& options_;
  std::map<std::string, std::string> variables_;
};

/** One process for all would mix the thoughts of all sessions. */
bool keeps_thoughts(std::string_view name) {
  std::string letters;
  std::copy_if(name.begin(), name.end(), std::back_inserter(letters), [](char c) { return c != '-' && c != '_'; });
  return letters == "sequentialthinking";
}

}  // namespace

Result<bool> read_server(const json& object, const std::string& path, const ConfigOptions& options,
                         ServerConfig& config, std::vector<std::string>& notes) {
  config.state_directory = options.state_root + "/" + config.name;
  config.mode = keeps_thoughts(config.name) ? Mode::session : Mode::shared;
  return ServerReader(object, path, config, notes, options).read();
}

}  // namespace hal::server
