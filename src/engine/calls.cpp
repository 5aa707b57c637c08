#include "engine/calls.hpp"

#include "engine/messages.hpp"

#include <utility>

#include <fmt/format.h>

namespace hal::engine {

Calls::Calls(event::Loop& loop, curl::Multi& multi, const Options& options)
    : multi_(multi), options_(options), run_later_(loop, "engine:later", [this] { run_later(); }) {}

Calls::~Calls() = default;

void Calls::send(const std::string& prefix, Call call, Done<curl::Response> done) {
  if (requests_.size() >= max_in_flight) {
    later([what = std::move(call.what), done = std::move(done)] {
      done(Error{Errc::limit, fmt::format("{}: {} calls to the container engine are waiting", what, max_in_flight)});
    });
    return;
  }
  auto spec = request_to(options_, std::move(call.method), prefix + call.target);
  spec.deadlines.total = options_.call_deadline + call.extra_time;
  if (!call.body.empty()) {
    spec.headers = {"User-Agent: hal9000d", "Content-Type: application/json"};
    spec.body = std::move(call.body);
  }
  const auto id = ++last_id_;
  curl::Request::Callbacks callbacks;
  callbacks.on_done = [this, id, what = std::move(call.what), conflict = call.conflict,
                       done = std::move(done)](Result<curl::Response> response) {
    const auto node = requests_.extract(id);
    if (!response) {
      return done(connection_error(options_, response.error()).with(what));
    }
    if (auto status = check_status(response->status, response->body, what, conflict); !status) {
      return done(status.error());
    }
    done(std::move(response));
  };
  requests_.emplace(id, std::make_unique<curl::Request>(multi_, std::move(spec), std::move(callbacks)));
}

void Calls::later(std::function<void()> task) {
  later_.push_back(std::move(task));
  run_later_.schedule();
}

void Calls::run_later() {
  const auto task = std::move(later_.front());
  later_.pop_front();
  if (!later_.empty()) {
    run_later_.schedule();
  }
  task();  // last: it may destroy this
}

}  // namespace hal::engine
