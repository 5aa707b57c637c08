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
  /**
   * `id` is raw JSON text, kept byte for byte; `line` is the whole one, with its newline, of a request that may be sent
   * once more, else empty.
   */
  void add(std::string_view id, std::string_view line = {});
  /** Answered or cancelled; ids that are not in flight are ignored. */
  void remove(std::string_view id);
  [[nodiscard]] bool contains(std::string_view id) const;
  [[nodiscard]] bool empty() const { return ids_.empty(); }
  [[nodiscard]] std::size_t size() const { return ids_.size(); }

  /** Removes all but `but` and those with a line, oldest first, calling back with each id as it was added. */
  void drain(std::string_view but, const std::function<void(std::string_view)>& on_id);
  /** The lines there are, oldest first. */
  [[nodiscard]] std::string lines() const;

 private:
  struct Entry {
    std::string id;
    std::string key;  ///< jsonrpc::id_key: a peer may spell a string's escapes anew.
    std::string line;
  };
  std::list<Entry> ids_;
};

}  // namespace hal::relay
