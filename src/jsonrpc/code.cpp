#include "jsonrpc/code.hpp"

namespace hal::jsonrpc {

int code_of(Errc code) {
  switch (code) {
    case Errc::invalid_argument:
    case Errc::not_found:
      return invalid_params;
    case Errc::already_exists:
    case Errc::protocol:
      return invalid_request;
    case Errc::timed_out:
      return request_timeout;
    case Errc::disconnected:
      return connection_closed;
    // Below: server errors of the range JSON-RPC leaves to us, away from those that MCP uses.
    case Errc::busy:
      return -32051;
    case Errc::limit:
      return -32052;
    case Errc::denied:
      return -32053;
    case Errc::cancelled:
      return -32054;
    case Errc::unavailable:
      return -32055;
    case Errc::internal:
      return internal_error;
  }
  return internal_error;
}

}  // namespace hal::jsonrpc
