#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "event/loop.hpp"
#include "io/message_channel.hpp"
#include "link/messages.hpp"

#include <memory>

namespace hal::link {

/** What hal9000d hears from the gateway. The end may be destroyed inside any of these. */
class DaemonEndListener {
 public:
  virtual ~DaemonEndListener() = default;
  /** First of all; our own hello has been sent. Now the daemon sends what the gateway lacks. */
  virtual void on_hello(const GatewayHello& hello) = 0;
  virtual void on_instance_request(const InstanceRequest& request) = 0;
  virtual void on_instance_release(const InstanceRelease& release) = 0;
  virtual void on_server_report(const ServerReport& report) = 0;
  virtual void on_worker_report(const WorkerReport& report) = 0;
  virtual void on_call_result(const CallResult& result) = 0;
  /** Once and last: the gateway is gone, or said what we do not understand. */
  virtual void on_link_closed(const Error& error) = 0;
};

/** hal9000d's end of one connection to the gateway. Owned by who owns the gateway; the listener outlives it. */
class DaemonEnd {
 public:
  DaemonEnd(event::Loop& loop, UniqueFd socket, DaemonEndListener& listener);
  ~DaemonEnd();
  DaemonEnd(const DaemonEnd&) = delete;
  DaemonEnd& operator=(const DaemonEnd&) = delete;

  /** Any time after on_hello; descriptors go with it. Errc::disconnected after the end. */
  Result<void> send(ToGateway message);

  [[nodiscard]] bool ready() const noexcept { return greeted_ && channel_ != nullptr; }

 private:
  void on_message(io::Message message);
  void close(const Error& error);

  DaemonEndListener& listener_;
  bool greeted_ = false;
  std::unique_ptr<io::MessageChannel> channel_;
};

}  // namespace hal::link
