#include "bus/connection.hpp"

#include "bus/compat.hpp"
#include "bus/pump.hpp"

#include <utility>

namespace hal::bus {

class Connection::Impl {
 public:
  Impl(event::Loop& loop, std::shared_ptr<sdbus::IConnection> opened, OnLost on_lost)
      : connection(std::move(opened)), pump(loop, *connection, std::move(on_lost)) {}

  std::shared_ptr<sdbus::IConnection> connection;
  Pump pump;
};

Connection::Connection(event::Loop& loop, BusKind kind, OnLost on_lost)
    : impl_(std::make_unique<Impl>(
          loop, kind == BusKind::system ? sdbus::createSystemBusConnection() : sdbus::createSessionBusConnection(),
          std::move(on_lost))) {}

Connection::~Connection() = default;

std::shared_ptr<sdbus::IConnection> Connection::get() const noexcept {
  return impl_->connection;
}

std::string Connection::unique_name() const {
  return impl_->connection->getUniqueName();
}

void Connection::request_name(const std::string& name) {
  compat::request_name(*impl_->connection, name);
}

}  // namespace hal::bus
