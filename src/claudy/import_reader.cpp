#include "claudy/import_reader.hpp"

#include "claudy/import_entry.hpp"
#include "json/json.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::claudy {

namespace {

using nlohmann::json;

/** Claude Code keeps the history of every project in its file. */
constexpr std::size_t max_values = 4'000'000;

/** The servers of the project, or of the nearest directory above it that has some; null if none has. */
Result<const json*> project_servers(const json& document, std::string directory) {
  const auto projects = hal::json::optional_object_at(document, "projects");
  if (!projects || *projects == nullptr) {
    return projects;
  }
  while (!directory.empty()) {
    if (const auto* project = hal::json::find(**projects, directory); project != nullptr) {
      auto servers = hal::json::optional_object_at(*project, "mcpServers", "projects." + directory);
      if (!servers || (*servers != nullptr && !(*servers)->empty())) {
        return servers;
      }
    }
    const auto slash = directory.rfind('/');
    directory.resize(slash == std::string::npos ? 0 : slash);
  }
  return nullptr;
}

}  // namespace

Result<std::vector<ImportedServer>> read_import(std::string_view text, ImportFormat format,
                                                const ImportContext& context) {
  const auto document = hal::json::parse(text, {max_import_bytes, limits::json_depth, max_values});
  if (!document) {
    return Error{Errc::invalid_argument, document.error().message};
  }
  const bool all_scopes = format == ImportFormat::claude_code;
  const auto servers = all_scopes ? hal::json::optional_object_at(*document, "mcpServers")
                                  : hal::json::object_at(*document, "mcpServers");
  const auto own = all_scopes ? project_servers(*document, context.project) : Result<const json*>(nullptr);
  if (!servers || !own) {
    return Error{Errc::invalid_argument, (!servers ? servers.error() : own.error()).message};
  }
  std::map<std::string, ImportedServer> found;
  for (const auto* scope : {*servers, *own}) {
    if (scope == nullptr) {
      continue;
    }
    for (const auto& [name, object] : scope->items()) {
      found[name] = read_import_entry(name, object, context);
    }
  }
  if (found.size() > max_import_servers) {
    return Error{Errc::limit, fmt::format("mcpServers: has more than {} servers", max_import_servers)};
  }
  std::vector<ImportedServer> result;
  for (auto& [name, server] : found) {
    result.push_back(std::move(server));
  }
  return result;
}

}  // namespace hal::claudy
