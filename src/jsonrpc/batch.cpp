#include "jsonrpc/batch.hpp"

#include "jsonrpc/scanner.hpp"

namespace hal::jsonrpc {

std::optional<std::vector<std::string_view>> split_batch(std::string_view line) {
  Scanner in(line);
  std::vector<std::string_view> messages;
  if (!in.take('[')) {
    return std::nullopt;
  }
  if (!in.take(']')) {
    do {
      std::string_view message;
      if (messages.size() == max_batch_messages || !in.take_value(message)) {
        return std::nullopt;
      }
      messages.push_back(message);
    } while (in.take(','));
    if (!in.take(']')) {
      return std::nullopt;
    }
  }
  in.skip_blanks();
  return in.at_end() ? std::optional(std::move(messages)) : std::nullopt;
}

}  // namespace hal::jsonrpc
