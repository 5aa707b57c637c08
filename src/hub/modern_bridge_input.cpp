// Questions of a legacy server: results that require input, and retries with the answers.
#include "base/text.hpp"
#include "hub/era.hpp"
#include "hub/hub_limits.hpp"
#include "hub/modern_bridge.hpp"
#include "hub/modern_server.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"
#include "jsonrpc/places.hpp"

#include <algorithm>
#include <chrono>
#include <functional>

#include <fmt/format.h>

namespace hal::hub {

namespace {

/** 128 random bits. */
constexpr std::size_t state_digits = 32;
/** From a server's question to the result that requires its answer, for those that follow at once. */
constexpr std::chrono::milliseconds gather_time{10};

}  // namespace

/** Of texts as they are spelled: a client that retries says the same. It guards against mistakes, not against attacks:
 * what runs is the first request. */
std::size_t ModernBridge::subject_of(const jsonrpc::Envelope& message) {
  constexpr std::size_t odd = 1'000'003;
  const std::hash<std::string_view> hash;
  return (hash(message.name) * odd + hash(message.uri)) * odd + hash(message.arguments);
}

/** The newest call whose answer may carry a question; one that is being waited for before one that is not. */
ModernBridge::Call* ModernBridge::carrier() {
  const auto fits = [](const Call& call, bool waiting) {
    return may_require_input(call.method) && call.id.empty() != waiting;
  };
  for (const bool waiting : {true, false}) {
    const auto newest =
        std::find_if(calls_.rbegin(), calls_.rend(), [&](const auto& entry) { return fits(entry.second, waiting); });
    if (newest != calls_.rend()) {
      return &newest->second;
    }
  }
  return nullptr;
}

void ModernBridge::on_question(const jsonrpc::Envelope& message) {
  const auto method = message.method();
  if (method == "ping") {
    return say(jsonrpc::result_response(message.id, "{}"));
  }
  const auto refuse = [&](std::string_view why) {
    say(jsonrpc::error_response(message.id, jsonrpc::method_not_found, fmt::format("{} {}", method, why)));
  };
  if (method != "roots/list" && method != "sampling/createMessage" && method != "elicitation/create") {
    return refuse("is not known to this client's revision");
  }
  if (!hello_ || !may_be_asked(*hello_, method, message.params)) {
    return refuse("cannot be answered by this client");
  }
  auto* call = carrier();
  if (call == nullptr) {
    return refuse("belongs to no open request");
  }
  if (call->questions.size() >= limits::questions_open) {
    return refuse("is one too many");
  }
  call->questions.emplace(
      fmt::format("question-{}", next_question_++),
      std::pair(std::string(message.id), fmt::format(R"({{"method":{}{}{}}})", jsonrpc::quote(method),
                                                     message.params.empty() ? "" : R"(,"params":)", message.params)));
  if (!asking_.armed()) {
    asking_.arm(gather_time);
  }
}

void ModernBridge::require_input() {
  for (auto& [number, call] : calls_) {
    if (!call.id.empty() && !call.questions.empty()) {
      require_input(call);
    }
  }
}

/** Answers the client's request: it comes again with the answers. */
void ModernBridge::require_input(Call& call) {
  call.state = text::random_hex(state_digits);
  call.state_until = loop_.now() + limits::input_deadline;
  std::string requests;
  for (const auto& [key, question] : call.questions) {
    requests += fmt::format("{}{}:{}", requests.empty() ? "" : ",", jsonrpc::quote(key), question.second);
  }
  const auto result = fmt::format(R"({{"resultType":"input_required","inputRequests":{{{}}},"requestState":"{}"}})",
                                  requests, call.state);
  server_.answer(client_, std::exchange(call.id, {}), to_modern_result("", result, server_hello_->server_info));
  arm_expiry();
}

bool ModernBridge::waits_for(std::string_view state) const {
  return !over_ && !state.empty() &&
         std::any_of(calls_.begin(), calls_.end(), [&](const auto& entry) { return entry.second.state == state; });
}

void ModernBridge::resume(const jsonrpc::Envelope& message) {
  const auto state = jsonrpc::unescape(jsonrpc::member(message.params, "requestState"));
  const auto found =
      std::find_if(calls_.begin(), calls_.end(), [&](const auto& entry) { return entry.second.state == state; });
  auto& call = found->second;
  if (call.method != message.method() || call.subject != subject_of(message)) {
    return fail(message.id, jsonrpc::invalid_params, "params.requestState: is of another request");
  }
  const auto responses = jsonrpc::member(message.params, "inputResponses");
  for (const auto& [key, question] : call.questions) {
    if (const auto answer = jsonrpc::member(responses, key); !answer.empty() && !answer.starts_with('{')) {
      return fail(message.id, jsonrpc::invalid_params, fmt::format("params.inputResponses.{}: must be an object", key));
    }
  }
  std::erase_if(call.questions, [&](const auto& entry) {
    const auto answer = jsonrpc::member(responses, entry.first);
    if (!answer.empty()) {
      say(jsonrpc::result_response(entry.second.first, answer));
    }
    return !answer.empty();
  });
  call.id = message.id;
  call.token = message.meta_progress_token;
  call.state.clear();
  call.log_level = message.meta_log_level.empty()
                       ? std::nullopt
                       : std::optional(log_level_rank(jsonrpc::unescape(message.meta_log_level)).value_or(0));
  if (!call.early_answer.empty()) {
    const auto done = std::move(call);
    calls_.erase(found);
    return finish(done, jsonrpc::scan(done.early_answer));
  }
  if (!call.questions.empty()) {
    require_input(call);
  }
}

void ModernBridge::on_question_withdrawn(const jsonrpc::Envelope& message) {
  const auto key = jsonrpc::id_key(message.request_id);
  for (auto& [number, call] : calls_) {
    std::erase_if(call.questions, [&](const auto& entry) { return jsonrpc::id_key(entry.second.first) == key; });
  }
}

void ModernBridge::refuse_questions(const Call& call, const std::string& reason) {
  for (const auto& [key, question] : call.questions) {
    say(jsonrpc::error_response(question.first, jsonrpc::connection_closed, reason));
  }
}

/** Clients need not come back. */
void ModernBridge::expire() {
  const auto now = loop_.now();
  std::erase_if(calls_, [&](const auto& entry) {
    const auto& [number, call] = entry;
    if (call.state.empty() || call.state_until > now) {
      return false;
    }
    refuse_questions(call, "the client did not answer in time");
    if (call.early_answer.empty()) {
      say(jsonrpc::notification("notifications/cancelled", fmt::format(R"({{"requestId":{}}})", number)));
    }
    return true;
  });
  arm_expiry();
}

void ModernBridge::arm_expiry() {
  std::optional<Clock::time_point> next;
  for (const auto& [number, call] : calls_) {
    if (!call.state.empty() && (!next || call.state_until < *next)) {
      next = call.state_until;
    }
  }
  if (next) {
    expiry_.arm(
        std::chrono::duration_cast<std::chrono::microseconds>(std::max(*next - loop_.now(), Clock::duration::zero())));
  } else {
    expiry_.disarm();
  }
}

/**
 * Revision 2025-11-25 has an error that lists pages to be visited before the request is sent once more; the modern one
 * says the same as input that is required. Without a state: the call is over at the server.
 */
bool ModernBridge::require_visits(const Call& call, std::string_view error) {
  if (jsonrpc::member(error, "code") != fmt::format_int(jsonrpc::url_elicitation_required).c_str() ||
      !may_require_input(call.method) || !hello_ || !hello_->elicitation_url) {
    return false;
  }
  std::string requests;
  (void)jsonrpc::any_element(
      jsonrpc::member(jsonrpc::member(error, "data"), "elicitations"), [&](std::string_view elicitation) {
        requests += fmt::format(R"({}"question-{}":{{"method":"elicitation/create","params":{}}})",
                                requests.empty() ? "" : ",", next_question_++, elicitation);
        return false;
      });
  if (requests.empty()) {
    return false;
  }
  server_.answer(
      client_, call.id,
      to_modern_result("", fmt::format(R"({{"resultType":"input_required","inputRequests":{{{}}}}})", requests),
                       server_hello_->server_info));
  return true;
}

}  // namespace hal::hub
