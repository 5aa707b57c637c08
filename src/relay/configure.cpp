#include "relay/configure.hpp"

#include "base/names.hpp"
#include "base/text.hpp"
#include "base/unique_fd.hpp"
#include "json/json.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>

#include <nlohmann/json.hpp>

namespace hal::relay {

namespace {

using nlohmann::json;

/** Claude Code keeps histories of all projects in this file; 16 MiB is far more than it ever lets it grow to. */
constexpr json::size_type max_file_bytes = std::size_t{16} << 20;
constexpr hal::json::Limits file_limits{max_file_bytes, limits::json_depth, 2'000'000};
constexpr hal::json::Limits config_limits{std::size_t{1} << 20, 4, 10'000};
constexpr int lock_seconds = 10;

bool is_ours(const json& server) {
  const auto* command = hal::json::find(server, "command");
  return command != nullptr && command->is_string() && *command == names::worker_relay;
}

/** The member of that name, made if it is not there; an error if it is no object. */
Result<json*> object_in(json& parent, const char* key) {
  json& member = parent[key];
  if (member.is_null()) {
    member = json::object();
  }
  if (!member.is_object()) {
    return Error{Errc::protocol, std::string("\"") + key + "\" is not an object"};
  }
  return &member;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void set_servers(json& all, const Offer& offer) {
  for (auto at = all.begin(); at != all.end();) {
    const bool offered = contains(offer.servers, at.key()) || contains(offer.others, at.key());
    at = !offered && is_ours(*at) ? all.erase(at) : std::next(at);
  }
  for (const auto& name : offer.servers) {
    all[name] = {{"type", "stdio"}, {"command", names::worker_relay}, {"args", json::array({name})}};
  }
}

/** The number of a \uXXXX escape at the start of `text`, or -1. */
int escaped_unit(std::string_view text) {
  unsigned unit = 0;
  if (text.size() < 6 || text.substr(0, 2) != "\\u") {
    return -1;
  }
  const char* const end = text.data() + 6;
  const auto [at, error] = std::from_chars(text.data() + 2, end, unit, 16);
  return error == std::errc{} && at == end ? static_cast<int>(unit) : -1;
}

/**
 * Halves of surrogate pairs made U+FFFD. JavaScript writes such a half where it has cut a text in the middle of an
 * emoji, and reads it back; no strict parser does.
 */
std::string mend_surrogates(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto backslash = text.find('\\');
    out += text.substr(0, backslash);
    text.remove_prefix(std::min(backslash, text.size()));
    const int unit = escaped_unit(text);
    const int next = unit < 0 ? -1 : escaped_unit(text.substr(6));
    const bool pair = unit >= 0xD800 && unit < 0xDC00 && next >= 0xDC00 && next < 0xE000;
    const bool half = !pair && unit >= 0xD800 && unit < 0xE000;
    const std::size_t escape = unit < 0 ? 2 : pair ? 12 : 6;
    const std::size_t count = std::min(escape, text.size());
    out += half ? std::string_view("\\ufffd") : text.substr(0, count);
    text.remove_prefix(count);
  }
  return out;
}

/** The whole of a file of at most max_file_bytes; an empty one if it does not exist. */
Result<std::string> read_file(const std::string& path, bool may_be_absent) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) {
    return may_be_absent && errno == ENOENT ? Result<std::string>(std::string()) : errno_error(path);
  }
  struct stat status {};
  if (::fstat(file.get(), &status) < 0) {
    return errno_error(path);
  }
  if (!S_ISREG(status.st_mode)) {
    return Error{Errc::protocol, path + " is not a file"};
  }
  std::string text;
  char buffer[16384];
  for (;;) {
    const auto count = ::read(file.get(), buffer, sizeof buffer);
    if (count < 0 && errno != EINTR) {
      return errno_error(path);
    }
    if (count == 0) {
      return text;
    }
    text.append(buffer, static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (text.size() > max_file_bytes) {
      return Error{Errc::limit, path + " is larger than 16 MiB"};
    }
  }
}

Result<void> write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const auto count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno != EINTR) {
      return errno_error(path);
    }
    text.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  }
  return {};
}

