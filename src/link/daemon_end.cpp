#include "link/daemon_end.hpp"

#include <utility>

#include <fmt/format.h>

namespace hal::link {

namespace {

struct Dispatch {
  DaemonEndListener& listener;

  void operator()(const GatewayHello& message) const { listener.on_hello(message); }
  void operator()(const InstanceRequest& message) const { listener.on_instance_request(message); }
  void operator()(const InstanceRelease& message) const { listener.on_instance_release(message); }
  void operator()(const ServerReport& message) const { listener.on_server_report(message); }
  void operator()(const WorkerReport& message) const { listener.on_worker_report(message); }
  void operator()(const CallResult& message) const { listener.on_call_result(message); }
};

}  // namespace

DaemonEnd::DaemonEnd(event::Loop& loop, UniqueFd socket, DaemonEndListener& listener) : listener_(listener) {
  io::MessageChannel::Callbacks callbacks;
  callbacks.on_message = [this](io::Message message) { on_message(std::move(message)); };
  callbacks.on_closed = [this](const Error& error) { close(Error(error)); };
  channel_ = std::make_unique<io::MessageChannel>(loop, std::move(socket), "link to the gateway", std::move(callbacks));
}

DaemonEnd::~DaemonEnd() = default;

Result<void> DaemonEnd::send(ToGateway message) {
  if (!channel_) {
    return Error{Errc::disconnected, "the gateway is not connected"};
  }
  auto datagram = encode(std::move(message));
  if (!datagram) {
    return datagram.error();
  }
  return channel_->send(std::move(datagram->bytes), std::move(datagram->fds));
}

void DaemonEnd::on_message(io::Message message) {
  const auto decoded = decode_to_daemon(std::move(message));
  if (!decoded) {
    return close(decoded.error());
  }
  const auto* hello = std::get_if<GatewayHello>(&*decoded);
  if ((hello != nullptr) == greeted_) {
    return close({Errc::protocol, "the gateway must say hello first, and once"});
  }
  if (hello != nullptr) {
    if (hello->version != protocol_version) {
      return close(
          {Errc::protocol, fmt::format("the gateway speaks link version {}, we {}", hello->version, protocol_version)});
    }
    greeted_ = true;
    if (const auto sent = send(DaemonHello{}); !sent) {
      return close(sent.error());
    }
  }
  std::visit(Dispatch{listener_}, *decoded);
}

void DaemonEnd::close(const Error& error) {
  channel_.reset();
  listener_.on_link_closed(error);
}

}  // namespace hal::link
