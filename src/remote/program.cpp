#include "remote/program.hpp"

#include "base/log.hpp"

#include <signal.h>

#include <cstdlib>
#include <utility>

namespace hal::remote {

namespace {

/** EX_CONFIG of sysexits(3). */
constexpr int exit_config = 78;
/** The daemon writes them before it starts us. */
constexpr std::chrono::seconds settings_deadline{30};

}  // namespace

Program::Program(event::Loop& loop, UniqueFd in, UniqueFd out, std::string ca_file)
    : loop_(loop),
      ca_file_(std::move(ca_file)),
      multi_(loop),
      outlet_(loop, std::move(in), std::move(out),
              {.on_line = [this](std::string_view line) { on_line(line); },
               .on_overlong =
                   [this](std::size_t bytes) {
                     if (client_) {
                       client_->on_overlong(bytes);
                     }
                   },
               .on_closed = [this] { end(); }}),
      settings_deadline_(loop, "remote:settings",
                         [this] {
                           log::error({}, "no settings have come on stdin");
                           loop_.exit(exit_config);
                         }),
      term_(loop, SIGTERM, "SIGTERM", [this] { end(); }),
      interrupt_(loop, SIGINT, "SIGINT", [this] { end(); }) {
  settings_deadline_.arm(settings_deadline);
}

void Program::on_line(std::string_view line) {
  if (client_) {
    client_->on_line(line);
  } else {
    begin(line);
  }
}

void Program::begin(std::string_view settings) {
  settings_deadline_.disarm();
  auto read = read_settings(settings);
  if (!read) {
    log::error({}, "{}", read.error().message);
    return loop_.exit(exit_config);
  }
  settings_ = *std::move(read);
  settings_.ca_file = ca_file_;
  client_.emplace(loop_, Web{multi_, settings_, outlet_}, [this](int code) { loop_.exit(code); });
}

void Program::end() {
  if (client_) {
    client_->end();
  } else {
    loop_.exit(EXIT_SUCCESS);
  }
}

}  // namespace hal::remote
