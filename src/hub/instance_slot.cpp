#include "hub/instance_slot.hpp"

#include "hub/hub_limits.hpp"

#include <utility>

#include <fmt/format.h>

namespace hal::hub {

InstanceSlot::InstanceSlot(ServerContext& context, std::string server, std::optional<link::SessionId> session,
                           Listener& listener)
    : context_(context),
      server_(std::move(server)),
      session_(std::move(session)),
      listener_(listener),
      deadline_(context.loop, "instance deadline of " + server_, [this] { on_deadline(); }),
      retry_(context.loop, "instance retry of " + server_, [this] {
        retry_at_.reset();
        listener_.on_instance_retry();
      }) {}

InstanceSlot::~InstanceSlot() = default;

Result<void> InstanceSlot::want() {
  if (upstream_ || requested_) {
    return {};
  }
  if (retry_at_ && *retry_at_ > context_.loop.now()) {
    return Error{Errc::unavailable, unavailable_reason_};
  }
  request();
  deadline_.arm(context_.deadlines.instance);
  return {};
}

void InstanceSlot::request() {
  requested_ = true;
  context_.to_daemon(link::InstanceRequest{server_, session_});
}

std::optional<InstanceId> InstanceSlot::instance() const {
  return upstream_ ? std::optional(upstream_->instance()) : std::nullopt;
}

Result<void> InstanceSlot::send(Parts message) {
  if (!upstream_) {
    return Error{Errc::disconnected, "the server is not running"};
  }
  return sent(upstream_->send(message));
}

Result<void> InstanceSlot::send(std::string_view message) {
  if (!upstream_) {
    return Error{Errc::disconnected, "the server is not running"};
  }
  return sent(upstream_->send(message));
}

/** A process that has closed its stdin is of no use any more, whatever it may still say. */
Result<void> InstanceSlot::sent(Result<void> result) {
  if (!result && result.error().code == Errc::disconnected) {
    on_server_deaf();
  }
  return result;
}

void InstanceSlot::on_server_deaf() {
  if (!std::exchange(ending_, true)) {
    deadline_.arm(limits::ending_deadline);
  }
}

void InstanceSlot::hold(bool held) {
  if (upstream_) {
    upstream_->hold(held);
  }
}

std::size_t InstanceSlot::queued_bytes() const {
  return upstream_ ? upstream_->queued_bytes() : 0;
}

void InstanceSlot::release() {
  if (!upstream_) {
    return;
  }
  const auto instance = upstream_->instance();
  const bool known_gone = gone_reason_.has_value();
  upstream_.reset();
  ending_ = output_ended_ = false;
  gone_reason_.reset();
  deadline_.disarm();
  if (!known_gone) {
    context_.to_daemon(link::InstanceRelease{server_, instance});
  }
}

void InstanceSlot::attach(link::InstanceAttach instance) {
  if (upstream_ && upstream_->instance() == instance.instance) {
    return;
  }
  if (upstream_) {
    finish("was replaced");
  }
  requested_ = false;
  retry_at_.reset();
  retry_.disarm();
  deadline_.disarm();
  upstream_ = std::make_unique<Upstream>(context_.loop, server_, instance.instance, std::move(instance.to_server),
                                         std::move(instance.from_server), static_cast<Upstream::Listener&>(*this));
  listener_.on_instance_running();
}

void InstanceSlot::gone(const link::InstanceGone& news) {
  if (!upstream_ || upstream_->instance() != news.instance) {
    return;
  }
  gone_reason_ = news.reason;
  if (output_ended_) {
    return finish(*gone_reason_);
  }
  ending_ = true;
  deadline_.arm(limits::ending_deadline);
}

void InstanceSlot::unavailable(const link::ServerUnavailable& news) {
  if (!requested_) {
    return;
  }
  requested_ = false;
  deadline_.disarm();
  unavailable_reason_ = news.reason;
  if (news.retry_in_ms) {
    const auto delay = std::chrono::milliseconds(*news.retry_in_ms);
    retry_at_ = context_.loop.now() + delay;
    retry_.arm(delay);
  }
  listener_.on_instance_unavailable(unavailable_reason_);
}

void InstanceSlot::daemon_returned() {
  if (requested_) {
    request();
  }
}

void InstanceSlot::save(Saver& archive) {
  bool running = upstream_ != nullptr;
  archive(running);
  if (running) {
    upstream_->save(archive);
  }
  archive(requested_, ending_, output_ended_, gone_reason_, retry_at_, unavailable_reason_);
}

/** What was asked of the daemon is asked again when it has connected. */
void InstanceSlot::load(Loader& archive) {
  bool running = false;
  archive(running);
  if (running) {
    upstream_ = Upstream::load(archive, context_.loop, server_, static_cast<Upstream::Listener&>(*this));
  }
  archive(requested_, ending_, output_ended_, gone_reason_, retry_at_, unavailable_reason_);
  const auto now = context_.loop.now();
  if (upstream_ && ending_) {
    deadline_.arm(limits::ending_deadline);
  } else if (requested_) {
    deadline_.arm(context_.deadlines.instance);
  }
  if (retry_at_ && *retry_at_ > now) {
    retry_.arm(std::chrono::duration_cast<std::chrono::microseconds>(*retry_at_ - now));
  }
}

void InstanceSlot::on_server_message(const jsonrpc::Envelope& message, std::string_view line) {
  listener_.on_server_message(message, line);
}

void InstanceSlot::on_server_overlong(std::size_t bytes) {
  listener_.on_server_overlong(bytes);
}

void InstanceSlot::on_server_drained() {
  listener_.on_server_drained();
}

void InstanceSlot::on_server_closed() {
  if (gone_reason_) {
    return finish(*gone_reason_);
  }
  output_ended_ = true;
  ending_ = true;
  deadline_.arm(limits::ending_deadline);
}

void InstanceSlot::on_deadline() {
  if (upstream_) {
    return finish(gone_reason_.value_or("closed its stdio"));
  }
  requested_ = false;
  listener_.on_instance_unavailable(
      fmt::format("did not start within {} s",
                  std::chrono::duration_cast<std::chrono::seconds>(context_.deadlines.instance).count()));
}

void InstanceSlot::finish(const std::string& reason) {
  const std::string kept = reason;  // may be ours, which release() forgets
  release();
  listener_.on_instance_ended(kept);
}

}  // namespace hal::hub
