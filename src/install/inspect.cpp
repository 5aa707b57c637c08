#include "install/inspect.hpp"

#include "base/text.hpp"
#include "base/unique_fd.hpp"
#include "install/recipe.hpp"
#include "json/json.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::install {

namespace {

using nlohmann::json;

/** A lock of a thousand packages is half a megabyte; pip's report has every description in full. */
constexpr std::size_t max_file_bytes = std::size_t{32} << 20;
constexpr std::size_t max_values = 1'000'000;
constexpr std::size_t max_programs = 64;

Result<std::string> read_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0) {
    return errno_error(path);
  }
  if (!S_ISREG(status.st_mode) || static_cast<std::size_t>(status.st_size) > max_file_bytes) {
    return Error{Errc::limit, path + ": is no file, or too large"};
  }
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t bytes = ::read(fd.get(), text.data() + done, text.size() - done);
    if (bytes <= 0) {
      return bytes < 0 ? errno_error(path) : Error{Errc::protocol, path + ": has become shorter"};
    }
    done += static_cast<std::size_t>(bytes);
  }
  return text;
}

Result<json> read_json(const std::string& path) {
  const auto text = read_file(path);
  auto document =
      text ? hal::json::parse(*text, {max_file_bytes, limits::json_depth, max_values}) : Result<json>(text.error());
  return document ? document : document.error().with(path);
}

Result<void> write_lock(const std::string& folder, const json& lock) {
  const auto path = folder + "/lock.json";
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  const auto text = hal::json::dump_pretty(lock) + "\n";
  return fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? Result<void>()
                                                                                                : errno_error(path);
}

bool is_program(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 0111U) != 0;
}

/** A file's name and nothing more. */
bool is_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

Result<std::string> choose(const Package& package, std::vector<std::string> programs, const std::string& bin) {
  std::sort(programs.begin(), programs.end());
  std::string all;
  for (const auto& name : programs) {
    all += (all.empty() ? "" : ", ") + text::printable(name, 64);
  }
  if (programs.empty()) {
    return Error{Errc::invalid_argument, package.text() + " has no program to start: it is no MCP server"};
  }
  if (bin.empty() && programs.size() > 1) {
    return Error{Errc::invalid_argument,
                 fmt::format("{} has several programs, name one of them with --bin: {}", package.text(), all)};
  }
  if (!bin.empty() && std::find(programs.begin(), programs.end(), bin) == programs.end()) {
    return Error{Errc::invalid_argument,
                 fmt::format("{} has no program '{}', but: {}", package.text(), text::printable(bin), all)};
  }
  return bin.empty() ? programs.front() : bin;
}

// --- npm -----------------------------------------------------------------------------------------------------------

/** The names under `bin` of a package.json; a single one has the package's own. */
std::vector<std::string> npm_programs(const json& manifest, const Package& package) {
  const auto* bin = hal::json::find(manifest, "bin");
  if (bin == nullptr) {
    return {};
  }
  if (bin->is_string()) {
    return {package.name.substr(package.name.find('/') + 1)};
  }
  std::vector<std::string> names;
  if (!bin->is_object()) {
    return names;
  }
  for (const auto& [name, ignored] : bin->items()) {
    if (is_file_name(name) && names.size() < max_programs) {
      names.push_back(name);
    }
  }
  return names;
}

json npm_lock(const json& lock) {
  json packages = json::object();
  const auto all = hal::json::optional_object_at(lock, "packages");
  if (!all || *all == nullptr) {
    return packages;
  }
  for (const auto& [path, entry] : (*all)->items()) {
    const auto version = hal::json::string_at(entry, "version");
    const auto integrity = hal::json::string_at(entry, "integrity");
    if (!path.empty() && version) {
      packages[path] = {{"version", *version}, {"integrity", integrity.value_or("")}};
    }
  }
  return packages;
}

Result<Installed> inspect_npm(Package package, const std::string& folder, const std::string& bin) {
  const auto manifest = read_json(fmt::format("{}/node_modules/{}/package.json", folder, package.name));
  const auto lock = read_json(folder + "/package-lock.json");
  if (!manifest || !lock) {
    return !manifest ? manifest.error() : lock.error();
  }
  const auto version = hal::json::string_at(*manifest, "version");
  if (!version) {
    return version.error().with(package.name);
  }
  package.version = text::printable(*version, 64);
  const auto name = choose(package, npm_programs(*manifest, package), bin);
  if (!name) {
    return name.error();
  }
  auto packages = npm_lock(*lock);
  const auto own = packages.value("node_modules/" + package.name, json::object());
  if (auto done = write_lock(
          folder,
          {{"package", package.text()}, {"integrity", own.value("integrity", "")}, {"packages", std::move(packages)}});
      !done) {
    return done.error();
  }
  return Installed{folder, fmt::format("{}/node_modules/.bin/{}", folder, *name), package};
}

