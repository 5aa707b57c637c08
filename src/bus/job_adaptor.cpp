#include "bus/job_adaptor.hpp"

#include "base/names.hpp"
#include "bus/signals.hpp"

#include <utility>

#include <fmt/format.h>

namespace hal::bus {

std::string job_path(std::uint32_t id) {
  return fmt::format("{}{}", names::job_path_prefix, id);
}

JobAdaptor::JobAdaptor(sdbus::IConnection& connection, Calls& calls, std::uint32_t id, std::string kind, uid_t owner,
                       std::function<hal::Result<void>()> cancel)
    : AdaptorInterfaces(connection, sdbus::ObjectPath{job_path(id)}),
      calls_(calls),
      id_(id),
      kind_(std::move(kind)),
      owner_(owner),
      cancel_(std::move(cancel)) {
  registerAdaptor();
  (void)published_.update(snapshot());
}

JobAdaptor::~JobAdaptor() {
  open_calls_->object_gone({Errc::not_found, fmt::format("job {} is gone", id_)});
  unregisterAdaptor();
}

void JobAdaptor::announce() {
  emit([&] { getObject().emitInterfacesAddedSignal(); });
}

void JobAdaptor::withdraw() {
  emit([&] { getObject().emitInterfacesRemovedSignal(); });
}

void JobAdaptor::update(JobStatus status) {
  status_ = std::move(status);
}

void JobAdaptor::publish() {
  emit_changed(getObject(), INTERFACE_NAME, published_.update(snapshot()));
}

Published::Snapshot JobAdaptor::snapshot() const {
  return {
      {"State", finished() ? "finished" : "running"},
      {"Progress", fmt::format("{}", status_.progress)},
      {"Message", status_.message},
      {"Result", status_.result},
  };
}

void JobAdaptor::Cancel(sdbus::Result<>&& result) {
  const auto reply = calls_.answer(std::move(result), open_calls_);
  guard(reply, [&] {
    calls_.authorised(getObject(), INTERFACE_NAME, owner_, reply,
                      [cancel = cancel_, reply](uid_t) { answer_with(reply)(cancel()); });
  });
}

std::uint32_t JobAdaptor::Id() {
  return id_;
}

std::string JobAdaptor::Kind() {
  return guard_value([&] { return kind_; });
}

std::string JobAdaptor::State() {
  return finished() ? "finished" : "running";
}

double JobAdaptor::Progress() {
  return status_.progress;
}

std::string JobAdaptor::Message() {
  return guard_value([&] { return bus_text(status_.message); });
}

std::string JobAdaptor::Result() {
  return guard_value([&] { return status_.result; });
}

}  // namespace hal::bus
