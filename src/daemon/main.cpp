#include "base/log.hpp"
#include "base/names.hpp"
#include "build_config.hpp"
#include "daemon/config.hpp"
#include "daemon/daemon.hpp"
#include "daemon/run_lock.hpp"
#include "event/loop.hpp"
#include "event/sources.hpp"

#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <exception>

#include <CLI/CLI.hpp>

namespace {

/** EX_CONFIG of sysexits(3): restarting does not help. */
constexpr int exit_config = 78;
/** EX_TEMPFAIL: another daemon serves the run directory; it may be about to end. */
constexpr int exit_busy = 75;

int run(bool session_bus) {
  hal::event::block_signals();
  hal::log::start("hal9000d");
  ::umask(0022);
  const auto places = hal::daemon::places_from_environment();
  auto config = hal::daemon::read_config(places);
  if (!config) {
    hal::log::critical({{hal::names::field_message_id, hal::names::message_id_config_refused}}, "configuration: {}",
                       config.error().message);
    return exit_config;
  }
  // Before anything is touched that the other one uses.
  const auto lock = hal::daemon::lock_run_dir(places.run_dir);
  if (!lock) {
    hal::log::critical({}, "{}", lock.error().message);
    return lock.error().code == hal::Errc::already_exists ? exit_busy : EXIT_FAILURE;
  }
  hal::event::Loop loop;
  loop.start_watchdog();
  hal::daemon::Daemon daemon(
      loop, {places, *std::move(config), session_bus ? hal::bus::BusKind::session : hal::bus::BusKind::system});
  return loop.run();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"The control plane of HAL-9000: workers, MCP servers and the parent, over D-Bus."};
  bool session_bus = false;
  bool check = false;
  app.add_flag("--user", session_bus, "serve on the session bus");
  app.add_flag("--check-config", check, "read the configuration, say what is wrong with it, and end");
  app.footer(
      "Exit codes: 0 told to end; 78 the configuration is wrong; 75 another hal9000d serves the same run directory\n"
      "($RUNTIME_DIRECTORY, else /run/hal9000); 1 anything else.");
  app.set_version_flag("--version", std::string("hal9000d ") + hal::build::version);
  CLI11_PARSE(app, argc, argv);
  try {
    if (check) {
      const auto config = hal::daemon::read_config(hal::daemon::places_from_environment());
      if (!config) {
        std::fprintf(stderr, "%s\n", config.error().message.c_str());
      }
      return config ? EXIT_SUCCESS : exit_config;
    }
    return run(session_bus);
  } catch (const std::exception& error) {
    hal::log::critical({}, "{}", error.what());
    return EXIT_FAILURE;
  }
}
