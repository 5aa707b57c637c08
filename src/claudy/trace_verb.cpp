#include "claudy/client.hpp"
#include "claudy/output.hpp"
#include "claudy/pump.hpp"
#include "claudy/reply.hpp"
#include "claudy/signals.hpp"
#include "claudy/trace_view.hpp"
#include "claudy/verbs.hpp"

#include <signal.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace hal::claudy {

namespace {

/** The rest of the pipe was lost with those who wrote into it. */
constexpr const char* ended_early = "the daemon or its gateway ended meanwhile: see `claudy daemon status`";

Result<int> show(UniqueFd lines, TraceView::Style style) {
  auto source = Endpoint::own(std::move(lines));
  auto sink = Endpoint::standard(STDOUT_FILENO, Endpoint::Direction::write);
  if (!source || !sink) {
    return source ? sink.error() : source.error();
  }
  const IgnoredSigpipe no_sigpipe;
  const BlockedSignals blocked({SIGINT, SIGTERM, SIGHUP});
  event::Loop loop;
  std::vector<event::Signal> signals;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    signals.emplace_back(loop, signal, "trace:end", [&loop, signal] { loop.exit(128 + signal); });
  }
  TraceView view(style);
  bool at_end = false;
  const Pump pump(loop, std::move(*source), std::move(*sink), "trace",
                  {[&view](std::string& chunk) { chunk = view.feed(chunk); },
                   // Also when our reader is gone: `claudy server trace NAME | head` is no failure.
                   [&](Pump::End end) {
                     at_end = end == Pump::End::source_ended;
                     loop.exit(0);
                   }});
  const int code = loop.run();
  if (!at_end) {
    return code;
  }
  if (!view.end() || view.end()->what == "stopped") {
    return Error{Errc::unavailable, view.end() ? "the trace is over: " + view.end()->reason : ended_early};
  }
  say("the trace is over: " + view.end()->reason);
  return 0;
}

}  // namespace

Result<int> trace_server(const Global& global, const ServerTraceOptions& options) {
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  if (const auto server = server_properties(**bus, options.name); !server) {
    return server.error();
  }
  Options request = {{"payloads", options.payloads}};
  if (!options.worker.empty()) {
    const auto path = find_worker(**bus, options.worker);
    if (!path) {
      return path.error();
    }
    request.emplace_back("worker", path->substr(path->rfind('/') + 1));
  }
  auto reply = (*bus)->call(server_method(options.name, "Trace"), {Argument(std::move(request))});
  if (!reply) {
    return reply.error();
  }
  if (reply->fds.size() != 1) {
    return Error{Errc::protocol, "the daemon sent no stream: claudy and the daemon are of different versions"};
  }
  return show(std::move(reply->fds.front()), {options.json, !options.json && ::isatty(STDOUT_FILENO) != 0});
}

}  // namespace hal::claudy
