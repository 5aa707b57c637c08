#pragma once

#include "base/alive.hpp"
#include "base/archive.hpp"
#include "base/result.hpp"
#include "base/strong_id.hpp"
#include "base/unique_fd.hpp"
#include "event/loop.hpp"
#include "hub/client.hpp"
#include "io/line_channel.hpp"
#include "jsonrpc/envelope.hpp"

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace hal::hub {

/**
 * The stdio of one process of a server. Hands on whole, valid messages; everything else a process may write is logged
 * (not more than a few lines a period), counted and dropped.
 */
class Upstream {
 public:
  /** The upstream may be destroyed inside any of these. */
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_server_message(const jsonrpc::Envelope& message, std::string_view line) = 0;
    /** A line over the limit was dropped. */
    virtual void on_server_overlong(std::size_t bytes) = 0;
    /** What was queued for the server has been written. */
    virtual void on_server_drained() = 0;
    /** It takes no more, though send() had taken a message for it. */
    virtual void on_server_deaf() = 0;
    /** Once, after its last line. */
    virtual void on_server_closed() = 0;
  };

  Upstream(event::Loop& loop, std::string server, InstanceId instance, UniqueFd to_server, UniqueFd from_server,
           Listener& listener);

  [[nodiscard]] InstanceId instance() const { return instance_; }
  /** Errc::limit when the server does not read, Errc::disconnected when it is gone. */
  Result<void> send(Parts message);
  Result<void> send(std::string_view message);
  /** While held, nothing is read from the server. */
  void hold(bool held);
  [[nodiscard]] std::size_t queued_bytes() const { return channel_.queued_bytes(); }
  [[nodiscard]] bool open() const { return channel_.open(); }

  // For another gateway's upstream of the same process.
  void save(Saver& archive) const;
  /** Null where the archive is broken. */
  [[nodiscard]] static std::unique_ptr<Upstream> load(Loader& archive, event::Loop& loop, std::string server,
                                                      Listener& listener);

 private:
  void on_line(std::string_view line);
  void on_message(const jsonrpc::Envelope& message, std::string_view line);
  void on_batch(std::string_view line);
  void garbage(std::string_view line, const char* problem);

  std::string server_;
  InstanceId instance_;
  Listener& listener_;
  std::size_t garbage_in_period_ = 0;
  std::chrono::steady_clock::time_point period_start_{};
  event::Loop& loop_;
  io::LineChannel channel_;
  Alive alive_;
};

}  // namespace hal::hub
