#include "base/text.hpp"
#include "base/unique_fd.hpp"
#include "claudy/client.hpp"
#include "claudy/import_reader.hpp"
#include "claudy/output.hpp"
#include "claudy/reply.hpp"
#include "claudy/server_install.hpp"
#include "claudy/verbs.hpp"
#include "json/json.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iostream>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

/** claudy server import: reads, shows what would change, asks, and has it done. */
namespace hal::claudy {

namespace {

using nlohmann::json;

struct Source {
  std::string path;
  ImportFormat format = ImportFormat::mcp_json;
};

/** A server of a file and what becomes of it. */
struct Item {
  ImportedServer server;
  std::string file;
  /** new, install, same, different or skipped. */
  std::string change;
  std::string detail;
  bool to_write = false;
};

std::string environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): there is one thread
  return value != nullptr ? value : "";
}

std::string current_directory() {
  char* path = ::realpath(".", nullptr);
  std::string result = path != nullptr ? path : "";
  ::free(path);
  return result;
}

ImportContext context_of_caller() {
  ImportContext context;
  context.variable = [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): there is one thread
    return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
  };
  context.home = environment("HOME");
  context.project = current_directory();
  return context;
}

Result<std::vector<Source>> sources(const ServerImportOptions& options, const ImportContext& context) {
  const auto config = environment("XDG_CONFIG_HOME");
  const std::vector<std::pair<std::string, Source>> places = {
      {"mcp-json", {".mcp.json", ImportFormat::mcp_json}},
      {"claude-code", {context.home + "/.claude.json", ImportFormat::claude_code}},
      {"claude-desktop",
       {(config.empty() ? context.home + "/.config" : config) + "/Claude/claude_desktop_config.json",
        ImportFormat::claude_desktop}}};
  const auto named =
      std::find_if(places.begin(), places.end(), [&](const auto& place) { return place.first == options.from; });
  if (!options.file.empty()) {
    const bool of_code = options.file.substr(options.file.find_last_of('/') + 1) == ".claude.json";
    const auto guessed = of_code ? ImportFormat::claude_code : ImportFormat::mcp_json;
    return std::vector<Source>{{options.file, named != places.end() ? named->second.format : guessed}};
  }
  if (named != places.end()) {
    return std::vector<Source>{named->second};
  }
  std::vector<Source> found;
  std::string all;
  for (const auto& [ignored, source] : places) {
    all += (all.empty() ? "" : ", ") + source.path;
    if (::access(source.path.c_str(), F_OK) == 0) {
      found.push_back(source);
    }
  }
  if (found.empty()) {
    return Error{Errc::invalid_argument, fmt::format("there is nothing to import ({}): name a file", all)};
  }
  return found;
}

Result<std::string> read_text(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    return Error{Errc::invalid_argument, errno_error(text::printable(path)).message};
  }
  std::string text;
  char buffer[65536];
  for (;;) {
    const ssize_t bytes = ::read(fd.get(), buffer, sizeof buffer);
    if (bytes < 0) {
      return Error{Errc::invalid_argument, errno_error(text::printable(path)).message};
    }
    if (bytes == 0) {
      return text;
    }
    text.append(buffer, static_cast<std::size_t>(bytes));
    if (text.size() > max_import_bytes) {
      return Error{Errc::limit, fmt::format("{}: is longer than {} bytes", text::printable(path), max_import_bytes)};
    }
  }
}

Result<std::vector<Item>> read_items(const ServerImportOptions& options, const ImportContext& context) {
  const auto files = sources(options, context);
  if (!files) {
    return files.error();
  }
  std::set<std::string> wanted(options.only.begin(), options.only.end());
  std::map<std::string, std::string> seen;
  std::vector<Item> items;
  for (const auto& source : *files) {
    const auto text = read_text(source.path);
    auto servers =
        text ? read_import(*text, source.format, context) : Result<std::vector<ImportedServer>>(text.error());
    if (!servers) {
      return text ? servers.error().with(text::printable(source.path)) : servers.error();
    }
    for (auto& server : *servers) {
      if (!options.only.empty() &&
          std::find(options.only.begin(), options.only.end(), server.name) == options.only.end()) {
        continue;
      }
      wanted.erase(server.name);
      Item item{std::move(server), source.path, "new", "", false};
      if (const auto [other, fresh] = seen.emplace(item.server.name, source.path); !fresh) {
        item.server.skipped = fmt::format("stands in {} as well, which goes first", other->second);
      }
      items.push_back(std::move(item));
    }
  }
  if (!wanted.empty()) {
    return Error{Errc::invalid_argument,
                 fmt::format("there is no server '{}' to import", text::printable(*wanted.begin()))};
  }
  return items;
}

