#pragma once

#include "jsonrpc/envelope.hpp"

#include <string_view>

namespace hal::http {

/** What is behind a session: one server, or all. It answers through the session. */
class Backend {
 public:
  virtual ~Backend() = default;
  virtual void from_client(const jsonrpc::Envelope& message, std::string_view line) = 0;
  /** The client has read all that was delivered. */
  virtual void client_drained() = 0;
};

}  // namespace hal::http
