#include "server/config.hpp"

#include "base/text.hpp"
#include "base/unique_fd.hpp"
#include "json/json.hpp"
#include "server/server_reader.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::server {

namespace {

constexpr std::size_t max_files = 256;

/** Servers by name; a disabled one has no configuration but hides one read earlier. */
using ServerMap = std::map<std::string, std::optional<ServerConfig>>;

struct File {
  ServerMap servers;
  std::map<std::string, Definition> definitions;
  std::vector<std::string> notes;
};

Error in_file(std::string_view file, const Error& error) {
  return Error{error.code == Errc::protocol ? Errc::invalid_argument : error.code, error.message}.with(file);
}

Result<File> parse_file(std::string_view text, std::string_view file, const ConfigOptions& options) {
  const auto document = json::parse(text, {max_config_bytes});
  if (!document) {
    return in_file(file, document.error());
  }
  const auto servers = json::object_at(*document, "mcpServers");
  if (!servers) {
    return in_file(file, servers.error());
  }
  if ((*servers)->size() > max_servers) {
    return Error{Errc::invalid_argument, fmt::format("{}: mcpServers: has more than {} servers", file, max_servers)};
  }
  File result;
  for (const auto& [name, object] : (*servers)->items()) {
    const auto path = fmt::format("mcpServers.{}", text::printable(name));
    if (!text::is_name(name)) {
      return Error{
          Errc::invalid_argument,
          fmt::format("{}: {}: a server's name has letters, digits, '.', '_' and '-', 64 at most", file, path)};
    }
    if (name == "configure" || name == "guard") {  // which are no servers to `hal9000-mcp NAME`
      return Error{Errc::invalid_argument,
                   fmt::format("{}: {}: is a mode of hal9000-mcp and no name of a server", file, path)};
    }
    ServerConfig config;
    config.name = name;
    config.file = file;
    std::vector<std::string> notes;
    const auto enabled = read_server(object, path, options, config, notes);
    if (!enabled) {
      return in_file(file, enabled.error());
    }
    if (!config.tools.origin.empty()) {
      config.tools.origin = fmt::format("{}: {}", file, config.tools.origin);
    }
    for (const auto& note : notes) {
      result.notes.push_back(fmt::format("{}: {}", file, note));
    }
    result.definitions[name] = {std::string(file), json::dump(object)};
    result.servers[name] = *enabled ? std::optional(std::move(config)) : std::nullopt;
  }
  return result;
}

/** Nothing where there is no file. */
Result<std::optional<std::string>> read_text(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) {
    return errno == ENOENT ? Result<std::optional<std::string>>(std::nullopt) : errno_error(path);
  }
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) {
    return errno_error(path);
  }
  if (!S_ISREG(status.st_mode)) {
    return Error{Errc::invalid_argument, path + ": is no regular file"};
  }
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t bytes = ::read(fd.get(), buffer, sizeof buffer);
    if (bytes < 0) {
      return errno_error(path);
    }
    if (bytes == 0) {
      return std::optional(std::move(text));
    }
    text.append(buffer, static_cast<std::size_t>(bytes));
    if (text.size() > max_config_bytes) {
      return Error{Errc::invalid_argument, fmt::format("{}: is longer than {} bytes", path, max_config_bytes)};
    }
  }
}

/** The paths of the directory's *.json in name order, without hidden ones. */
Result<std::vector<std::string>> list_files(const std::string& directory) {
  std::vector<std::string> paths;
  const std::unique_ptr<DIR, int (*)(DIR*)> handle(::opendir(directory.c_str()), ::closedir);
  if (!handle) {
    return errno == ENOENT ? Result<std::vector<std::string>>(paths) : errno_error(directory);
  }
  while (const dirent* entry = ::readdir(handle.get())) {
    const std::string_view name = entry->d_name;
    if (name.ends_with(".json") && !name.starts_with(".")) {
      paths.push_back(fmt::format("{}/{}", directory, name));
    }
    if (paths.size() > max_files) {
      return Error{Errc::invalid_argument, fmt::format("{}: has more than {} files", directory, max_files)};
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

/** Later ones replace earlier ones. */
void merge(File file, const std::string& path, File& all) {
  all.notes.insert(all.notes.end(), file.notes.begin(), file.notes.end());
  for (auto& [name, config] : file.servers) {
    if (all.servers.contains(name)) {
      all.notes.push_back(fmt::format("{}: mcpServers.{} replaces the one read before", path, name));
    }
    all.servers[name] = std::move(config);
    all.definitions[name] = std::move(file.definitions[name]);
  }
}

ServerConfigs enabled_of(File file) {
  ServerConfigs result;
  result.notes = std::move(file.notes);
  result.definitions = std::move(file.definitions);
  for (auto& [name, config] : file.servers) {
    if (config) {
      result.servers.push_back(*std::move(config));
    }
  }
  return result;
}

}  // namespace

std::string_view name(Mode mode) {
  return mode == Mode::shared ? "shared" : "session";
}

std::string_view name(Network network) {
  switch (network) {
    case Network::none:
      return "none";
    case Network::parent:
      return "parent";
    case Network::host:
      return "host";
  }
  return "";
}

std::string fingerprint(const ServerConfig& config) {
  // FNV-1a: it tells apart what an operator wrote; nobody attacks it.
  std::uint64_t hash = 0xcbf29ce484222325U;
  const auto add = [&hash](std::string_view part) {
    for (const char c : part) {
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    }
    hash = (hash ^ 0xffU) * 0x100000001b3U;  // no part of UTF-8: ends the part
  };
  for (const auto& word : config.argv) {
    add(word);
  }
  add({});
  for (const auto& [key, value] : config.env) {
    add(key);
    add(value);
  }
  add({});
  for (const auto& part :
       {config.cwd, config.state_directory, std::string(name(config.mode)), std::string(name(config.network)),
        fmt::to_string(config.memory_max), fmt::to_string(config.tasks_max)}) {
    add(part);
  }
  if (const auto& remote = config.remote) {
    add(remote->url);
    add(remote->transport == RemoteServer::Transport::sse ? "sse" : "http");
    for (const auto& [key, value] : remote->headers) {
      add(key);
      add(value);
    }
    add(fmt::to_string(remote->timeout.count()));
    add(remote->proxy);
  }
  return fmt::format("{:016x}", hash);
}

Result<ServerConfigs> parse_servers(std::string_view text, std::string_view file, const ConfigOptions& options) {
  auto parsed = parse_file(text, file, options);
  if (!parsed) {
    return parsed.error();
  }
  return enabled_of(*std::move(parsed));
}

Result<ServerConfigs> read_servers(const std::string& file, const std::string& directory,
                                   const ConfigOptions& options) {
  auto paths = list_files(directory);
  if (!paths) {
    return paths.error();
  }
  paths->insert(paths->begin(), file);
  File all;
  for (const auto& path : *paths) {
    const auto text = read_text(path);
    if (!text) {
      return text.error();
    }
    if (!*text) {
      continue;
    }
    auto parsed = parse_file(**text, path, options);
    if (!parsed) {
      return parsed.error();
    }
    merge(*std::move(parsed), path, all);
  }
  if (all.servers.size() > max_servers) {
    return Error{Errc::invalid_argument, fmt::format("{}: more than {} servers in all", directory, max_servers)};
  }
  return enabled_of(std::move(all));
}

}  // namespace hal::server
