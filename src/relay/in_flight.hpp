#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <string>
#include <string_view>

namespace hal::relay {

/**
 * The client's requests that the gateway has and has not answered. Holds limits::requests_in_flight, which the gateway
 * does not exceed for a session either; beyond it the oldest is forgotten.
 */
class InFlight {
 public:
  /** `id` is raw JSON text, kept byte for byte. */
  void add(std::string_view id);
  /** Answered or cancelled; ids that are not in flight are ignored. */
  void remove(std::string_view id);
  [[nodiscard]] bool contains(std::string_view id) const;
  [[nodiscard]] bool empty() const { return ids_.empty(); }
  [[nodiscard]] std::size_t size() const { return ids_.size(); }

  /** Removes all but `but`, oldest first, calling back with each id as it was added. */
  void drain(std::string_view but, const std::function<void(std::string_view)>& on_id);

 private:
  struct Entry {
    std::string id;
    std::string key;  ///< jsonrpc::id_key: a peer may spell a string's escapes anew.
  };
  std::list<Entry> ids_;
};

}  // namespace hal::relay
