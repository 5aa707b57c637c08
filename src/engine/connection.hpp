#pragma once

#include "curl/request.hpp"
#include "engine/endpoint.hpp"
#include "engine/event_reader.hpp"
#include "engine/messages.hpp"
#include "event/sources.hpp"
#include "worker/runtime.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace hal::engine {

/**
 * Knows whether the engine is there: asks who it is (/_ping, /version, /info), agrees on an API version, and listens to
 * its events. When the event stream ends, or the engine does not answer while calls wait, it counts as down and all of
 * that begins anew, with growing pauses. Nothing is asked of an engine that nobody waits for. Starts by itself in the
 * loop's next turn.
 */
class Connection {
 public:
  class Listener {
   public:
    /** Version agreed and events flowing. */
    virtual void on_connection_up() = 0;
    /** Once after each time it was up, and once if the first attempt fails. */
    virtual void on_connection_down(const Error& reason) = 0;
    virtual void on_container_event(const worker::ContainerEvent& event) = 0;
    virtual void on_image_event() = 0;
    /** Whether a call waits for its answer. */
    [[nodiscard]] virtual bool calls_wait() const = 0;

   protected:
    ~Listener() = default;
  };

  /** The listener may destroy the connection from inside its methods. */
  Connection(event::Loop& loop, curl::Multi& multi, const Options& options, Listener& listener);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] bool up() const noexcept { return up_; }
  /** A call waits for its answer. */
  void on_call();
  /** Of the last engine that was up. */
  [[nodiscard]] const worker::EngineInfo& info() const noexcept { return info_; }
  /** Why it is not up. */
  [[nodiscard]] const Error& reason() const noexcept { return reason_; }
  /** What every path begins with: "/v1.41". */
  [[nodiscard]] const std::string& prefix() const noexcept { return prefix_; }

 private:
  using Step = void (Connection::*)(const curl::Response&);

  void attempt();
  /** GET, then `step` with an answer of status 200; anything else ends the attempt. */
  void ask(const std::string& target, Step step);
  void on_ping(const curl::Response& response);
  void on_version(const curl::Response& response);
  void on_info(const curl::Response& response);
  void listen();
  void on_listening(const curl::Response& response);
  std::size_t on_events(std::string_view bytes);
  void listen_for_images();
  void beat();
  void go_up();
  void go_down(Error reason);

  event::Loop& loop_;
  curl::Multi& multi_;
  const Options& options_;
  Listener& listener_;

  bool up_ = false;
  bool told_down_ = false;
  worker::EngineInfo info_;
  std::string prefix_;
  Error reason_{Errc::unavailable, "the container engine has not been asked yet"};
  std::chrono::milliseconds backoff_;
  std::chrono::steady_clock::time_point up_since_;

  EventReader reader_;
  std::unique_ptr<curl::Request> request_;
  std::unique_ptr<curl::Request> events_;
  std::unique_ptr<curl::Request> images_;
  std::unique_ptr<curl::Request> ping_;
  event::Timer retry_;
  event::Timer heartbeat_;
  /** Expires with this object; for code that called the listener. */
  std::shared_ptr<const bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace hal::engine
