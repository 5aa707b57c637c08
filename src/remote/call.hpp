#pragma once

#include "base/alive.hpp"
#include "base/result.hpp"
#include "curl/request.hpp"
#include "curl/url.hpp"
#include "remote/event_parser.hpp"
#include "remote/outlet.hpp"
#include "remote/settings.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hal::remote {

/** What all requests of this program share. */
struct Web {
  curl::Multi& multi;
  const Settings& settings;
  Outlet& outlet;
};

/** One request to the server: how it is sent and what comes of it. */
struct CallSpec {
  std::string method;
  curl::Url url;
  /** Beside those of the settings. */
  std::vector<std::string> headers;
  std::string body;
  /** For the answer to begin, and for each piece of it; 0: none. */
  std::chrono::milliseconds answer{0};
  std::chrono::milliseconds idle{0};
};

struct Answer {
  int status = 0;
  /** The body was an event stream, every event of which has been handed on. */
  bool events = false;
  /** Else the body. */
  std::string body;
  /** The media type as sent. */
  std::string type;
  /** What the server asks to wait, if it does, as it says it. */
  std::string retry_after;
  /** What was sent, if the server has refused it. */
  std::string request_body;
};

/** The failure an answer's status stands for, with host and status and nothing else of the answer. */
[[nodiscard]] Error status_error(const Settings& settings, const Answer& answer);
/** That of an answer over the limit of a message. */
[[nodiscard]] Error overlong_error(const Settings& settings);

/**
 * Sends a request and reads its answer, an event stream event by event, as fast as our client reads. Redirects are
 * followed within the server's own origin only, so headers never reach another one. Callbacks may destroy the call.
 */
class Call final : private Outlet::Reader {
 public:
  struct Callbacks {
    /** Optional: the header of a 2xx answer has come. */
    std::function<void(const curl::Response&)> on_head;
    std::function<void(Event)> on_event;
    /** Optional: an event was longer than a message may be. */
    std::function<void()> on_overlong;
    /** Once, last. */
    Done<Answer> on_end;
  };

  Call(const Web& web, CallSpec spec, Callbacks callbacks);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  /** Of an event stream: where it can be taken up again, and how long to wait before that. */
  [[nodiscard]] const std::string& last_id() const { return parser_.last_id(); }
  [[nodiscard]] std::optional<std::chrono::milliseconds> retry() const { return parser_.retry(); }

 private:
  void send(std::string body);
  void on_head(const curl::Response& response);
  std::size_t on_data(std::string_view bytes);
  std::size_t read_events(std::string_view bytes);
  void on_done(Result<curl::Response> result);
  /** False: it is none that may be followed, and `error` says why. */
  bool redirect(curl::Response& response, std::optional<Error>& error);
  void on_room() override;

  Web web_;
  CallSpec spec_;
  /** Outlives a call that one of them destroys. */
  std::shared_ptr<const Callbacks> callbacks_;
  int redirects_ = 0;
  bool events_ = false;
  EventParser parser_;
  std::string body_;
  std::unique_ptr<curl::Request> request_;
  Alive alive_;
};

}  // namespace hal::remote
