#include "worker/run_folder.hpp"

#include "base/text.hpp"
#include "base/unique_fd.hpp"
#include "json/json.hpp"
#include "worker/container_spec.hpp"
#include "worker/managed_settings.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace hal::worker {

namespace {

constexpr const char* files[] = {"mcp.sock", "control.sock", "mcp.json", "settings.json", "token", "token.new"};
/** 256 bits. */
constexpr std::size_t secret_digits = 64;

/** Readable for all: which user runs the worker's programs depends on its project, and the folder is the worker's. */
Result<void> write_file(const std::string& path, std::string_view text) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd || ::fchmod(fd.get(), 0644) != 0 ||
      ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return errno_error("write " + path);
  }
  return {};
}

/** Empty if there is none, or no whole one. */
std::string read_token(const std::string& path, const WorkerId& id) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  char buffer[256];
  const auto bytes = fd ? ::read(fd.get(), buffer, sizeof buffer) : -1;
  std::string token(buffer, bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
  const bool whole = token.size() == id.value.size() + 1 + secret_digits && token.rfind(id.value + ".", 0) == 0;
  return whole ? token : std::string();
}

}  // namespace

Result<void> make_run_folder(const Settings& settings, const Worker& worker, const std::vector<std::string>& others) {
  const std::string folder = run_folder(settings, worker.id);
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) {
    return errno_error("mkdir " + folder);
  }
  if (::chmod(folder.c_str(), 0755) != 0) {  // whatever the umask; the folder above lets only root in
    return errno_error("chmod " + folder);
  }
  const std::string servers = json::dump({{"servers", worker.servers}, {"others", others}}) + "\n";
  if (auto written = write_file(folder + "/mcp.json", servers); !written) {
    return written;
  }
  const auto profile = settings.profiles.find(worker.profile);
  const auto guards = profile != settings.profiles.end() ? profile->second.guards : Profile().guards;
  if (auto written = write_file(folder + "/settings.json", managed_settings(guards, others)); !written) {
    return written;
  }
  const auto token = worker_token(settings, worker.id);
  return token ? Result<void>() : Result<void>(token.error());
}

Result<std::string> worker_token(const Settings& settings, const WorkerId& id) {
  const std::string path = run_folder(settings, id) + "/token";
  if (auto token = read_token(path, id); !token.empty()) {
    return token;
  }
  auto token = id.value + "." + text::random_hex(secret_digits);
  if (auto written = write_file(path + ".new", token); !written) {
    return written.error();
  }
  if (::rename((path + ".new").c_str(), path.c_str()) != 0) {
    return errno_error("rename " + path);
  }
  return token;
}

std::vector<WorkerId> run_folders(const Settings& settings) {
  std::vector<WorkerId> ids;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir((settings.run_dir + "/worker").c_str()), ::closedir);
  while (const dirent* entry = dir ? ::readdir(dir.get()) : nullptr) {
    if (text::is_name(entry->d_name)) {
      ids.push_back(WorkerId{entry->d_name});
    }
  }
  return ids;
}

void remove_run_folder(const Settings& settings, const WorkerId& id) {
  const std::string folder = run_folder(settings, id);
  for (const char* file : files) {
    (void)::unlink((folder + "/" + file).c_str());
  }
  (void)::rmdir(folder.c_str());
}

}  // namespace hal::worker
