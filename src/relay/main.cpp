#include "base/build_config.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "guard/hook.hpp"
#include "relay/configure.hpp"
#include "relay/relay.hpp"

#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>

namespace {

constexpr std::string_view usage =
    "Usage: hal9000-mcp [SERVER] [--socket PATH]\n"
    "       hal9000-mcp configure [--config PATH] [--home DIR]\n"
    "       hal9000-mcp guard [git] [rm] [env]\n"
    "       hal9000-mcp --version | --help\n"
    "Connects an MCP client on stdin and stdout with a server of HAL-9000, without SERVER with all it may use. Or "
    "tells\n"
    "Claude Code about the servers. Or answers its hook PreToolUse: whether a tool does damage of these kinds.\n"
    "  --socket PATH  the worker's gateway socket (/run/hal9000/mcp.sock)\n"
    "  --config PATH  the servers this worker may use (/run/hal9000/mcp.json)\n"
    "  --home DIR     where .claude.json is ($HOME)\n"
    "Exit codes: 0 the client has ended the session, the configuration is as it should be, the hook is answered; 1 "
    "the\n"
    "gateway refuses or cannot be reached, a file or the hook's input cannot be read or written; 2 wrong arguments.\n";

constexpr int exit_failure = 1;
constexpr int exit_usage = 2;

void say(int fd, std::string_view text) {
  [[maybe_unused]] const auto count = ::write(fd, text.data(), text.size());
}

int wrong(std::string_view what) {
  say(STDERR_FILENO, std::string("hal9000-mcp: ").append(what).append("\n").append(usage));
  return exit_usage;
}

struct Setting {
  std::string_view option;
  std::string& value;
};

/** Takes `--option value` pairs from argv[first] on; the argument that is wrong, or empty. */
template <std::size_t count>
std::string take_settings(int argc, char** argv, int first, const Setting (&settings)[count]) {
  for (int i = first; i < argc; i += 2) {
    bool taken = false;
    for (const auto& setting : settings) {
      if (setting.option == argv[i] && i + 1 < argc) {
        setting.value = argv[i + 1];
        taken = true;
      }
    }
    if (!taken) {
      return argv[i];
    }
  }
  return {};
}

int run_configure(int argc, char** argv) {
  const char* home = ::getenv("HOME");
  hal::relay::ConfigureOptions options{hal::names::worker_mcp_config, home != nullptr ? home : ""};
  const auto bad = take_settings(argc, argv, 2, {{"--config", options.config}, {"--home", options.home}});
  if (!bad.empty()) {
    return wrong("unknown or incomplete argument " + bad);
  }
  if (options.home.empty()) {
    return wrong("no --home, and HOME is not set");
  }
  if (const auto done = hal::relay::configure(options); !done) {
    say(STDERR_FILENO, "hal9000-mcp: configure: " + done.error().message + "\n");
    return exit_failure;
  }
  return 0;
}

/** To the end, or a little further than `limit`. */
std::string read_all(int fd, std::size_t limit) {
  std::string text;
  char buffer[16384];
  while (text.size() <= limit) {
    const auto count = ::read(fd, buffer, sizeof buffer);
    if (count <= 0) {
      break;
    }
    text.append(buffer, static_cast<std::size_t>(count));
  }
  return text;
}

/** Claude Code goes on where a hook fails, and shows its user what it said. */
int run_guard(int argc, char** argv) {
  hal::guard::Guards guards;
  for (int i = 2; i < argc; ++i) {
    if (!hal::guard::set_guard(guards, argv[i])) {
      return wrong(std::string("there is no guard ").append(argv[i]));
    }
  }
  const auto objection = hal::guard::objection_to_tool(read_all(STDIN_FILENO, hal::guard::max_input_bytes), guards);
  if (!objection) {
    say(STDERR_FILENO, "hal9000-mcp: guard: " + objection.error().message + "\n");
    return exit_failure;
  }
  if (*objection) {
    say(STDOUT_FILENO, hal::guard::refusal(**objection));
  }
  return 0;
}

int run_relay(int argc, char** argv) {
  const bool is_named = argc > 1 && argv[1][0] != '-';
  hal::relay::Options options{is_named ? argv[1] : hal::names::all_servers, hal::names::worker_mcp_socket};
  const auto bad = take_settings(argc, argv, is_named ? 2 : 1, {{"--socket", options.socket}});
  if (!bad.empty()) {
    return wrong("unknown or incomplete argument " + bad);
  }
  if (is_named && !hal::text::is_name(options.server)) {
    return wrong("\"" + hal::text::printable(options.server) + "\" is not a server name");
  }
  hal::relay::Relay relay(std::move(options));
  return relay.run();
}

int run(int argc, char** argv) {
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (first == "--help" || first == "-h") {
    say(STDOUT_FILENO, usage);
    return 0;
  }
  if (first == "--version") {
    say(STDOUT_FILENO, std::string("hal9000-mcp ").append(hal::build::version).append("\n"));
    return 0;
  }
  if (first == "guard") {
    return run_guard(argc, argv);
  }
  return first == "configure" ? run_configure(argc, argv) : run_relay(argc, argv);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    say(STDERR_FILENO, std::string("hal9000-mcp: ").append(error.what()).append("\n"));
    return exit_failure;
  }
}
