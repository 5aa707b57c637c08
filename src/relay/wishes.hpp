#pragma once

#include "relay/line_scanner.hpp"

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

namespace hal::relay {

/** A longer request is not repeated; URIs and log levels are short. */
inline constexpr std::size_t max_wish_bytes = 4096;
/** Resources one client is subscribed to; the gateway takes no more either. */
inline constexpr std::size_t max_subscriptions = 256;

/**
 * What the client has asked the server to keep doing: subscriptions to resources and the log level. A new session knows
 * nothing of it, so the requests are sent again, as the client wrote them. Pure.
 */
class Wishes {
 public:
  /** A request of the client's has been sent; `text` is its line with the newline. */
  void sent(const Line& request, std::string_view text);
  /** A response for the client: what was refused is no wish. */
  void answered(const Line& response);
  /** The answers of what is under way will not come. */
  void connection_lost() { asked_.clear(); }

  /** The requests to send again. */
  [[nodiscard]] std::string lines() const;
  /** Their ids, as keys, with how often each is answered: the answers are not the client's. */
  [[nodiscard]] std::map<std::string, int> ids() const;

 private:
  struct Wish {
    std::string id_key;
    std::string line;
    /** As a key; empty for the log level. */
    std::string uri_key;
  };

  /** By id, not answered yet. */
  std::map<std::string, Wish> asked_;
  /** By URI. */
  std::map<std::string, Wish> subscriptions_;
  Wish log_level_;
};

}  // namespace hal::relay
