#pragma once

#include "base/unique_fd.hpp"
#include "event/sources.hpp"

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hal::test {

/**
 * An HTTP server on a unix socket, on the test's own loop, that answers exactly the bytes it is told to: for faults
 * that no real server makes at will.
 */
class ScriptServer {
 public:
  struct Request {
    std::string method;
    std::string target;
    /** The header lines as they came. */
    std::string header;
    std::string body;
  };

  /** One connection; a script may keep it and go on sending later. */
  class Connection {
   public:
    Connection(event::Loop& loop, UniqueFd fd, ScriptServer& server);
    /** Queues bytes. */
    void send(std::string_view bytes);
    /** From now on one byte goes out in a turn of the loop. */
    void slowly() { piece_ = 1; }
    /** Closes when all that is queued has gone out. */
    void finish();
    /** Closes now. */
    void cut();
    [[nodiscard]] bool open() const { return static_cast<bool>(fd_); }
    /** The peer closed its side. */
    [[nodiscard]] bool peer_gone() const { return peer_gone_; }
    [[nodiscard]] std::size_t queued() const { return out_.size() - out_done_; }

   private:
    void on_ready(std::uint32_t events);
    void read_some();
    void write_some();
    void update();

    ScriptServer& server_;
    UniqueFd fd_;
    std::string in_;
    std::string out_;
    /** Of out_, sent already. */
    std::size_t out_done_ = 0;
    std::size_t piece_ = 65536;
    bool finish_ = false;
    bool peer_gone_ = false;
    std::unique_ptr<event::Io> source_;
  };
  using ConnectionPtr = std::shared_ptr<Connection>;
  using Script = std::function<void(const Request&, const ConnectionPtr&)>;

  ScriptServer(event::Loop& loop, std::string path, Script script);
  ~ScriptServer();
  ScriptServer(const ScriptServer&) = delete;
  ScriptServer& operator=(const ScriptServer&) = delete;

  /** Cuts all connections and removes the socket, as a killed server and a tidy system do. */
  void vanish();
  /** Listens (again). */
  void listen();
  void set_script(Script script) { script_ = std::move(script); }

  [[nodiscard]] const std::string& path() const { return path_; }
  /** "GET /x" of every request so far. */
  [[nodiscard]] const std::vector<std::string>& seen() const { return seen_; }
  [[nodiscard]] std::size_t accepted() const { return accepted_; }

 private:
  friend class Connection;
  void on_accept();
  void on_request(Connection& connection, const Request& request);

  event::Loop& loop_;
  std::string path_;
  Script script_;
  UniqueFd listener_;
  std::unique_ptr<event::Io> source_;
  std::vector<ConnectionPtr> connections_;
  std::vector<std::string> seen_;
  std::size_t accepted_ = 0;
};

/** A whole answer with Content-Length. */
[[nodiscard]] std::string http(int status, std::string_view body, std::string_view more_headers = {});
/** The header of an answer whose body follows in chunks. */
[[nodiscard]] std::string http_chunked(int status = 200);
[[nodiscard]] std::string chunk(std::string_view bytes);
inline constexpr std::string_view last_chunk = "0\r\n\r\n";

}  // namespace hal::test
