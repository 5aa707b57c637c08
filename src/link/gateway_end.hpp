#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "event/loop.hpp"
#include "io/message_channel.hpp"
#include "link/messages.hpp"

#include <memory>

namespace hal::link {

/** What the gateway hears from hal9000d. The end may be destroyed inside any of these. */
class GatewayEndListener {
 public:
  virtual ~GatewayEndListener() = default;
  virtual void on_worker_add(WorkerAdd message) = 0;
  virtual void on_worker_remove(const WorkerRemove& message) = 0;
  virtual void on_http_listen(HttpListen message) = 0;
  virtual void on_http_close(const HttpClose& message) = 0;
  virtual void on_server_set(const ServerSet& message) = 0;
  virtual void on_server_remove(const ServerRemove& message) = 0;
  virtual void on_instance_attach(InstanceAttach message) = 0;
  virtual void on_instance_gone(const InstanceGone& message) = 0;
  virtual void on_server_unavailable(const ServerUnavailable& message) = 0;
  virtual void on_call(const Call& message) = 0;
  virtual void on_trace(Trace message) = 0;
  /** The daemon has said hello: from here on it knows what we have. */
  virtual void on_hello() = 0;
  /** Once and last: the daemon is gone, or said what we do not understand. */
  virtual void on_link_closed(const Error& error) = 0;
};

/** The gateway's end of one connection to hal9000d. The listener outlives it. */
class GatewayEnd {
 public:
  /** Says hello at once. */
  GatewayEnd(event::Loop& loop, UniqueFd socket, GatewayHello hello, GatewayEndListener& listener);
  ~GatewayEnd();
  GatewayEnd(const GatewayEnd&) = delete;
  GatewayEnd& operator=(const GatewayEnd&) = delete;

  Result<void> send(ToDaemon message);

 private:
  void on_message(io::Message message);
  void close(const Error& error);

  GatewayEndListener& listener_;
  bool greeted_ = false;
  std::unique_ptr<io::MessageChannel> channel_;
};

}  // namespace hal::link