/** Writes beside the file and renames over it, so that a reader sees the old text or the new one. */
Result<void> replace_file(const std::string& folder, const std::string& path, std::string_view text) {
  struct stat old {};
  const mode_t mode = ::stat(path.c_str(), &old) == 0 ? old.st_mode & 07777 : 0600;
  std::string temporary = path + ".XXXXXX";
  const UniqueFd file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!file) {
    return errno_error(path);
  }
  Result<void> result = write_all(file.get(), text, temporary);
  if (result &&
      (::fchmod(file.get(), mode) < 0 || ::fsync(file.get()) < 0 || ::rename(temporary.c_str(), path.c_str()) < 0)) {
    result = errno_error(path);
  }
  if (!result) {
    ::unlink(temporary.c_str());
    return result;
  }
  const UniqueFd directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ::fsync(directory.get());
  return {};
}

/** An exclusive lock on `path`, against another worker of the same home; released when the descriptor is closed. */
Result<UniqueFd> lock(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file) {
    return errno_error(path);
  }
  // The alarm interrupts flock, again and again in case it comes just before it.
  struct sigaction action {};
  action.sa_handler = [](int) {};
  ::sigaction(SIGALRM, &action, nullptr);
  const itimerval on{{0, 100'000}, {lock_seconds, 0}};
  const itimerval off{};
  ::setitimer(ITIMER_REAL, &on, nullptr);
  const int locked = ::flock(file.get(), LOCK_EX);
  const int error = errno;
  ::setitimer(ITIMER_REAL, &off, nullptr);
  if (locked < 0) {
    return errno_error("lock " + path, error == EINTR ? ETIMEDOUT : error);
  }
  return file;
}

}  // namespace

Result<Offer> read_offer(std::string_view config) {
  const auto document = hal::json::parse(config, config_limits);
  if (!document) {
    return document.error();
  }
  auto servers = hal::json::strings_at(*document, "servers");
  if (!servers) {
    return servers.error();
  }
  auto others = hal::json::optional_strings_at(*document, "others");
  if (!others) {
    return others.error();
  }
  for (const auto* names : {&*servers, &*others}) {
    for (const auto& name : *names) {
      if (!text::is_name(name)) {
        return Error{Errc::protocol, "\"" + text::printable(name) + "\" is not a server name"};
      }
    }
  }
  return Offer{*std::move(servers), *std::move(others)};
}

Result<std::string> merge(std::string_view existing, const Offer& offer) {
  json document = json::object();
  // A file that a crash left empty holds nothing to lose.
  if (!text::trim(existing).empty()) {
    auto parsed = hal::json::parse(mend_surrogates(existing), file_limits);
    if (!parsed) {
      return parsed.error();
    }
    document = *std::move(parsed);
  }
  if (!document.is_object()) {
    return Error{Errc::protocol, "not a JSON object"};
  }
  const json before = document;
  const auto all = object_in(document, "mcpServers");
  const auto projects = all ? object_in(document, "projects") : all;
  const auto workspace = projects ? object_in(**projects, names::worker_workspace) : projects;
  if (!workspace) {
    return workspace.error();
  }
  set_servers(**all, offer);
  document["hasCompletedOnboarding"] = true;
  (**workspace)["hasTrustDialogAccepted"] = true;
  (**workspace)["hasCompletedProjectOnboarding"] = true;
  return document == before ? std::string(existing) : hal::json::dump_pretty(document) + "\n";
}

Result<void> configure(const ConfigureOptions& options) {
  const auto config = read_file(options.config, false);
  if (!config) {
    return config.error();
  }
  const auto offer = read_offer(*config);
  if (!offer) {
    return offer.error().with(options.config);
  }
  const std::string path = options.home + "/.claude.json";
  const auto locked = lock(path + ".hal9000.lock");
  if (!locked) {
    return locked.error();
  }
  const auto existing = read_file(path, true);
  if (!existing) {
    return existing.error();
  }
  const auto merged = merge(*existing, *offer);
  if (!merged) {
    return merged.error().with(path + " is left as it is");
  }
  return *merged == *existing ? Result<void>() : replace_file(options.home, path, *merged);
}

}  // namespace hal::relay
