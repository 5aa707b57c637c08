#pragma once

#include "event/sources.hpp"
#include "remote/call.hpp"
#include "remote/session.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace hal::remote {

/**
 * The stream of what a server says without being asked: a GET that is opened again whenever it ends. Of the old
 * transport it is the session itself, carries all answers, and its end is told.
 */
class ServerStream {
 public:
  /** Each of these may close the stream. */
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_server_message(std::string_view message) = 0;
    /** The old transport: where messages go to. */
    virtual void on_endpoint(curl::Url messages) = 0;
    /** The session is gone: the server does not know it, or the old transport's stream has ended. */
    virtual void on_stream_lost(const Error& reason) = 0;
  };

  ServerStream(event::Loop& loop, const Web& web, const Session& session, Listener& listener);

  void open();
  void close();

 private:
  void get();
  void on_event(const Event& event);
  void on_end(const Result<Answer>& result);
  void open_later();

  event::Loop& loop_;
  Web web_;
  const Session& session_;
  Listener& listener_;
  bool endpoint_known_ = false;
  /** Without an event or an answer since. */
  int failures_ = 0;
  std::string last_id_;
  std::chrono::milliseconds retry_;
  std::unique_ptr<Call> call_;
  event::Timer timer_;
};

}  // namespace hal::remote
