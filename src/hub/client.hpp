#pragma once

#include "base/strong_id.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace hal::hub {

/** Names one client for the life of the process; never used twice. */
using ClientId = StrongId<struct ClientTag, std::uint64_t>;

/** A message in pieces, to be written one after the other. */
using Parts = std::span<const std::string_view>;

/**
 * Whom a server talks to: a relay's session, or the gateway itself for a call of the daemon's. Owned by the hub; a
 * server knows it from Server::add() to Server::remove(). No call here calls back into the server: what a client does
 * of its own comes from the loop.
 */
class Client {
 public:
  virtual ~Client() = default;

  [[nodiscard]] virtual ClientId id() const = 0;
  /** The session's name on the wire, for the daemon and the log. */
  [[nodiscard]] virtual const std::string& session() const = 0;

  /** A response or a request: must arrive. A client that cannot take it is ended. */
  virtual void deliver(Parts message) = 0;
  /** A response to the request with this id, as the client spelled it. */
  virtual void respond(std::string_view id, Parts message) {
    (void)id;
    deliver(message);
  }
  /** Dropped where the client reads too slowly. */
  virtual void notify(Parts message) = 0;
  /** Bytes delivered that it has not read. Server::client_drained() follows when they are none again. */
  [[nodiscard]] virtual std::size_t backlog() const = 0;
  /** While held, nothing is read from the client: its server has more than it can take. */
  virtual void hold(bool held) = 0;
  /** Ends the session once all that was delivered has been written. */
  virtual void end(const std::string& reason) = 0;
};

}  // namespace hal::hub
