#include "hub/questions.hpp"

#include "base/text.hpp"
#include "hub/hub_limits.hpp"
#include "jsonrpc/envelope.hpp"

#include <algorithm>
#include <utility>

namespace hal::hub {

std::optional<std::uint64_t> Questions::add(Question question) {
  if (open_.size() >= limits::questions_open) {
    return std::nullopt;
  }
  const auto number = next_++;
  open_.emplace(number, std::move(question));
  return number;
}

std::optional<Question> Questions::take(ClientId client, std::string_view raw_number) {
  const auto number = text::to_number<std::uint64_t>(raw_number);
  const auto found = number ? open_.find(*number) : open_.end();
  if (found == open_.end() || found->second.client != client) {
    return std::nullopt;
  }
  auto question = std::move(found->second);
  open_.erase(found);
  return question;
}

std::optional<std::pair<std::uint64_t, Question>> Questions::take_by_server_id(const std::string& id_key) {
  const auto found = std::find_if(open_.begin(), open_.end(), [&id_key](const auto& entry) {
    return jsonrpc::id_key(entry.second.server_id) == id_key;
  });
  if (found == open_.end()) {
    return std::nullopt;
  }
  std::pair<std::uint64_t, Question> taken{found->first, std::move(found->second)};
  open_.erase(found);
  return taken;
}

std::vector<Question> Questions::take_all_of(ClientId client) {
  std::vector<Question> taken;
  std::erase_if(open_, [&](auto& entry) {
    if (entry.second.client != client) {
      return false;
    }
    taken.push_back(std::move(entry.second));
    return true;
  });
  return taken;
}

std::map<std::uint64_t, Question> Questions::take_all() {
  return std::exchange(open_, {});
}

bool Questions::wants_progress(ClientId client, const std::string& token_key) const {
  return !token_key.empty() && std::any_of(open_.begin(), open_.end(), [&](const auto& entry) {
    return entry.second.client == client && entry.second.progress_key == token_key;
  });
}

}  // namespace hal::hub
