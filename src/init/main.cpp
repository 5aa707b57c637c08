#include "base/build_config.hpp"
#include "base/names.hpp"
#include "init/confinement.hpp"
#include "init/pane.hpp"
#include "init/processes.hpp"
#include "init/supervisor.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <exception>
#include <optional>
#include <string>
#include <string_view>

namespace {

constexpr std::string_view usage =
    "Usage: hal9000-init [--control PATH] [--runtime DIR] [--tmux-config FILE]\n"
    "       hal9000-init --pause | --version | --help\n"
    "PID 1 of a HAL-9000 worker: reaps, and starts what hal9000d asks for over PATH.\n"
    "  --control PATH      hal9000d's socket (/run/hal9000/control.sock)\n"
    "  --runtime DIR       a writable folder (/run, or /tmp if that is not writable)\n"
    "  --tmux-config FILE  configuration of the worker's tmux (/etc/hal9000/tmux.conf)\n"
    "  --pause             only wait for SIGTERM or SIGINT, and reap\n"
    "Exit code: that of the worker's command, 128 and the number of a signal that ended it, 143 after SIGTERM without\n"
    "a command; 2 for wrong arguments, 1 if it cannot start.\n";

void say(int fd, std::string_view text) {
  [[maybe_unused]] const auto count = ::write(fd, text.data(), text.size());
}

int wrong(std::string_view what) {
  say(STDERR_FILENO, std::string("hal9000-init: ").append(what).append("\n").append(usage));
  return 2;
}

/** Without these, the next descriptors we open would be taken for stdio. */
void open_stdio() {
  int fd = ::open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= STDERR_FILENO) {
    fd = ::open("/dev/null", O_RDWR);
  }
  if (fd >= 0) {
    ::close(fd);
  }
}

std::string own_path() {
  std::string path(4096, '\0');
  const auto count = ::readlink("/proc/self/exe", path.data(), path.size());
  return count > 0 ? path.substr(0, static_cast<std::size_t>(count)) : hal::names::worker_init;
}

/** The exit code of the modes that take no settings; nothing for PID 1's own. */
std::optional<int> run_mode(int argc, char** argv) {
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (first == "--help" || first == "-h") {
    say(STDOUT_FILENO, usage);
    return 0;
  }
  if (first == "--version") {
    say(STDOUT_FILENO, std::string("hal9000-init ").append(hal::build::version).append("\n"));
    return 0;
  }
  if (first == "--pause") {
    return argc == 2 ? hal::init::run_pause() : wrong("--pause takes no arguments");
  }
  // Started by tmux for the supervisor.
  if (first == "--pane" && argc == 3) {
    return hal::init::run_pane(argv[2]);
  }
  if (first == "--log" && argc == 3) {
    return hal::init::run_log(argv[2]);
  }
  return std::nullopt;
}

int run(int argc, char** argv) {
  open_stdio();
  if (const auto code = run_mode(argc, argv)) {
    return *code;
  }
  hal::init::Settings settings;
  settings.control = hal::names::worker_control_socket;
  settings.session.program = own_path();
  settings.session.runtime = ::access("/run", W_OK) == 0 ? "/run" : "/tmp";
  settings.session.tmux_config = "/etc/hal9000/tmux.conf";
  for (int i = 1; i < argc; i += 2) {
    const std::string_view option = argv[i];
    std::string* value = option == "--control"       ? &settings.control
                         : option == "--runtime"     ? &settings.session.runtime
                         : option == "--tmux-config" ? &settings.session.tmux_config
                                                     : nullptr;
    if (value == nullptr || i + 1 == argc) {
      return wrong(std::string("unknown or incomplete argument ").append(option));
    }
    *value = argv[i + 1];
  }
  hal::init::confine();
  hal::init::Supervisor supervisor(std::move(settings));
  return supervisor.run();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    say(STDERR_FILENO, std::string("hal9000-init: ").append(error.what()).append("\n"));
    return 1;
  }
}
