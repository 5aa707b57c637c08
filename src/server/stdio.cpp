#include "server/stdio.hpp"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>

namespace hal::server {

namespace {

/** Holds a few requests or a large answer while the gateway restarts. */
constexpr int pipe_bytes = 1 << 20;

/** Less than the smallest pipe that root gets holds. */
constexpr std::size_t max_first_line_bytes = 60 * 1024;

/** Up to 64 KiB for the entry; a larger one is not found. */
constexpr std::size_t passwd_bytes = 64 * 1024;

Result<void> make_directory(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    return errno_error("mkdir " + path);
  }
  return {};
}

/** Into a pipe that is empty: never waits. */
Result<void> write_now(int pipe, std::string_view text) {
  if (text.empty()) {
    return {};
  }
  if (text.size() > max_first_line_bytes) {
    return Error{Errc::limit, "the settings of the server are too long"};
  }
  if (::write(pipe, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return errno_error("write to the server's stdin");
  }
  return {};
}

}  // namespace

Result<StdioPipes> make_stdio(std::string_view first_line) {
  int in[2];
  if (::pipe2(in, O_CLOEXEC) != 0) {
    return errno_error("pipe2");
  }
  StdioPipes pipes;
  pipes.server_in = UniqueFd(in[0]);
  pipes.to_server = UniqueFd(in[1]);
  int out[2];
  if (::pipe2(out, O_CLOEXEC) != 0) {
    return errno_error("pipe2");
  }
  pipes.from_server = UniqueFd(out[0]);
  pipes.server_out = UniqueFd(out[1]);
  (void)::fcntl(pipes.to_server.get(), F_SETPIPE_SZ, pipe_bytes);  // smaller ones work as well
  (void)::fcntl(pipes.from_server.get(), F_SETPIPE_SZ, pipe_bytes);
  if (auto written = write_now(pipes.to_server.get(), first_line); !written) {
    return written.error();
  }
  return pipes;
}

std::vector<std::string> environment(const ServerConfig& config) {
  std::map<std::string, std::string> all{
      {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
      {"HOME", config.state_directory},
      {"LANG", "C.UTF-8"},
      {"STATE_DIRECTORY", config.state_directory},
  };
  for (const auto& [name, value] : config.env) {
    all[name] = value;
  }
  std::vector<std::string> result;
  result.reserve(all.size());
  for (const auto& [name, value] : all) {
    result.push_back(name + "=" + value);
  }
  return result;
}

std::optional<Account> find_account(const std::string& name) {
  passwd entry{};
  passwd* found = nullptr;
  std::string buffer(passwd_bytes, '\0');
  if (::geteuid() != 0 || ::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr) {
    return std::nullopt;
  }
  return Account{found->pw_uid, found->pw_gid};
}

Result<void> make_state_directory(const std::string& path, const std::optional<Account>& owner) {
  for (auto slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    if (auto made = make_directory(path.substr(0, slash), 0755); !made) {
      return made;
    }
  }
  if (auto made = make_directory(path, 0700); !made) {
    return made;
  }
  const UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat status {};
  if (!directory || ::fstat(directory.get(), &status) != 0) {
    return errno_error(path);
  }
  if (owner && (status.st_uid != owner->first || status.st_gid != owner->second) &&
      ::fchown(directory.get(), owner->first, owner->second) != 0) {
    return errno_error("chown " + path);
  }
  return {};
}

}  // namespace hal::server
