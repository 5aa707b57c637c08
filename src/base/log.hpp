#pragma once

#include <initializer_list>
#include <string_view>

#include <fmt/format.h>

/**
 * Log lines with fields. To the journal by its native protocol where stderr is the journal (JOURNAL_STREAM), else to
 * stderr as text. Library folders return errors and stay silent; services log an event once, where it is handled.
 * Never a payload, never a secret.
 *
 * Levels by consequence: critical = the program stops; error = a request failed through our fault or the system's;
 * warning = out of the ordinary but handled; info = a change of state an operator wants to see; debug = the rest.
 */
namespace hal::log {

/** The values are those of syslog(3). */
enum class Level { critical = 2, error = 3, warning = 4, notice = 5, info = 6, debug = 7 };

/** A journal field, e.g. {names::field_worker, id}. The special name MESSAGE_ID ties the line to the catalogue. */
struct Field {
  std::string_view name;
  std::string_view value;
};
using Fields = std::initializer_list<Field>;

/** Chooses the sink and names the program. Called once, first thing in main. */
void start(std::string_view program);
void set_max_level(Level level);
[[nodiscard]] Level max_level();
/** The name given to start(). */
[[nodiscard]] std::string_view program();
/** Where lines go: "journal" or "console" (stderr). */
[[nodiscard]] std::string_view target();

void write(Level level, Fields fields, std::string_view message);

template <class... Args>
void print(Level level, Fields fields, fmt::format_string<Args...> format, Args&&... args) {
  if (level <= max_level()) {
    write(level, fields, fmt::format(format, std::forward<Args>(args)...));
  }
}

template <class... Args>
void critical(Fields fields, fmt::format_string<Args...> format, Args&&... args) {
  print(Level::critical, fields, format, std::forward<Args>(args)...);
}
template <class... Args>
void error(Fields fields, fmt::format_string<Args...> format, Args&&... args) {
  print(Level::error, fields, format, std::forward<Args>(args)...);
}
template <class... Args>
void warning(Fields fields, fmt::format_string<Args...> format, Args&&... args) {
  print(Level::warning, fields, format, std::forward<Args>(args)...);
}
template <class... Args>
void notice(Fields fields, fmt::format_string<Args...> format, Args&&... args) {
  print(Level::notice, fields, format, std::forward<Args>(args)...);
}
template <class... Args>
void info(Fields fields, fmt::format_string<Args...> format, Args&&... args) {
  print(Level::info, fields, format, std::forward<Args>(args)...);
}
template <class... Args>
void debug(Fields fields, fmt::format_string<Args...> format, Args&&... args) {
  print(Level::debug, fields, format, std::forward<Args>(args)...);
}

}  // namespace hal::log
