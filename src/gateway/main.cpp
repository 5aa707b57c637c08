#include "base/log.hpp"
#include "base/text.hpp"
#include "build_config.hpp"
#include "event/loop.hpp"
#include "event/sources.hpp"
#include "gateway/gateway.hpp"
#include "gateway/store.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <utility>

#include <CLI/CLI.hpp>

namespace {

using namespace hal;

/** A session takes one descriptor, a server two; the soft limit of 1024 is for programs that use select(2). */
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

/** A large message is memory of its own, and the system's again when it has passed; malloc would learn to keep it. */
void give_back_large_memory() {
  constexpr int large_bytes = 1 << 20;
  (void)::mallopt(M_MMAP_THRESHOLD, large_bytes);
  (void)::mallopt(M_TRIM_THRESHOLD, large_bytes);
}

UniqueFd checked(int fd, bool listening) {
  if (sd_is_socket(fd, AF_UNIX, SOCK_SEQPACKET, listening ? 1 : 0) <= 0) {
    throw std::runtime_error("descriptor " + std::to_string(fd) + " is not the link's socket");
  }
  UniqueFd owned(fd);
  if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || ::fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
    throw_errno("fcntl");
  }
  return owned;
}

gateway::LinkSource link_source(int link_fd) {
  gateway::LinkSource source;
  if (link_fd >= 0) {
    source.connected = checked(link_fd, false);
    return source;
  }
  auto passed = gateway::store::take();
  if (passed.sockets.size() != 1) {
    throw std::runtime_error("give --link-fd, or start by socket activation with exactly one socket");
  }
  source.listening = checked(passed.sockets.front().release(), true);
  source.kept = std::move(passed.kept);
  return source;
}

int run(int link_fd) {
  event::block_signals();
  raise_descriptor_limit();
  give_back_large_memory();
  event::Loop loop;
  (void)loop.start_watchdog();
  gateway::Gateway gateway(loop, link_source(link_fd));
  return loop.run();
}

}  // namespace

int main(int argc, char** argv) {
  log::start("hal9000-gateway");
  CLI::App app("The data plane of HAL-9000: MCP sessions of workers with the servers on the host.");
  int link_fd = -1;
  bool debug = false;
  app.add_option("--link-fd", link_fd, "descriptor of the connected link to hal9000d");
  app.add_flag("--debug", debug, "log more");
  app.set_version_flag("--version", std::string("hal9000-gateway ") + build::version);
  CLI11_PARSE(app, argc, argv);
  if (debug) {
    log::set_max_level(log::Level::debug);
  }
  try {
    return run(link_fd);
  } catch (const std::exception& error) {
    log::critical({}, "cannot run: {}", error.what());
    return EXIT_FAILURE;
  }
}
