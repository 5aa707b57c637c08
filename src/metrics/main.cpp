#include "base/error.hpp"
#include "base/log.hpp"
#include "build_config.hpp"
#include "event/loop.hpp"
#include "event/sources.hpp"
#include "metrics/service.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

namespace {

using namespace hal;

std::vector<UniqueFd> listening_sockets() {
  std::vector<UniqueFd> sockets;
  const int count = sd_listen_fds(1);
  for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + count; ++fd) {
    if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0) {
      throw std::runtime_error("descriptor " + std::to_string(fd) + " is no listening stream socket");
    }
    UniqueFd socket(fd);
    if (::fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
      throw_errno("fcntl");
    }
    sockets.push_back(std::move(socket));
  }
  if (sockets.empty()) {
    throw std::runtime_error("it is started by its socket: systemctl enable --now hal9000-metrics.socket");
  }
  return sockets;
}

int run(bool user) {
  event::block_signals();
  event::Loop loop;
  const event::Signal term(loop, SIGTERM, "SIGTERM", [&loop] { loop.exit(0); });
  const event::Signal interrupt(loop, SIGINT, "SIGINT", [&loop] { loop.exit(0); });
  (void)loop.start_watchdog();
  const metrics::Service service(loop, listening_sockets(), user);
  (void)sd_notify(0, "READY=1");
  return loop.run();
}

}  // namespace

int main(int argc, char** argv) {
  log::start("hal9000-metrics");
  CLI::App app("The figures of HAL-9000 in the format of OpenMetrics: GET /metrics on the sockets systemd gives.");
  bool user = false;
  app.add_flag("--user", user, "of the daemon on the session bus");
  app.set_version_flag("--version", std::string("hal9000-metrics ") + build::version);
  CLI11_PARSE(app, argc, argv);
  try {
    return run(user);
  } catch (const std::exception& error) {
    log::critical({}, "cannot run: {}", error.what());
    return EXIT_FAILURE;
  }
}
