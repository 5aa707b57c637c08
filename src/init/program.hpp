#pragma once

#include "base/unique_fd.hpp"

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/** Starting programs. */
namespace hal::init {

/** What to run, with the whole of its environment. */
struct Command {
  std::string cwd;
  std::vector<std::string> argv;
  std::vector<std::string> env;
};

/** A pty, both ends close-on-exec. */
struct Pty {
  UniqueFd master;
  UniqueFd slave;
};

/** Opens a pty with a window of that size, 0 standing for 24 and 80. Without value: errno says why. */
[[nodiscard]] std::optional<Pty> open_pty(std::uint16_t rows, std::uint16_t columns);

/** Sets the window; the kernel tells the programs in it. */
void set_window(int terminal, std::uint16_t rows, std::uint16_t columns);

/** What a program is started on. */
struct Stdio {
  int in = 0;
  int out = 1;
  int err = 2;
  /** `in` becomes the controlling terminal. */
  bool terminal = false;
  /** A session of its own; else it stays in the caller's process group. */
  bool new_session = true;
};

/** A child between fork and execve. */
struct Launch {
  pid_t pid = -1;
  /** Non-blocking. Its end says that execve succeeded; an int read from it is the errno with which it did not. */
  UniqueFd outcome;
};

/** Forks. Without value: errno says why. The child has default signals and no descriptor above 2. */
[[nodiscard]] std::optional<Launch> launch(const Command& command, const Stdio& stdio);

/** The state of a launch: nothing while the child has not come to execve, else its errno or 0. */
[[nodiscard]] std::optional<int> outcome(const Launch& launch);

}  // namespace hal::init
