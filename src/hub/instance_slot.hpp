#pragma once

#include "base/archive.hpp"
#include "base/result.hpp"
#include "event/sources.hpp"
#include "hub/server.hpp"
#include "hub/upstream.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace hal::hub {

/**
 * The place for one process of a server: asks the daemon for one, holds its stdio while it runs, and puts the two
 * signs of its end together, the end of its output and the daemon's news, which come in either order.
 */
class InstanceSlot final : private Upstream::Listener {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_instance_running() = 0;
    virtual void on_server_message(const jsonrpc::Envelope& message, std::string_view line) = 0;
    virtual void on_server_overlong(std::size_t bytes) = 0;
    virtual void on_server_drained() = 0;
    /** The process is gone, all it wrote has been handed on. The slot is empty again; want() starts over. */
    virtual void on_instance_ended(const std::string& reason) = 0;
    /** What want() asked for cannot be had now. */
    virtual void on_instance_unavailable(const std::string& reason) = 0;
    /** The time at which asking again makes sense has come. */
    virtual void on_instance_retry() = 0;
  };

  InstanceSlot(ServerContext& context, std::string server, std::optional<link::SessionId> session, Listener& listener);
  ~InstanceSlot() override;
  InstanceSlot(const InstanceSlot&) = delete;
  InstanceSlot& operator=(const InstanceSlot&) = delete;

  /** Asks for a process unless there is one or one is asked for. An error: not before the retry; nothing follows. */
  Result<void> want();
  [[nodiscard]] bool running() const { return upstream_ != nullptr && !ending_; }
  /** Null when there is no process. */
  [[nodiscard]] std::optional<InstanceId> instance() const;

  Result<void> send(Parts message);
  Result<void> send(std::string_view message);
  [[nodiscard]] std::size_t queued_bytes() const;
  /** While held, nothing is read from the process. */
  void hold(bool held);

  /** Closes the process's stdio and has it ended; nothing more is heard of it. */
  void release();

  void attach(link::InstanceAttach instance);
  void gone(const link::InstanceGone& news);
  void unavailable(const link::ServerUnavailable& news);
  void daemon_returned();

  // For the same place in another gateway.
  void save(Saver& archive);
  void load(Loader& archive);

 private:
  void on_server_message(const jsonrpc::Envelope& message, std::string_view line) override;
  void on_server_overlong(std::size_t bytes) override;
  void on_server_drained() override;
  void on_server_deaf() override;
  void on_server_closed() override;

  Result<void> sent(Result<void> result);
  void request();
  void finish(const std::string& reason);
  void on_deadline();

  ServerContext& context_;
  std::string server_;
  std::optional<link::SessionId> session_;
  Listener& listener_;
  std::unique_ptr<Upstream> upstream_;
  bool requested_ = false;
  /** One of the two signs of the end has come. */
  bool ending_ = false;
  bool output_ended_ = false;
  std::optional<std::string> gone_reason_;
  /** While this lies ahead, want() is refused with the reason. */
  std::optional<std::chrono::steady_clock::time_point> retry_at_;
  std::string unavailable_reason_;
  /** For the answer to a request, and for the second sign of the end. */
  event::Timer deadline_;
  event::Timer retry_;
};

}  // namespace hal::hub