// --- what would change ---------------------------------------------------------------------------------------------

ServerInstallOptions install_options(const Item& item, const ServerImportOptions& options) {
  ServerInstallOptions install;
  install.name = item.server.name;
  install.package = item.server.package->package;
  install.bin = item.server.package->bin;
  install.args = item.server.package->args;
  install.env = item.server.env;
  install.replace = options.replace;
  return install;
}

/** The command line that does it; values of variables stay out of it. */
std::string install_command(const Item& item) {
  const auto package = package_command(item.server.words).value_or(*item.server.package);
  auto command = fmt::format("claudy server install {} {}", item.server.name, package.package);
  if (!package.bin.empty()) {
    command += " --bin " + package.bin;
  }
  for (const auto& [name, ignored] : item.server.env) {
    command += " --env " + name;
  }
  for (std::size_t i = 0; i < package.args.size(); ++i) {
    command += (i == 0 ? " -- " : " ") + package.args[i];
  }
  return command;
}

Result<void> look_at_package(Bus& bus, Item& item, const ServerImportOptions& options) {
  const auto server = server_properties(bus, item.server.name);
  if (!server && server.error().code != Errc::not_found) {
    return server.error();
  }
  const auto& package = item.server.package->package;
  const auto kept = server ? text_of(*server, "package") : "";
  const auto name = package.substr(0, package.find_first_of("@=", package.find(':') + 2));
  const bool newest = package == name || package == name + "@latest";
  if (kept == package || (newest && (kept.starts_with(name + "@") || kept.starts_with(name + "==")))) {
    item.change = "same";
    item.detail = "installed as " + kept;
  } else if (!options.install) {
    item.change = "skipped";
    item.detail = "fetches a package at each start: " + install_command(item) + " (or import with --install)";
  } else if (server && kept.empty() && !options.replace) {
    item.change = "different";
    item.detail = "is there, and no package; --replace installs it instead";
  } else {
    item.change = "install";
    item.detail = package;
    item.to_write = true;
  }
  return {};
}

/** The document for AddServers. */
std::string document_of(const std::vector<Item>& items, bool all) {
  json servers = json::object();
  for (const auto& item : items) {
    if (item.server.skipped.empty() && !item.server.package && (all || item.to_write)) {
      servers[item.server.name] = hal::json::parse(item.server.entry).value_or(json());
    }
  }
  return servers.empty() ? "" : hal::json::dump({{"mcpServers", std::move(servers)}});
}

void take_change(Item& item, const std::string& change, const std::string& detail, bool replace) {
  item.detail = detail;
  if (change == "added") {
    item.change = "new";
    item.to_write = true;
  } else if (change == "replaced") {
    item.change = "different";
    item.detail = fmt::format("differs in {}{}", detail, replace ? "" : "; --replace writes it");
    item.to_write = replace;
  } else if (change == "same") {
    item.change = "same";
    item.detail = "as in " + detail;
  } else {
    item.change = "skipped";
  }
}

Result<void> compare(Bus& bus, std::vector<Item>& items, const ServerImportOptions& options) {
  for (auto& item : items) {
    if (!item.server.skipped.empty()) {
      item.change = "skipped";
      item.detail = item.server.skipped;
    } else if (item.server.package) {
      if (auto done = look_at_package(bus, item, options); !done) {
        return done;
      }
    }
  }
  const auto document = document_of(items, true);
  if (document.empty()) {
    return {};
  }
  const auto reply = bus.call(manager_method("AddServers"), {Value(document), Options{{"dry_run", true}}});
  if (!reply) {
    return reply.error();
  }
  for (const auto& row : reply->body().at(0)) {
    for (auto& item : items) {
      if (item.server.skipped.empty() && !item.server.package && item.server.name == row.at(0).get<std::string>()) {
        take_change(item, row.at(1).get<std::string>(), row.at(2).get<std::string>(), options.replace);
      }
    }
  }
  return {};
}

