#include "remote/memory.hpp"

namespace hal::remote {

namespace {

/** More are not told again: the client then hears nothing of those resources until it subscribes anew. */
constexpr std::size_t max_subscriptions = 4096;
constexpr std::size_t max_params_bytes = 8192;

}  // namespace

void Memory::begin(std::string_view initialize_params) {
  *this = {};
  initialize_params_ = initialize_params;
}

void Memory::on_request(const jsonrpc::Envelope& message) {
  if (message.params.size() > max_params_bytes) {
    return;
  }
  const auto method = message.method();
  if (method == "logging/setLevel") {
    log_level_params_ = message.params;
  } else if (method == "resources/unsubscribe") {
    subscriptions_.erase(jsonrpc::unescape(message.uri));
  } else if (method == "resources/subscribe" && subscriptions_.size() < max_subscriptions) {
    subscriptions_[jsonrpc::unescape(message.uri)] = message.params;
  }
}

std::vector<Memory::Told> Memory::told() const {
  std::vector<Told> result;
  if (!log_level_params_.empty()) {
    result.push_back({"logging/setLevel", log_level_params_});
  }
  for (const auto& [uri, params] : subscriptions_) {
    result.push_back({"resources/subscribe", params});
  }
  return result;
}

}  // namespace hal::remote
