#include "engine/endpoint.hpp"

#include "base/limits.hpp"

#include <unistd.h>

#include <cerrno>

#include <fmt/format.h>

namespace hal::engine {

namespace {

std::string advice(const std::string& socket) {
  if (::access(socket.c_str(), R_OK | W_OK) == 0) {
    return "nobody answers there: start the container engine";
  }
  switch (errno) {
    case ENOENT:
    case ENOTDIR:
      return "start the container engine, or set engine.socket to its path";
    case EACCES:
      return "run as root or as a member of the socket's group";
    default:
      return "is it the container engine's socket?";
  }
}

}  // namespace

curl::RequestSpec request_to(const Options& options, std::string method, std::string_view target) {
  curl::RequestSpec spec;
  spec.method = std::move(method);
  spec.url = fmt::format("http://engine.localhost{}", target);
  spec.unix_socket = options.socket;
  spec.max_body_bytes = limits::engine_body_bytes;
  spec.reuse_connection = false;
  spec.headers = {"User-Agent: hal9000d", "Content-Type:"};
  spec.deadlines.connect = options.ping_deadline;
  return spec;
}

Error connection_error(const Options& options, const Error& error) {
  switch (error.code) {
    case Errc::unavailable:
      return {Errc::unavailable, fmt::format("{} ({})", error.message, advice(options.socket))};
    case Errc::disconnected:
      return {Errc::unavailable, fmt::format("the container engine went away: {}", error.message)};
    default:
      return error;
  }
}

}  // namespace hal::engine
