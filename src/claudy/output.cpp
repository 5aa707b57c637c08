#include "claudy/output.hpp"

#include "base/names.hpp"
#include "claudy/exit_code.hpp"
#include "json/json.hpp"

#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::claudy {

namespace {

using nlohmann::json;

/** Changes come in bursts; a screen need not follow each. */
constexpr auto settle_time = std::chrono::milliseconds(50);

constexpr std::string_view clear_screen = "\x1b[H\x1b[2J\x1b[3J";

Result<void> print_listing(Bus& bus, const ListOptions& options, const Listing& listing, std::string& last) {
  const auto data = listing.read(bus);
  if (!data) {
    return data.error();
  }
  std::string text;
  if (options.json) {
    text = options.watch ? hal::json::dump(*data) + "\n" : hal::json::dump_pretty(*data) + "\n";
  } else {
    text = listing.table(*data);
  }
  if (text == last) {
    return {};
  }
  last = text;
  if (options.watch && !options.json) {
    text = ::isatty(STDOUT_FILENO) != 0 ? std::string(clear_screen) + text : text + "\n";
  }
  return print(text);
}

/** What a watch is waiting for. */
struct Changes {
  bool any = false;
  bool daemon_gone = false;
};

Result<void> subscribe(Bus& bus, Changes& changes) {
  const auto on_change = [&changes](const std::string&, const json&) { changes.any = true; };
  const auto on_owner = [&changes](const std::string&, const json& body) {
    changes.daemon_gone = changes.daemon_gone || (body.size() == 3 && body[2] == "");
  };
  if (auto done = bus.subscribe(fmt::format("type='signal',sender='{}'", names::bus_name), on_change); !done) {
    return done;
  }
  return bus.subscribe(fmt::format("type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',"
                                   "member='NameOwnerChanged',arg0='{}'",
                                   names::bus_name),
                       on_owner);
}

}  // namespace

Result<void> print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    return Error{Errc::internal, errno_error("write to standard output").message};
  }
  return {};
}

void say(std::string_view sentence) {
  fmt::print(stderr, "claudy: {}\n", sentence);
}

Result<int> show_listing(Bus& bus, const ListOptions& options, const Listing& listing) {
  Changes changes;
  if (options.watch) {
    if (const auto done = subscribe(bus, changes); !done) {
      return done.error();
    }
  }
  std::string last;
  for (;;) {
    changes.any = false;
    if (const auto printed = print_listing(bus, options, listing, last); !printed) {
      return printed.error();
    }
    if (!options.watch) {
      return 0;
    }
    const auto woken = [&changes] { return changes.any || changes.daemon_gone; };
    if (!bus.wait_until(woken, Bus::forever)) {
      return Error{Errc::unavailable, "the connection to the bus was lost"};
    }
    if (changes.daemon_gone) {
      return daemon_not_running();
    }
    (void)bus.wait_until([&changes] { return changes.daemon_gone; }, settle_time);
  }
}

}  // namespace hal::claudy
