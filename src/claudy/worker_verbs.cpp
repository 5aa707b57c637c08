#include "base/text.hpp"
#include "claudy/client.hpp"
#include "claudy/reply.hpp"
#include "claudy/verbs.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

/** Verbs that change workers or type into them. */
namespace hal::claudy {

namespace {

/** The longest any of these takes: stopping a command that was given its ten minutes. */
constexpr auto long_timeout = std::chrono::minutes(16);

/** What Send takes at once. */
constexpr std::size_t max_text_bytes = 65'536;

/**
 * Calls the method on all workers at the same time; every failure is told, the result is the first in the order of
 * the command line.
 */
Result<int> for_each(const Global& global, const std::vector<std::string>& workers, const std::string& member,
                     const std::vector<Argument>& arguments) {
  const auto opened = Bus::open(global.user);
  if (!opened) {
    return opened.error();
  }
  Bus& bus = **opened;
  std::vector<std::optional<Result<void>>> results(workers.size());
  std::size_t open = workers.size();
  for (std::size_t i = 0; i < workers.size(); ++i) {
    const auto finish = [&results, &open, i](Result<void> result) {
      results[i].emplace(std::move(result));
      --open;
    };
    const auto path = find_worker(bus, workers[i]);
    if (!path) {
      finish(path.error());
      continue;
    }
    bus.start(
        worker_method(*path, member), arguments,
        [finish](const Result<Reply>& reply) { finish(reply ? Result<void>() : Result<void>(reply.error())); },
        long_timeout);
  }
  if (!bus.wait_until([&open] { return open == 0; }, Bus::forever)) {
    return Error{Errc::unavailable, "the connection to the bus was lost: see `claudy ls`"};
  }
  std::optional<Error> first;
  for (const auto& result : results) {
    if (*result) {
      continue;
    }
    if (first) {
      say(result->error().message);
    } else {
      first = result->error();
    }
  }
  return first ? Result<int>(*first) : Result<int>(0);
}

Result<std::string> read_standard_input() {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t bytes = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (bytes < 0 && errno == EINTR) {
      continue;
    }
    if (bytes < 0) {
      return errno_error("standard input");
    }
    if (bytes == 0) {
      return text;
    }
    text.append(buffer, static_cast<std::size_t>(bytes));
    if (text.size() > max_text_bytes) {
      return Error{Errc::invalid_argument, "a text to send has at most 64 KiB"};
    }
  }
}

/** The worker's method with these arguments. */
Result<Reply> call_worker(Bus& bus, const std::string& worker, const std::string& member,
                          const std::vector<Argument>& arguments) {
  const auto path = find_worker(bus, worker);
  if (!path) {
    return path.error();
  }
  return bus.call(worker_method(*path, member), arguments, long_timeout);
}

}  // namespace

Result<int> stop(const Global& global, const StopOptions& options) {
  // 0 means the default to the daemon; a user's 0 is "at once".
  const auto milliseconds = options.timeout ? std::max<std::chrono::milliseconds::rep>(options.timeout->count(), 1) : 0;
  return for_each(global, options.workers, "Stop", {Value(static_cast<std::uint32_t>(milliseconds))});
}

Result<int> kill(const Global& global, const KillOptions& options) {
  return for_each(global, options.workers, "Kill", {Value(options.signal)});
}

Result<int> remove(const Global& global, const WorkersOptions& options) {
  return for_each(global, options.workers, "Remove", {});
}

Result<int> restart(const Global& global, const WorkersOptions& options) {
  return for_each(global, options.workers, "Restart", {});
}

Result<int> pause(const Global& global, const WorkersOptions& options) {
  return for_each(global, options.workers, "Pause", {});
}

Result<int> resume(const Global& global, const WorkersOptions& options) {
  return for_each(global, options.workers, "Resume", {});
}

Result<int> set_limits(const Global& global, const WorkerLimitsOptions& options) {
  Options limits;
  if (options.limits.memory) {
    limits.emplace_back("memory", *options.limits.memory);
  }
  if (options.limits.cpus) {
    limits.emplace_back("cpus", *options.limits.cpus);
  }
  if (options.limits.pids) {
    limits.emplace_back("pids", *options.limits.pids);
  }
  if (limits.empty()) {
    return Error{Errc::invalid_argument, "nothing to change: give --memory, --cpus or --pids"};
  }
  return for_each(global, {options.worker}, "SetLimits", {Argument(std::move(limits))});
}

Result<int> send(const Global& global, const SendOptions& options) {
  std::string text = options.text;
  if (text == "-") {
    auto read = read_standard_input();
    if (!read) {
      return read.error();
    }
    text = std::move(*read);
  }
  if (text.size() > max_text_bytes) {
    return Error{Errc::invalid_argument, "a text to send has at most 64 KiB"};
  }
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  if (!text.empty()) {
    if (const auto sent = call_worker(**bus, options.worker, "Send", {Value(text)}); !sent) {
      return sent.error();
    }
  }
  if (!options.no_enter) {
    // On its own: a text that ends in Return and arrives at once looks like a paste, which does not submit it.
    if (const auto sent = call_worker(**bus, options.worker, "Send", {Value(std::string("\n"))}); !sent) {
      return sent.error();
    }
  }
  return 0;
}

Result<int> capture(const Global& global, const CaptureOptions& options) {
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  const auto reply = call_worker(**bus, options.worker, "Capture", {Value(options.lines)});
  if (!reply) {
    return reply.error();
  }
  auto text = reply->body().at(0).get<std::string>();
  if (!text.empty() && text.back() != '\n') {
    text += '\n';
  }
  const auto printed = print(text);
  return printed ? Result<int>(0) : Result<int>(printed.error());
}

}  // namespace hal::claudy
