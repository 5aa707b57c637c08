#include "host/usage.hpp"

#include "base/text.hpp"
#include "base/unique_fd.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include <fmt/format.h>

namespace hal::host {

namespace {

/** The files of the kernel that are read here are small; mountinfo may be a few hundred lines. */
constexpr std::size_t max_file_bytes = std::size_t{1} << 20;

std::string read_file(const std::string& path) {
  std::string text;
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char buffer[4096];
  ssize_t bytes = 0;
  while (fd && text.size() < max_file_bytes && (bytes = ::read(fd.get(), buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<std::size_t>(bytes));
  }
  return text;
}

std::uint64_t read_number(const std::string& path) {
  return text::to_number<std::uint64_t>(text::trim(read_file(path))).value_or(0);
}

/** The number behind `key` in a file of "key number" lines. */
std::uint64_t read_number_of(const std::string& path, std::string_view key) {
  const auto content = read_file(path);
  for (const auto line : text::split(content, '\n')) {
    if (line.starts_with(key) && line.size() > key.size() && line[key.size()] == ' ') {
      return text::to_number<std::uint64_t>(line.substr(key.size() + 1)).value_or(0);
    }
  }
  return 0;
}

bool contains(const std::vector<std::string_view>& all, std::string_view one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

/** The group's path below the mount's point. */
std::string below(const CgroupMount& mount, std::string_view group) {
  if (mount.root != "/" && group.starts_with(mount.root)) {
    group.remove_prefix(mount.root.size());
  }
  return mount.point + std::string(group == "/" ? "" : group);
}

}  // namespace

std::vector<CgroupMount> parse_cgroup_mounts(std::string_view mountinfo) {
  std::vector<CgroupMount> mounts;
  for (const auto line : text::split(mountinfo, '\n')) {
    // id parent major:minor ROOT POINT options… - TYPE source OPTIONS
    const auto dash = line.find(" - ");
    if (dash == std::string_view::npos) {
      continue;
    }
    const auto front = text::split(line.substr(0, dash), ' ');
    const auto back = text::split(line.substr(dash + 3), ' ');
    if (front.size() < 5 || back.size() < 3 || (back[0] != "cgroup" && back[0] != "cgroup2")) {
      continue;
    }
    CgroupMount mount{std::string(front[4]), std::string(front[3]), {}};
    if (back[0] == "cgroup") {
      for (const auto option : text::split(back[2], ',')) {
        mount.controllers.emplace_back(option);
      }
    }
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

std::string cgroup_folder(const std::vector<CgroupMount>& mounts, std::string_view process_cgroup,
                          std::string_view controller, bool& version_1) {
  std::string_view unified;
  for (const auto line : text::split(process_cgroup, '\n')) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string_view::npos || second == std::string_view::npos) {
      continue;
    }
    const auto controllers = line.substr(first + 1, second - first - 1);
    const auto group = line.substr(second + 1);
    if (controllers.empty()) {
      unified = group;
    } else if (contains(text::split(controllers, ','), controller)) {
      for (const auto& mount : mounts) {
        if (std::find(mount.controllers.begin(), mount.controllers.end(), controller) != mount.controllers.end()) {
          version_1 = true;
          return below(mount, group);
        }
      }
    }
  }
  version_1 = false;
  const auto mount =
      std::find_if(mounts.begin(), mounts.end(), [](const CgroupMount& entry) { return entry.controllers.empty(); });
  return unified.empty() || mount == mounts.end() ? std::string() : below(*mount, unified);
}

std::uint64_t refused_forks(const std::string& pids_events) {
  return read_number_of(pids_events, "max");
}

UsageReader::UsageReader() : mounts_(parse_cgroup_mounts(read_file("/proc/self/mountinfo"))) {}

Usage UsageReader::read(pid_t pid) const {
  Usage usage;
  const auto cgroup = pid > 0 ? read_file(fmt::format("/proc/{}/cgroup", pid)) : std::string();
  if (cgroup.empty()) {
    return usage;
  }
  bool version_1 = false;
  if (const auto folder = cgroup_folder(mounts_, cgroup, "memory", version_1); !folder.empty()) {
    usage.memory_bytes = read_number(folder + (version_1 ? "/memory.usage_in_bytes" : "/memory.current"));
    const std::string prefix = version_1 ? "total_" : "";  // with the groups below, as version 2 counts
    usage.file_bytes = read_number_of(folder + "/memory.stat", prefix + "inactive_file") +
                       read_number_of(folder + "/memory.stat", prefix + "active_file");
  }
  if (const auto folder = cgroup_folder(mounts_, cgroup, "cpuacct", version_1); !folder.empty()) {
    usage.cpu_nanoseconds =
        version_1 ? read_number(folder + "/cpuacct.usage") : read_number_of(folder + "/cpu.stat", "usage_usec") * 1000;
  }
  if (const auto folder = cgroup_folder(mounts_, cgroup, "pids", version_1); !folder.empty()) {
    usage.tasks = read_number(folder + "/pids.current");
  }
  return usage;
}

std::string UsageReader::pids_events(pid_t pid, bool& tells) const {
  bool version_1 = false;
  const auto folder = cgroup_folder(mounts_, read_file(fmt::format("/proc/{}/cgroup", pid)), "pids", version_1);
  tells = !version_1;
  const auto file = folder + "/pids.events";
  return !folder.empty() && ::access(file.c_str(), R_OK) == 0 ? file : std::string();
}

std::string UsageReader::busiest_program(pid_t pid) const {
  bool version_1 = false;
  const auto folder = cgroup_folder(mounts_, read_file(fmt::format("/proc/{}/cgroup", pid)), "pids", version_1);
  std::map<std::string, std::uint64_t> tasks_of;
  std::uint64_t all = 0;
  const auto processes = folder.empty() ? std::string() : read_file(folder + "/cgroup.procs");
  for (const auto process : text::split(processes, '\n')) {
    struct stat tasks {};  // a folder has two links more than folders in it
    if (process.empty() || ::stat(fmt::format("/proc/{}/task", process).c_str(), &tasks) != 0 || tasks.st_nlink < 3) {
      continue;
    }
    const auto count = static_cast<std::uint64_t>(tasks.st_nlink - 2);
    tasks_of[std::string(text::trim(read_file(fmt::format("/proc/{}/comm", process))))] += count;
    all += count;
  }
  const auto most = std::max_element(tasks_of.begin(), tasks_of.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == tasks_of.end() ? "" : fmt::format("{} ({} of {})", text::printable(most->first), most->second, all);
}

}  // namespace hal::host
