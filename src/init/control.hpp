#pragma once

#include "base/unique_fd.hpp"
#include "init/epoll.hpp"
#include "init/protocol.hpp"

#include <sys/types.h>

#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace hal::init {

/** Who serves the daemon. Neither call comes from inside a call to Control. */
class ControlListener {
 public:
  ControlListener() = default;
  ControlListener(const ControlListener&) = delete;
  ControlListener& operator=(const ControlListener&) = delete;
  virtual ~ControlListener() = default;

  /** What a new connection begins with: hello and what runs. */
  [[nodiscard]] virtual std::vector<Record> greeting() = 0;
  /** The descriptors are as many as fds_with(request) says. */
  virtual void requested(Request request, std::vector<UniqueFd> fds) = 0;
};

/**
 * The connection to hal9000d. Connects when it can: at once, when the socket's file appears or is replaced, and when
 * a connection ends. What `failed` and `exited` could not be sent waits for the next connection.
 */
class Control {
 public:
  /** Throws std::system_error if the folder of `path` cannot be watched. */
  Control(Epoll& epoll, std::string path, ControlListener& listener);
  Control(const Control&) = delete;
  Control& operator=(const Control&) = delete;
  ~Control() = default;

  /** Sends now or when the peer reads again. `fd` is closed then. */
  void send(const Record& record, UniqueFd fd = {});

  /** Whether nothing waits that could still be sent. */
  [[nodiscard]] bool flushed() const { return !watch_ || queue_.empty(); }

 private:
  struct Waiting {
    Record record;
    UniqueFd fd;
  };
  struct FileId {
    dev_t device;
    ino_t inode;
    friend bool operator==(const FileId&, const FileId&) = default;
  };

  void try_connect();
  void retry(bool for_ever);
  void disconnect();
  void folder_changed();
  void ready(std::uint32_t events);
  void read();
  void flush();
  [[nodiscard]] std::optional<FileId> file() const;

  Epoll& epoll_;
  std::string path_;
  ControlListener& listener_;
  UniqueFd inotify_;
  Watch inotify_watch_;
  Timer timer_;
  unsigned attempts_ = 0;  ///< Since the last sign of a daemon.
  UniqueFd socket_;
  std::optional<FileId> connected_file_;
  std::optional<Watch> watch_;  ///< Set while connected.
  std::deque<Waiting> queue_;
};

}  // namespace hal::init
