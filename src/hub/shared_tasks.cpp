// Tasks of many clients at one server, in shared mode.
#include "hub/shared_server.hpp"
#include "jsonrpc/code.hpp"
#include "jsonrpc/message.hpp"

#include <array>

#include <fmt/format.h>

namespace hal::hub {

/** tasks/get, tasks/result and tasks/cancel: of another's task a client learns no more than of one that is not. */
void SharedServer::on_own_task(Seat& seat, const Envelope& message, std::string_view line) {
  if (hello_->tasks && !tasks_.owned_by(jsonrpc::unescape(message.task_id), seat.client->id())) {
    return fail(*seat.client, message.id, jsonrpc::invalid_params, "there is no such task");
  }
  forward(seat, message, line, message.method() == "tasks/result" ? Purpose::await_task : Purpose::forward, {});
}

void SharedServer::follow_tasks(std::uint64_t number, const Request& request, const Envelope& message) {
  if (request.purpose == Purpose::await_task) {
    return tasks_.ended(request.task_id);  // the result is there
  }
  if (!request.makes_task || message.kind != jsonrpc::Kind::result) {
    return;
  }
  auto task = read_created_task(message.outcome);
  if (!task) {
    return;
  }
  if (request.cancelled || seat_of(request.client) == nullptr) {
    return abandon_task(task->id);
  }
  const std::string id = task->id;
  tasks_.add({std::move(task->id), request.client, number, request.progress_token});
  if (task->ended) {
    tasks_.ended(id);
  }
}

void SharedServer::deliver_task_list(Seat& seat, const Request& request, const Envelope& message) {
  answer(*seat.client, request.id, own_tasks(message.outcome, tasks_, request.client));
}

void SharedServer::on_task_status(const Envelope& message, std::string_view line) {
  const auto state = read_task(message.params);
  const auto* task = state ? tasks_.find(state->id) : nullptr;
  auto* seat = task != nullptr ? seat_of(task->owner) : nullptr;
  if (seat == nullptr) {
    return;
  }
  const std::array parts{line};
  notify(*seat->client, parts);
  if (state->ended) {
    tasks_.ended(state->id);
  }
}

/** Nobody can ask for its result any more. */
void SharedServer::abandon_task(std::string_view id) {
  if (hello_ && hello_->tasks_cancel) {
    send_upkeep("tasks/cancel", fmt::format(R"({{"taskId":{}}})", jsonrpc::quote(id)));
  }
}

}  // namespace hal::hub
