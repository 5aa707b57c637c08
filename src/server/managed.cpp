#include "server/managed.hpp"

#include "base/text.hpp"
#include "base/unique_fd.hpp"
#include "json/json.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::server {

namespace {

using nlohmann::json;

constexpr std::string_view suffix = ".managed.json";
constexpr std::size_t max_differences = 20;

/** The members that are not the same in both objects, one level into objects: "args, env.TOKEN". */
void list_differences(const json& before, const json& now, const std::string& path, std::vector<std::string>& found) {
  json all = before;
  all.update(now);
  for (const auto& [key, ignored] : all.items()) {
    const auto* old_value = hal::json::find(before, key);
    const auto* new_value = hal::json::find(now, key);
    const auto name = path + text::printable(key, 64);
    if (old_value == nullptr || new_value == nullptr) {
      found.push_back(name);
    } else if (*old_value != *new_value) {
      if (path.empty() && old_value->is_object() && new_value->is_object()) {
        list_differences(*old_value, *new_value, name + ".", found);
      } else {
        found.push_back(name);
      }
    }
  }
}

std::string differences(const json& before, const json& now) {
  std::vector<std::string> found;
  list_differences(before, now, "", found);
  std::string text;
  for (std::size_t i = 0; i < found.size() && i < max_differences; ++i) {
    text += (i == 0 ? "" : ", ") + found[i];
  }
  return found.size() > max_differences ? text + ", …" : text;
}

void refuse(PlannedServer& server, Errc code, std::string why) {
  server.change = Change::refused;
  server.code = code;
  server.detail = std::move(why);
}

/** A header that takes a credential of the daemon's: whoever may add servers could send it anywhere. */
std::string credential_header(const ServerConfigs& read) {
  for (const auto& server : read.servers) {
    if (!server.remote) {
      continue;
    }
    for (const auto& [header, value] : server.remote->headers) {
      if (value.find("credential:") != std::string::npos) {
        return text::printable(header);
      }
    }
  }
  return {};
}

PlannedServer plan_one(const std::string& name, const json& object, const ServerConfigs& defined,
                       const std::string& directory, const ConfigOptions& options) {
  PlannedServer server;
  server.name = name;
  const json document{{"mcpServers", {{name, object}}}};
  server.text = hal::json::dump_pretty(document) + "\n";
  const auto read = parse_servers(server.text, "servers", options);
  if (!read) {
    refuse(server, read.error().code, read.error().message);
    return server;
  }
  if (const auto header = credential_header(*read); !header.empty()) {
    refuse(server, Errc::invalid_argument,
           fmt::format("servers: mcpServers.{}.headers.{}: the daemon's credentials are for files of operators", name,
                       header));
    return server;
  }
  const auto found = defined.definitions.find(name);
  if (found == defined.definitions.end()) {
    return server;
  }
  const auto before = hal::json::parse(found->second.object);
  if (before && *before == object) {
    server.change = Change::same;
    server.detail = found->second.file;
  } else if (found->second.file != managed_file(directory, name)) {
    refuse(server, Errc::already_exists,
           fmt::format("{} is defined in {}, which only its author changes", name, found->second.file));
  } else {
    server.change = Change::replaced;
    server.detail = before ? differences(*before, object) : "";
  }
  return server;
}

/** Hidden from the reader of the directory. */
std::string temporary(const std::string& path) {
  const auto slash = path.rfind('/');
  return fmt::format("{}/.{}.new", path.substr(0, slash), path.substr(slash + 1));
}

Result<void> write_temporary(const std::string& path, std::string_view text) {
  (void)::unlink(path.c_str());  // of a daemon that was killed
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) {
    return errno_error(path);
  }
  while (!text.empty()) {
    const ssize_t bytes = ::write(fd.get(), text.data(), text.size());
    if (bytes < 0) {
      return errno_error(path);
    }
    text.remove_prefix(static_cast<std::size_t>(bytes));
  }
  return ::fsync(fd.get()) == 0 ? Result<void>() : errno_error(path);
}

Result<void> put(const FileChange& change) {
  if (!change.text) {
    return ::unlink(change.path.c_str()) == 0 || errno == ENOENT ? Result<void>() : errno_error(change.path);
  }
  return ::rename(temporary(change.path).c_str(), change.path.c_str()) == 0 ? Result<void>() : errno_error(change.path);
}

Result<void> sync_directory(const std::string& directory) {
  const UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return fd && ::fsync(fd.get()) == 0 ? Result<void>() : errno_error(directory);
}

}  // namespace

std::string managed_file(const std::string& directory, std::string_view name) {
  return fmt::format("{}/{}{}", directory, name, suffix);
}

std::string_view name(Change change) {
  switch (change) {
    case Change::added:
      return "added";
    case Change::replaced:
      return "replaced";
    case Change::same:
      return "same";
    case Change::refused:
      return "refused";
  }
  return "";
}

Result<std::vector<PlannedServer>> plan_servers(std::string_view servers, const ServerConfigs& defined,
                                                const std::string& directory, const ConfigOptions& options) {
  const auto document = hal::json::parse(servers, {max_config_bytes});
  const auto objects = document ? hal::json::object_at(*document, "mcpServers") : Result<const json*>(document.error());
  if (!objects) {
    return Error{objects.error().code == Errc::protocol ? Errc::invalid_argument : objects.error().code,
                 "servers: " + objects.error().message};
  }
  std::size_t added = 0;
  std::vector<PlannedServer> plan;
  for (const auto& [name, object] : (*objects)->items()) {
    plan.push_back(plan_one(name, object, defined, directory, options));
    added += plan.back().change == Change::added ? 1U : 0U;
  }
  if (added + defined.definitions.size() > max_servers) {
    return Error{Errc::limit, fmt::format("servers: more than {} servers in all", max_servers)};
  }
  return plan;
}

Result<void> write_files(const std::string& directory, const std::vector<FileChange>& changes) {
  if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) {
    return errno_error("mkdir " + directory);
  }
  Result<void> result;
  for (std::size_t i = 0; i < changes.size() && result; ++i) {
    if (changes[i].text) {
      result = write_temporary(temporary(changes[i].path), *changes[i].text);
    }
  }
  for (std::size_t i = 0; i < changes.size() && result; ++i) {
    result = put(changes[i]);
  }
  for (const auto& change : changes) {
    (void)::unlink(temporary(change.path).c_str());
  }
  return result ? sync_directory(directory) : result;
}

}  // namespace hal::server