// --- showing -------------------------------------------------------------------------------------------------------

json to_json(const std::vector<Item>& items, bool written) {
  json servers = json::array();
  for (const auto& item : items) {
    json server{{"name", item.server.name}, {"file", item.file},          {"change", item.change},
                {"detail", item.detail},    {"notes", item.server.notes}, {"write", item.to_write}};
    if (item.server.package) {
      server["package"] = item.server.package->package;
    }
    servers.push_back(std::move(server));
  }
  return {{"servers", std::move(servers)}, {"written", written}};
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) {
    text += (text.empty() ? "" : " ") + word;
  }
  return text;
}

std::string preview(const std::vector<Item>& items) {
  std::string text;
  for (const auto& item : items) {
    const char mark = item.change == "new" || item.change == "install" ? '+'
                      : item.change == "different"                     ? '~'
                      : item.change == "same"                          ? '='
                                                                       : '-';
    const auto detail = item.change == "new"       ? joined(item.server.words)
                        : item.change == "install" ? "installs " + item.detail
                                                   : item.change + ": " + item.detail;
    text += fmt::format("{} {}  {}\n", mark, text::printable(item.server.name), text::printable(detail, 400));
    for (const auto& note : item.server.notes) {
      text += fmt::format("      {}\n", text::printable(note));
    }
  }
  return text;
}

/** Whether to go on. */
Result<bool> ask(std::size_t count, const ServerImportOptions& options) {
  if (options.yes) {
    return true;
  }
  if (options.json || ::isatty(STDIN_FILENO) == 0) {
    return Error{Errc::invalid_argument, "nothing was written: --yes writes it, --dry-run only looks"};
  }
  fmt::print(stderr, "Write {} MCP server{}? [y/N] ", count, count == 1 ? "" : "s");
  std::string answer;
  return std::getline(std::cin, answer) && (answer == "y" || answer == "Y" || answer == "yes");
}

Result<void> write_items(Bus& bus, const std::vector<Item>& items, const ServerImportOptions& options) {
  if (const auto document = document_of(items, false); !document.empty()) {
    const auto reply = bus.call(manager_method("AddServers"), {Value(document), Options{{"replace", options.replace}}});
    if (!reply) {
      return reply.error();
    }
  }
  Result<void> result;
  for (const auto& item : items) {
    if (item.change == "install") {
      if (auto done = install_and_wait(bus, install_options(item, options)); !done) {
        say(fmt::format("{}: {}", item.server.name, done.error().message));
        result = Error{done.error().code, "not everything could be installed"};
      }
    }
  }
  return result;
}

}  // namespace

Result<int> import_servers(const Global& global, const ServerImportOptions& options) {
  auto items = read_items(options, context_of_caller());
  if (!items) {
    return items.error();
  }
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  if (auto done = compare(**bus, *items, options); !done) {
    return done.error();
  }
  const auto count = static_cast<std::size_t>(
      std::count_if(items->begin(), items->end(), [](const Item& item) { return item.to_write; }));
  if (!options.json) {
    if (auto shown = print(preview(*items)); !shown) {
      return shown.error();
    }
  }
  bool write = false;
  if (count > 0 && !options.dry_run) {
    const auto answer = ask(count, options);
    if (!answer) {
      return answer.error();
    }
    write = *answer;
  }
  const auto written = write ? write_items(**bus, *items, options) : Result<void>();
  if (options.json) {
    if (auto shown = print(hal::json::dump_pretty(to_json(*items, write)) + "\n"); !shown) {
      return shown.error();
    }
  }
  return written ? Result<int>(0) : Result<int>(written.error());
}

}  // namespace hal::claudy
