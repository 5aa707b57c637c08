#pragma once

#include "event/sources.hpp"
#include "hub/account.hpp"
#include "link/messages.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace hal::hub {

/**
 * One reader of a server's traffic, on the other end of a pipe. Never waits for it: lines that it does not read in time
 * are lost, and it is told how many.
 */
class Tracer {
 public:
  /** `on_closed`: from the loop, the reader has gone; the tracer may be destroyed inside. */
  Tracer(event::Loop& loop, link::Trace request, std::function<void(Tracer&)> on_closed);
  ~Tracer();
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  /** Whether the reader may and wants to see what passes in a session. */
  [[nodiscard]] bool sees(const Access& access) const;
  [[nodiscard]] bool wants_payloads() const { return request_.payloads; }
  [[nodiscard]] std::uint32_t owner() const { return request_.owner; }
  /** Of this worker only; empty: of any. */
  [[nodiscard]] const std::string& worker() const { return request_.worker; }

  /** A line with its newline. */
  void add(std::string_view line);
  /** The last line, whatever waits before it. */
  void end(std::string_view line);

 private:
  void on_ready(std::uint32_t events);
  void tell_lost();
  void flush();

  link::Trace request_;
  std::function<void(Tracer&)> on_closed_;
  /** Lines the pipe has not taken, the first perhaps in part. */
  std::string waiting_;
  std::uint64_t lost_ = 0;
  /** The pipe is full: the loop tells when it takes more. */
  bool blocked_ = false;
  event::Defer flush_;
  event::Io source_;
};

}  // namespace hal::hub