// --- PyPI ----------------------------------------------------------------------------------------------------------

/** PEP 503, and as folders have it: runs of "-", "_" and "." are one "_". */
std::string normalised(std::string_view name) {
  std::string result;
  for (const char c : name) {
    const bool separator = c == '-' || c == '_' || c == '.';
    if (separator && result.ends_with('_')) {
      continue;
    }
    result += separator ? '_' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return result;
}

/** The names in a directory; empty where there is none. */
std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> handle(::opendir(path.c_str()), ::closedir);
  while (const dirent* entry = handle ? ::readdir(handle.get()) : nullptr) {
    names.emplace_back(entry->d_name);
  }
  return names;
}

/** The text of an entry_points.txt; empty where the package has none. */
std::string entry_points_of(const std::string& folder, const std::string& name) {
  const auto wanted = normalised(name);
  for (const auto& python : names_in(folder + "/lib")) {
    const auto packages = fmt::format("{}/lib/{}/site-packages", folder, python);
    for (const auto& entry : names_in(packages)) {
      if (entry.ends_with(".dist-info") && normalised(entry.substr(0, entry.find('-'))) == wanted) {
        return read_file(fmt::format("{}/{}/entry_points.txt", packages, entry)).value_or("");
      }
    }
  }
  return {};
}

/** name@version to version and hash, of pip's report; the version and hash of `package` itself. */
struct PipReport {
  json packages = json::object();
  std::string version;
  std::string integrity;
};

Result<PipReport> read_report(const json& report, const Package& package) {
  const auto items = hal::json::array_at(report, "install");
  if (!items) {
    return items.error();
  }
  PipReport result;
  for (const auto& item : **items) {
    const auto metadata = hal::json::object_at(item, "metadata");
    const auto name = metadata ? hal::json::string_at(**metadata, "name") : Result<std::string>(metadata.error());
    const auto version = metadata ? hal::json::string_at(**metadata, "version") : name;
    if (!name || !version) {
      return !name ? name.error() : version.error();
    }
    std::string hash;
    const json::json_pointer place("/download_info/archive_info/hashes/sha256");
    if (item.contains(place) && item.at(place).is_string()) {
      hash = "sha256:" + item.at(place).get<std::string>();
    }
    result.packages[*name] = {{"version", *version}, {"integrity", hash}};
    if (normalised(*name) == normalised(package.name)) {
      result.version = text::printable(*version, 64);
      result.integrity = hash;
    }
  }
  return result;
}

Result<Installed> inspect_pypi(Package package, const std::string& folder, const std::string& bin) {
  const auto document = read_json(pip_report(folder));
  auto report = document ? read_report(*document, package) : Result<PipReport>(document.error());
  if (!report) {
    return report.error().with("pip's report");
  }
  if (report->version.empty()) {
    return Error{Errc::protocol, fmt::format("pip's report has no {}", package.name)};
  }
  package.version = report->version;
  const auto name = choose(package, console_scripts(entry_points_of(folder, package.name)), bin);
  if (!name) {
    return name.error();
  }
  if (auto done = write_lock(
          folder,
          {{"package", package.text()}, {"integrity", report->integrity}, {"packages", std::move(report->packages)}});
      !done) {
    return done.error();
  }
  return Installed{folder, fmt::format("{}/bin/{}", folder, *name), package};
}

}  // namespace

std::vector<std::string> console_scripts(std::string_view entry_points) {
  std::vector<std::string> names;
  bool inside = false;
  for (const auto raw : text::split(entry_points, '\n')) {
    const auto line = text::trim(raw);
    if (line.starts_with('[')) {
      inside = line == "[console_scripts]";
    } else if (const auto equals = line.find('='); inside && equals != std::string_view::npos) {
      if (const auto name = text::trim(line.substr(0, equals)); is_file_name(name) && names.size() < max_programs) {
        names.emplace_back(name);
      }
    }
  }
  return names;
}

Result<Installed> inspect(const Package& package, const std::string& folder, const std::string& bin) {
  auto installed =
      package.registry == Registry::npm ? inspect_npm(package, folder, bin) : inspect_pypi(package, folder, bin);
  if (installed && !is_program(installed->program)) {
    return Error{Errc::invalid_argument,
                 fmt::format("{}: its program {} was not installed", package.text(), installed->program)};
  }
  return installed;
}

}  // namespace hal::install
