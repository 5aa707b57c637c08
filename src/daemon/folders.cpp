#include "daemon/folders.hpp"

#include "base/error.hpp"
#include "server/stdio.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace hal::daemon {

namespace {

void make_folder(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    throw_errno("mkdir " + path);
  }
  if (::chmod(path.c_str(), mode) != 0) {  // whatever the umask says
    throw_errno("chmod " + path);
  }
}

}  // namespace

const Places& with_folders(const Places& places) {
  make_folder(places.run_dir, 0755);
  make_folder(places.run_dir + "/worker", 0700);
  make_folder(places.state_dir, 0755);
  make_folder(places.state_dir + "/worker", 0700);
  make_folder(places.state_dir + "/server", 0755);
  make_folder(places.state_dir + "/package", 0755);
  make_folder(places.state_dir + "/user", 0711);
  const std::string chroma = places.state_dir + "/chroma";
  struct stat status {};
  if (::stat(chroma.c_str(), &status) != 0) {
    make_folder(chroma, 0700);
    const auto account = server::find_account("hal9000");
    const auto owner = account.value_or(server::Account{65534, 65534});
    if (::geteuid() == 0 && ::chown(chroma.c_str(), owner.first, owner.second) != 0) {
      throw_errno("chown " + chroma);
    }
  }
  return places;
}

}  // namespace hal::daemon
