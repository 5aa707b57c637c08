#pragma once

#include "hub/client.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hal::hub {

/** A request of the server's that waits for a client's answer. */
struct Question {
  ClientId client;
  /** The server's id, as it spelled it. */
  std::string server_id;
  /** As a key (jsonrpc::id_key); empty if the server wants no progress. */
  std::string progress_key;

  template <class Archive>
  void keep(Archive& archive) {
    archive(client, server_id, progress_key);
  }
};

/** Questions open at the clients of one server, by the fresh number each got. */
class Questions {
 public:
  /** Nothing when too many are open. */
  [[nodiscard]] std::optional<std::uint64_t> add(Question question);
  /** The question with this number if it was put to `client`; it is open no more. */
  [[nodiscard]] std::optional<Question> take(ClientId client, std::string_view raw_number);
  /** The one the server gave this id (jsonrpc::id_key); it is open no more. */
  [[nodiscard]] std::optional<std::pair<std::uint64_t, Question>> take_by_server_id(const std::string& id_key);
  [[nodiscard]] std::vector<Question> take_all_of(ClientId client);
  [[nodiscard]] std::map<std::uint64_t, Question> take_all();
  [[nodiscard]] bool empty() const { return open_.empty(); }
  /** Whether the server wants the client's progress under this token. */
  [[nodiscard]] bool wants_progress(ClientId client, const std::string& token_key) const;

  template <class Archive>
  void keep(Archive& archive) {
    archive(open_, next_);
  }

 private:
  std::map<std::uint64_t, Question> open_;
  std::uint64_t next_ = 1;
};

}  // namespace hal::hub
