#pragma once

#include "base/unique_fd.hpp"
#include "event/sources.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

/** The smallest HTTP/1.1 client that shows what a server does: no library between the test and the bytes. */
namespace hal::http::test {

using Json = nlohmann::json;

/** A socket that listens on a free port of 127.0.0.1. */
UniqueFd listen_tcp(std::uint16_t& port);

struct Response {
  unsigned status = 0;
  /** Names in lower case. */
  std::map<std::string, std::string> headers;
  std::string body;

  [[nodiscard]] Json json() const { return Json::parse(body, nullptr, false); }
  [[nodiscard]] std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found != headers.end() ? found->second : "";
  }
};

/** One server-sent event. */
struct Event {
  std::string id;
  /** Empty: a message. */
  std::string type;
  std::string data;
  bool has_data = false;
  std::string retry;
};

/** One connection. What it waits for must come before the usual deadline, else the test fails. */
class HttpPeer {
 public:
  using Headers = std::vector<std::pair<std::string, std::string>>;

  HttpPeer(event::Loop& loop, std::uint16_t port);

  /** Bytes as they are. */
  void send_raw(std::string_view bytes);
  /** Host and Content-Length are added unless given. */
  void send(const std::string& method, const std::string& path, const Headers& headers, const std::string& body = "");

  /** The head of the next response; its body follows by body() or next_event(). */
  Response head();
  /** The next response whole. */
  Response response();
  /** The next event of the stream, comments skipped; unset at its end. */
  std::optional<Event> event();
  /** Whether the stream has ended, waited for. */
  bool ends();

  /** Nothing has been received that was not looked at. */
  [[nodiscard]] bool silent();
  void pause() { source_->set_events(0); }
  void resume();
  void hang_up();

  bool closed = false;
  std::size_t comments = 0;

 private:
  void read_some();
  bool wait_for(const std::function<bool()>& predicate, const char* what);
  /** Moves whole chunks from the bytes to the stream's text. */
  void dechunk();

  event::Loop& loop_;
  UniqueFd fd_;
  std::uint16_t port_;
  std::string out_;
  std::string bytes_;
  std::string text_;
  bool chunked_ = false;
  bool last_chunk_ = false;
  std::unique_ptr<event::Io> source_;
};

}  // namespace hal::http::test
