#include "claudy/attachment.hpp"
#include "claudy/client.hpp"
#include "claudy/exec_stream.hpp"
#include "claudy/reply.hpp"
#include "claudy/signals.hpp"
#include "claudy/terminal_modes.hpp"
#include "claudy/verbs.hpp"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <utility>

/** Verbs that join our descriptors to a worker's. */
namespace hal::claudy {

namespace {

/** A worker's output on our standard output until it ends. A terminal is brought back if the output has changed it. */
Result<int> show_stream(UniqueFd stream) {
  auto source = Endpoint::own(std::move(stream));
  auto sink = Endpoint::standard(STDOUT_FILENO, Endpoint::Direction::write);
  if (!source || !sink) {
    return source ? sink.error() : source.error();
  }
  const bool terminal = ::isatty(STDOUT_FILENO) != 0;
  TerminalModes modes;
  const IgnoredSigpipe no_sigpipe;
  const BlockedSignals blocked({SIGINT, SIGTERM, SIGHUP});
  event::Loop loop;
  std::vector<event::Signal> signals;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    signals.emplace_back(loop, signal, "logs:end", [&loop, signal] { loop.exit(128 + signal); });
  }
  const Pump pump(loop, std::move(*source), std::move(*sink), "logs",
                  {[&](std::string& chunk) {
                     if (terminal) {
                       modes.feed(chunk);
                     }
                   },
                   // Also when our reader is gone: `claudy logs W | head` is no failure.
                   [&loop](Pump::End) { loop.exit(0); }});
  const int code = loop.run();
  if (const auto undo = modes.undo(); !undo.empty()) {
    (void)print(undo);
  }
  return code;
}

}  // namespace

Result<int> attach(const Global& global, const AttachOptions& options) {
  if (const auto terminal = require_terminal(); !terminal) {
    return terminal.error();
  }
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  const auto path = find_worker(**bus, options.worker);
  if (!path) {
    return path.error();
  }
  return attach_terminal(**bus, *path, options.keys);
}

Result<int> exec(const Global& global, const ExecOptions& options) {
  const bool terminal = options.terminal.value_or(::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0);
  if (terminal) {
    if (const auto usable = require_terminal(); !usable) {
      return usable.error();
    }
  }
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  const auto path = find_worker(**bus, options.worker);
  if (!path) {
    return path.error();
  }
  Options request;
  if (!options.env.empty()) {
    request.emplace_back("env", options.env);
  }
  if (!options.directory.empty()) {
    request.emplace_back("cwd", options.directory);
  }
  return terminal ? exec_terminal(**bus, *path, options.command, std::move(request))
                  : exec_plain(**bus, *path, options.command, std::move(request));
}

Result<int> logs(const Global& global, const LogsOptions& options) {
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  const auto path = find_worker(**bus, options.worker);
  if (!path) {
    return path.error();
  }
  Options request = {{"follow", options.follow}, {"timestamps", options.timestamps}};
  if (options.lines) {
    request.emplace_back("tail", *options.lines);
  }
  auto reply = (*bus)->call(worker_method(*path, "Logs"), {Argument(std::move(request))});
  if (!reply) {
    return reply.error();
  }
  if (reply->fds.size() != 1) {
    return Error{Errc::protocol, "the daemon sent no stream: claudy and the daemon are of different versions"};
  }
  return show_stream(std::move(reply->fds.front()));
}

}  // namespace hal::claudy
