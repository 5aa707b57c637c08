#include "link/gateway_end.hpp"

#include <utility>

#include <fmt/format.h>

namespace hal::link {

namespace {

struct Dispatch {
  GatewayEndListener& listener;

  void operator()(DaemonHello&) const { listener.on_hello(); }
  void operator()(WorkerAdd& message) const { listener.on_worker_add(std::move(message)); }
  void operator()(WorkerRemove& message) const { listener.on_worker_remove(message); }
  void operator()(HttpListen& message) const { listener.on_http_listen(std::move(message)); }
  void operator()(HttpClose& message) const { listener.on_http_close(message); }
  void operator()(ServerSet& message) const { listener.on_server_set(message); }
  void operator()(ServerRemove& message) const { listener.on_server_remove(message); }
  void operator()(InstanceAttach& message) const { listener.on_instance_attach(std::move(message)); }
  void operator()(InstanceGone& message) const { listener.on_instance_gone(message); }
  void operator()(ServerUnavailable& message) const { listener.on_server_unavailable(message); }
  void operator()(Call& message) const { listener.on_call(message); }
  void operator()(Trace& message) const { listener.on_trace(std::move(message)); }
};

}  // namespace

GatewayEnd::GatewayEnd(event::Loop& loop, UniqueFd socket, GatewayHello hello, GatewayEndListener& listener)
    : listener_(listener) {
  io::MessageChannel::Callbacks callbacks;
  callbacks.on_message = [this](io::Message message) { on_message(std::move(message)); };
  callbacks.on_closed = [this](const Error& error) { close(Error(error)); };
  channel_ = std::make_unique<io::MessageChannel>(loop, std::move(socket), "link to hal9000d", std::move(callbacks));
  (void)send(std::move(hello));  // a failure closes the channel, which reports it from the loop
}

GatewayEnd::~GatewayEnd() = default;

Result<void> GatewayEnd::send(ToDaemon message) {
  if (!channel_) {
    return Error{Errc::disconnected, "hal9000d is not connected"};
  }
  auto datagram = encode(std::move(message));
  if (!datagram) {
    return datagram.error();
  }
  return channel_->send(std::move(datagram->bytes), std::move(datagram->fds));
}

void GatewayEnd::on_message(io::Message message) {
  auto decoded = decode_to_gateway(std::move(message));
  if (!decoded) {
    return close(decoded.error());
  }
  const auto* hello = std::get_if<DaemonHello>(&*decoded);
  if ((hello != nullptr) == greeted_) {
    return close({Errc::protocol, "hal9000d must say hello first, and once"});
  }
  if (hello != nullptr && hello->version != protocol_version) {
    return close(
        {Errc::protocol, fmt::format("hal9000d speaks link version {}, we {}", hello->version, protocol_version)});
  }
  greeted_ = true;
  std::visit(Dispatch{listener_}, *decoded);
}

void GatewayEnd::close(const Error& error) {
  channel_.reset();
  listener_.on_link_closed(error);
}

}  // namespace hal::link
