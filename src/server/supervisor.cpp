#include "server/supervisor.hpp"

#include "server/supervisor_impl.hpp"

#include <utility>

namespace hal::server {

std::string_view name(State state) {
  switch (state) {
    case State::stopped:
      return "stopped";
    case State::starting:
      return "starting";
    case State::running:
      return "running";
    case State::backoff:
      return "backoff";
    case State::failed:
      return "failed";
  }
  return "";
}

Supervisor::Supervisor(event::Loop& loop, Launcher& launcher, Listener& listener, Options options)
    : impl_(std::make_shared<Impl>(loop, launcher, listener, options)) {}

Supervisor::Supervisor(event::Loop& loop, Launcher& launcher, Listener& listener)
    : Supervisor(loop, launcher, listener, Options{}) {}

Supervisor::~Supervisor() = default;

void Supervisor::apply(std::vector<ServerConfig> configs) {
  impl_->apply(std::move(configs));
}

void Supervisor::reconcile(std::vector<HeldInstance> held) {
  impl_->reconcile(std::move(held));
}

void Supervisor::disconnected() {
  impl_->disconnected();
}

void Supervisor::set_network_namespace(UniqueFd network_namespace) {
  impl_->set_network_namespace(std::move(network_namespace));
}

const Server* Supervisor::find(std::string_view name) const {
  return impl_->find(name);
}

std::vector<const Server*> Supervisor::all() const {
  return impl_->all();
}

void Supervisor::start(std::string_view name, Done<void> done) {
  impl_->start(name, std::move(done));
}

void Supervisor::stop(std::string_view name, Done<void> done) {
  impl_->stop(name, std::move(done));
}

void Supervisor::restart(std::string_view name, Done<void> done) {
  impl_->restart(name, std::move(done));
}

void Supervisor::request(const std::string& server, const std::optional<std::string>& session) {
  impl_->request(server, session);
}

void Supervisor::release(const std::string& server, InstanceId instance) {
  impl_->release(server, instance);
}

void Supervisor::stop_all(Done<void> done) {
  impl_->stop_all(std::move(done));
}

}  // namespace hal::server
