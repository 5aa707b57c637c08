#include "base/error.hpp"

#include <cerrno>
#include <system_error>

#include <fmt/format.h>

namespace hal {

std::string_view name(Errc code) {
  switch (code) {
    case Errc::invalid_argument:
      return "invalid_argument";
    case Errc::not_found:
      return "not_found";
    case Errc::already_exists:
      return "already_exists";
    case Errc::busy:
      return "busy";
    case Errc::limit:
      return "limit";
    case Errc::denied:
      return "denied";
    case Errc::timed_out:
      return "timed_out";
    case Errc::cancelled:
      return "cancelled";
    case Errc::disconnected:
      return "disconnected";
    case Errc::unavailable:
      return "unavailable";
    case Errc::protocol:
      return "protocol";
    case Errc::internal:
      return "internal";
  }
  return "unknown";
}

Error Error::with(std::string_view context) const {
  return {code, fmt::format("{}: {}", context, message)};
}

namespace {

Errc code_of(int errno_value) {
  switch (errno_value) {
    case ENOENT:
    case ENOTDIR:
    case ESRCH:
      return Errc::not_found;
    case EACCES:
    case EPERM:
      return Errc::denied;
    case EEXIST:
      return Errc::already_exists;
    case EBUSY:
    case EAGAIN:
      return Errc::busy;
    case EINVAL:
    case ENAMETOOLONG:
    case ELOOP:
      return Errc::invalid_argument;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case EMSGSIZE:
    case E2BIG:
    case ENOMEM:
      return Errc::limit;
    case ETIMEDOUT:
      return Errc::timed_out;
    case ECANCELED:
      return Errc::cancelled;
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
      return Errc::disconnected;
    case ECONNREFUSED:
      return Errc::unavailable;
    default:
      return Errc::internal;
  }
}

}  // namespace

Error errno_error(std::string_view what, int errno_value) {
  return {code_of(errno_value), fmt::format("{}: {}", what, std::system_category().message(errno_value))};
}

Error errno_error(std::string_view what) {
  return errno_error(what, errno);
}

void throw_errno(std::string_view what, int errno_value) {
  throw std::system_error(errno_value, std::system_category(), std::string(what));
}

void throw_errno(std::string_view what) {
  throw_errno(what, errno);
}

}  // namespace hal
