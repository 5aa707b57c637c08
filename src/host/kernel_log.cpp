#include "host/kernel_log.hpp"

#include "base/text.hpp"

#include <sys/klog.h>

#include <cstddef>

namespace hal::host {

namespace {

/** syslog(2) SYSLOG_ACTION_READ_ALL: takes nothing away from other readers. */
constexpr int read_all = 3;
/** A report of one kill with a table of hundreds of processes has some 50 KiB. */
constexpr std::size_t newest_bytes = 256 * 1024;
/** Of a name, as the kernel keeps it. */
constexpr std::size_t name_bytes = 16;

}  // namespace

std::string memory_victim(std::string_view kernel_log, std::string_view container) {
  // oom-kill:constraint=…,oom_memcg=/docker/ID,task_memcg=/docker/ID,task=NAME,pid=N,uid=N
  std::string_view victim;
  for (auto at = kernel_log.rfind("oom-kill:"); at != std::string_view::npos && !container.empty();
       at = at == 0 ? std::string_view::npos : kernel_log.rfind("oom-kill:", at - 1)) {
    const auto line = kernel_log.substr(at, kernel_log.find('\n', at) - at);
    const auto group = line.find(",task_memcg=");
    const auto task = group == std::string_view::npos ? group : line.find(",task=", group + 1);
    const auto pid = line.rfind(",pid=");
    if (task == std::string_view::npos || pid == std::string_view::npos || pid < task + 6) {
      continue;
    }
    if (line.substr(group, task - group).find(container) != std::string_view::npos) {
      victim = line.substr(task + 6, pid - task - 6);
      break;
    }
  }
  return text::printable(victim.substr(0, name_bytes));
}

std::string read_kernel_log() {
  std::string log(newest_bytes, '\0');
  const int bytes = ::klogctl(read_all, log.data(), static_cast<int>(log.size()));
  log.resize(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
  return log;
}

}  // namespace hal::host
