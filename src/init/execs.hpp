#pragma once

#include "base/unique_fd.hpp"
#include "init/epoll.hpp"
#include "init/program.hpp"
#include "init/protocol.hpp"

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace hal::init {

/** The programs of exec requests, limits::execs_per_worker at most. */
class Execs {
 public:
  /** Where records go; a `started` of a terminal comes with the pty's master. */
  using Report = std::function<void(const Record& record, UniqueFd fd)>;

  Execs(Epoll& epoll, Report report);

  /** Starts a program; reports started or failed, later exited. */
  void start(const Request& request, std::vector<UniqueFd> fds);
  void signal(ExecId id, int number) const;
  void resize(ExecId id, std::uint16_t rows, std::uint16_t columns) const;

  /** A child has been reaped; true if it was one of these. */
  bool reaped(pid_t pid, int status);

  /** `running` for each program whose start has been reported. */
  [[nodiscard]] std::vector<Record> running() const;

 private:
  struct Exec {
    pid_t pid = -1;
    bool terminal = false;
    UniqueFd master;               ///< Until the start is reported.
    UniqueFd slave;                ///< For resize, until the program has ended.
    std::optional<Launch> launch;  ///< Until execve.
    std::unique_ptr<Watch> watch;  ///< On launch->outcome.
  };

  void fail(ExecId id, int error) const;
  /** False if the start is not decided yet, or was a failure and the exec is gone. */
  bool settle(ExecId id);

  Epoll& epoll_;
  Report report_;
  std::map<ExecId, Exec> execs_;
};

}  // namespace hal::init
