#include "host/slice.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>

namespace hal::host {

namespace {

constexpr std::string_view slice = "/hal9000.slice";

}  // namespace

std::string slice_path(std::string_view process_cgroup) {
  for (const auto line : text::split(process_cgroup, '\n')) {
    // number:controllers:/path
    const auto path = line.substr(std::min(line.find(":/"), line.size()));
    const auto at = path.find(std::string(slice) + "/");
    if (at != std::string_view::npos) {
      return std::string(path.substr(1, at - 1 + slice.size()));
    }
  }
  return std::string(slice);
}

std::string slice_path() {
  std::ifstream file("/proc/self/cgroup");
  return slice_path(std::string(std::istreambuf_iterator<char>(file), {}));
}

}  // namespace hal::host
