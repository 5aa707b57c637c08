#include "bus/parent_adaptor.hpp"

#include "base/names.hpp"
#include "bus/signals.hpp"

#include <utility>

namespace hal::bus {

ParentAdaptor::ParentAdaptor(sdbus::IConnection& connection, worker::Parent& parent, Calls& calls)
    : AdaptorInterfaces(connection, sdbus::ObjectPath{names::parent_path}), parent_(parent), calls_(calls) {
  registerAdaptor();
  (void)published_.update(snapshot());
}

ParentAdaptor::~ParentAdaptor() {
  unregisterAdaptor();
}

void ParentAdaptor::publish() {
  emit_changed(getObject(), INTERFACE_NAME, published_.update(snapshot()));
}

Published::Snapshot ParentAdaptor::snapshot() const {
  return {
      {"State", std::string(worker::name(parent_.state()))},
      {"Reason", parent_.reason()},
      {"ContainerId", parent_.container().value},
      {"Pid", std::to_string(parent_.pid())},
      {"ChromaContainerId", parent_.chroma_container().value},
      {"ChromaHealth", std::string(parent_.chroma_health())},
  };
}

void ParentAdaptor::RestartChroma(sdbus::Result<>&& result) {
  const auto reply = calls_.answer(std::move(result));
  guard(reply, [&] {
    calls_.authorised(getObject(), INTERFACE_NAME, std::nullopt, reply,
                      [&parent = parent_, reply](uid_t) { parent.restart_chroma(answer_with(reply)); });
  });
}

std::string ParentAdaptor::State() {
  return guard_value([&] { return std::string(worker::name(parent_.state())); });
}

std::string ParentAdaptor::Reason() {
  return guard_value([&] { return bus_text(parent_.reason()); });
}

std::string ParentAdaptor::ContainerId() {
  return guard_value([&] { return bus_text(parent_.container().value); });
}

std::uint32_t ParentAdaptor::Pid() {
  return guard_value([&] { return static_cast<std::uint32_t>(parent_.pid()); });
}

std::string ParentAdaptor::ChromaContainerId() {
  return guard_value([&] { return bus_text(parent_.chroma_container().value); });
}

std::string ParentAdaptor::ChromaHealth() {
  return guard_value([&] { return std::string(parent_.chroma_health()); });
}

}  // namespace hal::bus
