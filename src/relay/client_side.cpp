#include "relay/client_side.hpp"

#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"

#include <algorithm>
#include <array>

namespace hal::relay {

using namespace std::string_view_literals;

namespace {

/** Who answers these does nothing else. What a tool does nobody knows: its annotations are hints, and not to be
 * trusted. */
bool may_be_repeated(std::string_view method) {
  constexpr std::array methods{"ping"sv,           "tools/list"sv,      "prompts/list"sv,
                               "resources/list"sv, "server/discover"sv, "resources/templates/list"sv};
  return std::find(methods.begin(), methods.end(), method) != methods.end();
}

}  // namespace

std::string lost_answer(std::string_view id) {
  return jsonrpc::error_response(id, jsonrpc::internal_error, "gateway restarted; the call may or may not have run") +
         "\n";
}

void ClientSide::append(std::string_view bytes) {
  if (begin_ == buffer_.size()) {
    buffer_.clear();
    begin_ = 0;
  } else if (begin_ >= buffer_bytes) {
    buffer_.erase(0, begin_);
    begin_ = 0;
  }
  buffer_.append(bytes);
}

std::string_view ClientSide::next() {
  if (dropping_) {
    drop_rest_of_line();
  }
  return std::string_view(buffer_).substr(begin_);
}

void ClientSide::sent(std::size_t count) {
  auto bytes = std::string_view(buffer_).substr(begin_, count);
  begin_ += bytes.size();
  while (!bytes.empty()) {
    const auto passed = scanner_.pass(bytes);
    const auto part = bytes.substr(0, passed);
    if (scanner_.at_line_end()) {
      line_sent(part);
      partial_.clear();
    } else if (scanner_.line_bytes() <= max_kept_line_bytes) {
      partial_.append(part);
    } else {
      partial_.clear();
    }
    bytes.remove_prefix(passed);
  }
}

void ClientSide::line_sent(std::string_view end_of_line) {
  const Line& line = scanner_.line();
  if (line.is_request()) {
    const bool again = may_be_repeated(line.method) && scanner_.line_bytes() <= max_repeated_bytes;
    in_flight_.add(line.id, again ? partial_ + std::string(end_of_line) : std::string());
    if (scanner_.line_bytes() <= max_wish_bytes) {
      wishes_.sent(line, partial_ + std::string(end_of_line));
    }
  }
  if (line.method == "notifications/cancelled" && !line.request_id.empty()) {
    in_flight_.remove(line.request_id);  // its answer may never come, and nobody waits for it
  }
  const bool initialize = line.method == "initialize" && line.is_request();
  const bool initialized = line.method == "notifications/initialized";
  if (!initialize && !initialized) {
    return;
  }
  if (scanner_.line_bytes() > max_kept_line_bytes) {
    handshake_lost_ = true;
    return;
  }
  std::string& kept = initialize ? initialize_ : initialized_;
  kept = partial_;
  kept.append(end_of_line);
  if (initialize) {
    initialize_id_ = line.id;
    initialized_.clear();
    handshake_lost_ = false;
  }
}

void ClientSide::answered(const Line& response) {
  in_flight_.remove(response.id);
  wishes_.answered(response);
}

void ClientSide::connection_lost(std::string& answers) {
  wishes_.connection_lost();
  in_flight_.drain(initialize_id_, [&answers](std::string_view id) { answers += lost_answer(id); });
  if (!scanner_.in_line() || dropping_) {
    return;
  }
  if (scanner_.line_bytes() <= max_kept_line_bytes) {
    buffer_.replace(0, begin_, partial_);
    begin_ = 0;
    partial_.clear();
    scanner_.reset();
  } else {
    dropping_ = true;
  }
}

void ClientSide::drop_rest_of_line() {
  const auto passed = scanner_.pass(std::string_view(buffer_).substr(begin_));
  begin_ += passed;
  if (!scanner_.at_line_end()) {
    return;
  }
  dropping_ = false;
  if (scanner_.line().is_request()) {
    answers_ += lost_answer(scanner_.line().id);
  }
}

bool ClientSide::holds_much() const {
  return buffer_.capacity() > kept_capacity || partial_.capacity() > kept_capacity;
}

void ClientSide::give_back() {
  buffer_.erase(0, begin_);
  begin_ = 0;
  buffer_.shrink_to_fit();
  partial_.shrink_to_fit();
}

std::string ClientSide::take_answers() {
  std::string answers;
  std::swap(answers, answers_);
  return answers;
}

}  // namespace hal::relay
