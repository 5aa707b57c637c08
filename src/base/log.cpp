#include "base/log.hpp"

#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#define SD_JOURNAL_SUPPRESS_LOCATION  // a line's place in the source is no use to an operator
#include "base/text.hpp"

#include <systemd/sd-journal.h>

namespace hal::log {

namespace {

/** Of a line on stderr; escaped, so that a message cannot forge another line. */
constexpr std::size_t max_message_bytes = 4096;

struct State {
  std::string program = "hal9000";
  Level max = Level::info;
  bool to_journal = false;
};

State& state() {
  static State instance;
  return instance;
}

/** Whether stderr is the journal's own stream: JOURNAL_STREAM names its device and inode (systemd.exec(5)). */
bool stderr_is_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat status {};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &status) != 0) {
    return false;
  }
  return fmt::format("{}:{}", status.st_dev, status.st_ino) == stream;
}

void write_journal(Level level, Fields fields, std::string_view message) {
  std::string text;
  std::vector<std::size_t> ends;
  ends.reserve(fields.size() + 3);
  const auto add = [&](std::string_view name, std::string_view value) {
    text.append(name).append("=").append(value);
    ends.push_back(text.size());
  };
  add("MESSAGE", message);
  add("PRIORITY", fmt::format_int(static_cast<int>(level)).c_str());
  add("SYSLOG_IDENTIFIER", state().program);
  for (const auto& field : fields) {
    add(field.name, field.value);
  }
  std::vector<iovec> vectors;
  vectors.reserve(ends.size());
  for (std::size_t begin = 0; const auto end : ends) {
    vectors.push_back({text.data() + begin, end - begin});
    begin = end;
  }
  (void)sd_journal_sendv(vectors.data(), static_cast<int>(vectors.size()));
}

std::string_view word(Level level) {
  switch (level) {
    case Level::critical:
      return "critical";
    case Level::error:
      return "error";
    case Level::warning:
      return "warning";
    case Level::notice:
      return "notice";
    case Level::info:
      return "info";
    case Level::debug:
      return "debug";
  }
  return "";
}

void write_stderr(Level level, Fields fields, std::string_view message) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  ::localtime_r(&now.tv_sec, &parts);
  std::string line =
      fmt::format("{:02}:{:02}:{:02}.{:03} {} {}: {}", parts.tm_hour, parts.tm_min, parts.tm_sec,
                  now.tv_nsec / 1'000'000, state().program, word(level), text::printable(message, max_message_bytes));
  for (const auto& field : fields) {
    if (field.name != "MESSAGE_ID") {
      line.append(" ").append(field.name).append("=").append(text::printable(field.value));
    }
  }
  line += '\n';
  (void)!::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace

void start(std::string_view program) {
  state().program = program;
  state().to_journal = stderr_is_journal();
}

void set_max_level(Level level) {
  state().max = level;
}

Level max_level() {
  return state().max;
}

std::string_view program() {
  return state().program;
}

std::string_view target() {
  return state().to_journal ? "journal" : "console";
}

void write(Level level, Fields fields, std::string_view message) {
  if (level > state().max) {
    return;
  }
  if (state().to_journal) {
    write_journal(level, fields, message);
  } else {
    write_stderr(level, fields, message);
  }
}

}  // namespace hal::log
