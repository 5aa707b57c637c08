#pragma once

#include "hub/client.hpp"

#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace hal::hub {

/**
 * Who has subscribed to which resource of one server. One request a URI is under way at most; what comes meanwhile
 * waits for it, so that subscribe and unsubscribe of different clients cannot overtake each other.
 */
class Subscriptions {
 public:
  enum class Decision {
    /** Ask the server, then call settle(). */
    ask,
    /** Answer success at once. */
    done,
    /** Something is under way: ask again when settle() hands it back. */
    wait,
  };
  /** A request that has to wait: the client's line. */
  struct Waiting {
    ClientId client;
    std::string line;

    template <class Archive>
    void keep(Archive& archive) {
      archive(client, line);
    }
  };

  [[nodiscard]] Decision subscribe(ClientId client, const std::string& uri);
  [[nodiscard]] Decision unsubscribe(ClientId client, const std::string& uri);
  /** False when too many wait for this resource already. */
  [[nodiscard]] bool wait(const std::string& uri, Waiting waiting);

  /** The server has answered (or is gone, which is no success). Hands back what waited, to be tried again in order. */
  [[nodiscard]] std::deque<Waiting> settle(const std::string& uri, ClientId client, bool subscribed, bool success);

  /** Forgets a client; the URIs that nobody wants any more, to be unsubscribed. */
  [[nodiscard]] std::vector<std::string> remove(ClientId client);

  [[nodiscard]] std::size_t count_of(ClientId client) const;
  /** Who is told of a change of `uri`: subscribers of it or of a parent of it. */
  [[nodiscard]] std::set<ClientId> subscribers(std::string_view uri) const;
  /** All URIs with subscribers, for a new process. */
  [[nodiscard]] std::vector<std::string> uris() const;

  template <class Archive>
  void keep(Archive& archive) {
    archive(resources_);
  }

 private:
  struct Resource {
    std::set<ClientId> clients;
    bool busy = false;
    std::deque<Waiting> waiting;

    template <class Archive>
    void keep(Archive& archive) {
      archive(clients, busy, waiting);
    }
  };
  std::map<std::string, Resource, std::less<>> resources_;
};

}  // namespace hal::hub
