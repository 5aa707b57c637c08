#include "server/stderr_log.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

namespace hal::server {

namespace {

constexpr std::size_t max_line_bytes = 2048;
constexpr std::size_t kept_lines = 3;
/** A server in trouble says a lot; the first lines are the ones that matter. */
constexpr std::size_t lines_per_interval = 200;
constexpr std::chrono::seconds interval{5};
/** Read in one turn of the loop. */
constexpr std::size_t read_bytes = 64 * 1024;

}  // namespace

StderrLog::StderrLog(event::Loop& loop, UniqueFd fd, std::string server)
    : loop_(loop),
      fd_(std::move(fd)),
      server_(std::move(server)),
      source_(loop, fd_.get(), EPOLLIN, "stderr of " + server_, [this](std::uint32_t) {
        if (!read_some()) {
          source_.set_events(0);
        }
      }) {
  (void)::fcntl(fd_.get(), F_SETFL, O_NONBLOCK);
}

void StderrLog::drain() {
  // What a pipe can hold, and no more: a process that escaped may go on writing.
  for (std::size_t turn = 0; turn < (std::size_t{1} << 20) / read_bytes && read_some(); ++turn) {
  }
  if (!line_.empty() || cut_ > 0) {
    end_line();
  }
}

std::string StderrLog::last_lines() const {
  return fmt::format("{}", fmt::join(last_, " | "));
}

bool StderrLog::read_some() {
  char buffer[read_bytes];
  const ssize_t bytes = ::read(fd_.get(), buffer, sizeof buffer);
  if (bytes <= 0) {
    return bytes < 0 && (errno == EAGAIN || errno == EINTR);
  }
  take({buffer, static_cast<std::size_t>(bytes)});
  return true;
}

void StderrLog::take(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto newline = bytes.find('\n');
    const auto part = bytes.substr(0, newline);
    const auto kept = part.substr(0, std::min(part.size(), max_line_bytes - line_.size()));
    line_.append(kept);
    cut_ += part.size() - kept.size();
    if (newline == std::string_view::npos) {
      return;
    }
    end_line();
    bytes.remove_prefix(newline + 1);
  }
}

void StderrLog::end_line() {
  const auto text = text::printable(text::trim(line_), max_line_bytes);
  const auto cut = std::exchange(cut_, 0);
  line_.clear();
  if (text.empty()) {
    return;
  }
  last_.push_back(text.substr(0, 300));
  if (last_.size() > kept_lines) {
    last_.pop_front();
  }
  if (!may_log()) {
    return;
  }
  if (cut > 0) {
    log::info({{names::field_server, server_}}, "{}: {} ({} bytes more)", server_, text, cut);
  } else {
    log::info({{names::field_server, server_}}, "{}: {}", server_, text);
  }
}

bool StderrLog::may_log() {
  if (const auto now = loop_.now(); now - interval_start_ >= interval) {
    interval_start_ = now;
    lines_in_interval_ = 0;
    if (const auto count = std::exchange(left_out_, 0); count > 0) {
      log::warning({{names::field_server, server_}}, "{}: {} lines of its stderr were left out", server_, count);
    }
  }
  if (++lines_in_interval_ > lines_per_interval) {
    ++left_out_;
    return false;
  }
  return true;
}

}  // namespace hal::server
