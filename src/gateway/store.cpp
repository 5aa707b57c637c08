#include "gateway/store.hpp"

#include <systemd/sd-daemon.h>

#include <chrono>
#include <cstdlib>
#include <string_view>
#include <system_error>

namespace hal::gateway::store {

namespace {

constexpr std::string_view name = "hal9000-state";
constexpr const char* forget = "FDSTOREREMOVE=1\nFDNAME=hal9000-state";
/** One busy with other units may take a while; without us nothing else waits for it. */
constexpr std::chrono::microseconds patience = std::chrono::seconds(5);

}  // namespace

bool available() {
  return std::getenv("NOTIFY_SOCKET") != nullptr;
}

Result<void> put(const UniqueFd& kept) {
  // FDPOLL=0: it looks like a closed connection, which a manager would throw away.
  constexpr const char* message = "FDSTORE=1\nFDNAME=hal9000-state\nFDPOLL=0";
  const int fd = kept.get();
  if (const int sent = ::sd_pid_notify_with_fds(0, 0, message, &fd, 1); sent <= 0) {
    return Error{Errc::unavailable, "the service manager was not reached: " + std::generic_category().message(-sent)};
  }
  // The message says whose it is by our process, which must be there when it is read.
  if (const int read = ::sd_notify_barrier(0, patience.count()); read < 0) {
    (void)::sd_notify(0, forget);  // it may read both later: what is told to have failed must not be passed on
    return Error{Errc::unavailable, "the service manager is silent: " + std::generic_category().message(-read)};
  }
  return {};
}

Passed take() {
  char** names = nullptr;
  const int count = ::sd_listen_fds_with_names(1, &names);
  Passed passed;
  for (int i = 0; i < count; ++i) {
    UniqueFd fd(SD_LISTEN_FDS_START + i);
    if (names != nullptr && names[i] == name) {
      passed.kept = std::move(fd);
    } else {
      passed.sockets.push_back(std::move(fd));
    }
    std::free(names != nullptr ? names[i] : nullptr);
  }
  std::free(names);
  if (passed.kept) {
    (void)::sd_notify(0, forget);
  }
  return passed;
}

}  // namespace hal::gateway::store
