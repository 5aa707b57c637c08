#include "claudy/attachment.hpp"

#include "base/text.hpp"
#include "claudy/client.hpp"
#include "claudy/output.hpp"
#include "claudy/reply.hpp"
#include "claudy/terminal_session.hpp"
#include "event/loop.hpp"

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::claudy {

namespace {

/** From the end of a command's terminal to the daemon's word about it: the engine's event is on its way. */
constexpr auto end_report_time = std::chrono::seconds(5);

struct Opened {
  UniqueFd stream;
  std::string id;
  std::optional<WindowSize> size;
};

/** Calls Attach or Exec with our terminal's size. */
Result<Opened> open_stream(Bus& bus, const Method& method, std::vector<Argument> arguments, Options options) {
  const auto size = window_size(STDOUT_FILENO);
  if (size) {
    options.emplace_back("rows", size->rows);
    options.emplace_back("columns", size->columns);
  }
  arguments.emplace_back(std::move(options));
  auto reply = bus.call(method, arguments);
  if (!reply) {
    return reply.error();
  }
  if (reply->fds.size() != 1 || reply->body().size() != 2 || !reply->body()[1].is_string()) {
    return Error{Errc::protocol, "the daemon sent no terminal: claudy and the daemon are of different versions"};
  }
  return Opened{std::move(reply->fds.front()), reply->body()[1].get<std::string>(), size};
}

struct Ended {
  TerminalSession::End end = TerminalSession::End::terminal_gone;
  int signal = 0;
};

/** Until one side ends. The terminal is as before afterwards. */
Result<Ended> run_session(Bus& bus, const std::string& path, Opened opened, const DetachKeys& keys) {
  event::Loop loop;
  bus.attach(loop);
  Ended ended;
  TerminalSession::Config config;
  config.input = STDIN_FILENO;
  config.output = STDOUT_FILENO;
  config.stream = std::move(opened.stream);
  config.keys = keys;
  config.size = opened.size;
  config.on_resize = [&bus, path, id = opened.id](WindowSize size, std::function<void()> told) {
    bus.start(worker_method(path, "ResizeTerminal"), {Value(id), Value(size.rows), Value(size.columns)},
              [told = std::move(told)](const Result<Reply>&) { told(); });
  };
  config.on_end = [&loop, &ended](TerminalSession::End end, int signal) {
    ended = {end, signal};
    loop.exit(0);
  };
  auto session = TerminalSession::start(loop, std::move(config));
  if (!session) {
    bus.detach();
    return session.error();
  }
  (void)loop.run();
  session->reset();
  bus.detach();
  return ended;
}

/** What a shell would see of a program ended by that signal. */
int signal_code(int signal) {
  return 128 + signal;
}

bool has_ended(const std::string& state) {
  return state == "exited" || state == "failed";
}

/** After a command's terminal closed by itself: why, once the daemon knows. */
Result<int> explain_end(Bus& bus, const std::string& path, const std::uint64_t& changes) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + end_report_time;
  for (;;) {
    const auto seen = changes;
    const auto worker = properties(bus, path, worker_interface);
    if (!worker) {
      if (worker.error().code == Errc::not_found) {
        return Error{Errc::disconnected, "the worker was removed"};
      }
      return worker.error().with("the worker's terminal closed");
    }
    const auto name = text_of(*worker, "name");
    const auto state = text_of(*worker, "state");
    if (has_ended(state)) {
      const auto reason = text_of(*worker, "reason");
      const int code = worker->value("exit_code", 1);
      say(fmt::format("{} has ended: {}", text::printable(name),
                      reason.empty() ? fmt::format("exit code {}", code) : text::printable(reason)));
      return code >= 0 ? code : 1;
    }
    const auto left = std::chrono::duration_cast<std::chrono::microseconds>(deadline - Clock::now());
    if (left.count() <= 0 || !bus.wait_until([&] { return changes != seen; }, left)) {
      return Error{Errc::disconnected, fmt::format("the terminal closed, but {} is {}: claudy attach {}",
                                                   text::printable(name), state, text::printable(name))};
    }
  }
}

}  // namespace

Result<void> require_terminal() {
  const auto terminal = RawTerminal::of(STDIN_FILENO, STDOUT_FILENO);
  return terminal ? Result<void>() : Result<void>(terminal.error());
}

Result<int> attach_terminal(Bus& bus, const std::string& path, const DetachKeys& keys) {
  // Counted from before the attach, so that explain_end misses none.
  const auto changes = std::make_shared<std::uint64_t>(0);
  const auto subscribed = bus.subscribe(fmt::format("type='signal',sender='org.hal9000',path='{}'", path),
                                        [changes](const std::string&, const nlohmann::json&) { ++*changes; });
  if (!subscribed) {
    return subscribed.error();
  }
  const auto worker = properties(bus, path, worker_interface);
  if (!worker) {
    return worker.error();
  }
  const auto name = text::printable(text_of(*worker, "name"));
  Options options;
  const char* term = std::getenv("TERM");  // NOLINT(concurrency-mt-unsafe): there is one thread
  if (term != nullptr && *term != '\0') {
    options.emplace_back("term", std::string(term));
  }
  auto opened = open_stream(bus, worker_method(path, "Attach"), {}, std::move(options));
  if (!opened) {
    return opened.error();
  }
  const auto keys_text = keys.describe();
  say(fmt::format("attached to {}{}", name, keys_text.empty() ? "" : ", " + keys_text + " detaches"));
  const auto ended = run_session(bus, path, std::move(*opened), keys);
  if (!ended) {
    return ended.error();
  }
  switch (ended->end) {
    case TerminalSession::End::detached:
      say(fmt::format("detached; `claudy attach {}` comes back", name));
      return 0;
    case TerminalSession::End::signalled:
      return signal_code(ended->signal);
    case TerminalSession::End::terminal_gone:
      return signal_code(SIGHUP);
    case TerminalSession::End::stream_ended:
      return explain_end(bus, path, *changes);
  }
  return 1;
}

Result<int> exec_terminal(Bus& bus, const std::string& path, const std::vector<std::string>& command, Options options) {
  options.emplace_back("terminal", true);
  auto opened = open_stream(bus, worker_method(path, "Exec"), {Value(command)}, std::move(options));
  if (!opened) {
    return opened.error();
  }
  const auto id = opened->id;
  const auto nothing_detaches = DetachKeys::parse("none");
  const auto ended = run_session(bus, path, std::move(*opened), *nothing_detaches);
  if (!ended) {
    return ended.error();
  }
  if (ended->end == TerminalSession::End::signalled) {
    return signal_code(ended->signal);
  }
  if (ended->end == TerminalSession::End::terminal_gone) {
    return signal_code(SIGHUP);
  }
  const auto code = bus.call(worker_method(path, "WaitExec"), {Value(id)}, Bus::forever);
  if (!code) {
    return code.error();
  }
  return code->body().at(0).get<int>();
}

}  // namespace hal::claudy
