#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

/**
 * The two helpers of main that tmux starts: `--pane` runs the command on tmux's pty, `--log` copies the pane's output
 * to PID 1's stdout. Both connect to PID 1's private socket, SOCK_SEQPACKET:
 *   helper -> PID 1  Greeting
 *   PID 1 -> pane    the end mark, then the main request; pane -> PID 1: Record started or failed, then exited
 *   PID 1 -> log     the end mark, with PID 1's stdout; log -> PID 1: one byte when the mark has come
 * The pane prints the mark, an escape sequence with a random number that terminals ignore, after the command's last
 * byte. So when the log says it saw the mark, the engine has all output. tmux alone would drop what its pipe has not
 * written yet when the pane ends.
 */
namespace hal::init {

enum class Role : std::uint32_t { pane = 1, log = 2 };

struct Greeting {
  Role role;
  pid_t server;  ///< The tmux server, the helper's parent.
};

inline constexpr std::size_t max_mark_bytes = 128;

/** `hal9000-init --pane SOCKET`. Returns the exit code. */
[[nodiscard]] int run_pane(const std::string& socket_path);

/** `hal9000-init --log SOCKET`: copies stdin until its end. Returns the exit code. */
[[nodiscard]] int run_log(const std::string& socket_path);

}  // namespace hal::init
