#include "worker/run_folder.hpp"

#include "base/unique_fd.hpp"
#include "json/json.hpp"
#include "worker/container_spec.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include <nlohmann/json.hpp>

namespace hal::worker {

namespace {

constexpr const char* files[] = {"mcp.sock", "control.sock", "mcp.json"};

}  // namespace

Result<void> make_run_folder(const Settings& settings, const Worker& worker) {
  const std::string folder = run_folder(settings, worker.id);
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) {
    return errno_error("mkdir " + folder);
  }
  if (::chmod(folder.c_str(), 0755) != 0) {  // whatever the umask; the folder above lets only root in
    return errno_error("chmod " + folder);
  }
  const std::string path = folder + "/mcp.json";
  const std::string text = json::dump({{"servers", worker.servers}}) + "\n";
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd || ::fchmod(fd.get(), 0644) != 0 ||
      ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return errno_error("write " + path);
  }
  return {};
}

void remove_run_folder(const Settings& settings, const WorkerId& id) {
  const std::string folder = run_folder(settings, id);
  for (const char* file : files) {
    (void)::unlink((folder + "/" + file).c_str());
  }
  (void)::rmdir(folder.c_str());
}

}  // namespace hal::worker
