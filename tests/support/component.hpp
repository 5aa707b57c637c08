#pragma once

#include "base/unique_fd.hpp"
#include "event/loop.hpp"

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

/**
 * What component tests share. Their executables link `component_dep`, whose main() blocks the loop's signals as the
 * programs' own main() does; so sources for children and signals work in every test.
 */
namespace hal::test {

using namespace std::chrono_literals;  // NOLINT(google-global-names-in-headers): for deadlines in tests

/** `duration` times HAL_TEST_TIME_FACTOR (a number, default 1), for slow machines and sanitizers. */
[[nodiscard]] std::chrono::milliseconds scaled(std::chrono::milliseconds duration);

/**
 * Turns the loop until `predicate` holds; false when it does not within the scaled deadline or the loop has ended.
 * Wakes on events, not by polling: something on the loop has to make the predicate true.
 */
[[nodiscard]] bool run_until(event::Loop& loop, const std::function<bool()>& predicate,
                             std::chrono::milliseconds deadline = 10s);

/** Handles what is ready now, until nothing is: for showing that something did not happen. */
void run_ready(event::Loop& loop);

/** A folder of the test's own, removed with all in it. */
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /** The path of `name` in the folder. */
  [[nodiscard]] std::string operator/(std::string_view name) const;
  /** Writes a file of the folder and returns its path. */
  std::string write(std::string_view name, std::string_view content, mode_t mode = 0644) const;

 private:
  std::string path_;
};

/** The whole of a file; empty if it cannot be read. */
[[nodiscard]] std::string read_file(const std::string& path);

/** Open descriptors of this process; equal before and after a test that leaks none. */
[[nodiscard]] std::size_t open_fds();

/** Child processes of this process, zombies included. */
[[nodiscard]] std::vector<pid_t> children();

/** Whether a process with this id exists and is not a zombie. */
[[nodiscard]] bool process_runs(pid_t pid);

/** Waits until the process is gone or a zombie, on its pidfd; false at the scaled deadline. */
[[nodiscard]] bool wait_gone(pid_t pid, std::chrono::milliseconds deadline = 10s);

/** Reads a blocking or non-blocking descriptor to its end; what has come when the scaled deadline passes. */
[[nodiscard]] std::string read_all(int fd, std::chrono::milliseconds deadline = 10s);

/** Reads one line without its newline; what has come at the end or when the scaled deadline passes. */
[[nodiscard]] std::string read_line(int fd, std::chrono::milliseconds deadline = 10s);

/** A program whose execution waits for its file, as on a network mount that hangs, until this is destroyed. */
class HangingProgram {
 public:
  explicit HangingProgram(const TempDir& folder);
  ~HangingProgram();
  HangingProgram(const HangingProgram&) = delete;
  HangingProgram& operator=(const HangingProgram&) = delete;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
  UniqueFd lease_;
};

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};
[[nodiscard]] Pipe make_pipe();

}  // namespace hal::test
