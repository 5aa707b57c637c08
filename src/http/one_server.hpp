#pragma once

#include "http/backend.hpp"
#include "http/session.hpp"
#include "hub/session.hpp"

#include <string>
#include <utility>

namespace hal::http {

/** The hub's end of a session with one server: passes everything through. Owned by the hub. */
class OneServer final : public hub::Session, public Backend {
 public:
  OneServer(http::Session& front, hub::ClientId id) : front_(front), id_(id) {}

  /** The hub has added us to it. */
  void joined(hub::Server& server) { server_ = &server; }

  [[nodiscard]] hub::ClientId id() const override { return id_; }
  [[nodiscard]] const std::string& session() const override { return front_.id(); }
  [[nodiscard]] const WorkerId& worker() const override { return front_.worker(); }
  [[nodiscard]] hub::Server* server() const override { return server_; }
  void deliver(hub::Parts message) override { front_.deliver(message); }
  void respond(std::string_view id, hub::Parts message) override { front_.respond(id, message); }
  void notify(hub::Parts message) override { front_.notify(message); }
  [[nodiscard]] std::size_t backlog() const override { return front_.backlog(); }
  void hold(bool held) override { front_.hold(held); }
  void end(const std::string& reason) override { front_.end(reason); }
  void detach(const std::string& reason) override {
    server_ = nullptr;
    front_.end(reason);
  }

  void from_client(const jsonrpc::Envelope& message, std::string_view line) override {
    if (server_ != nullptr) {
      server_->from_client(*this, message, line);
    }
  }
  void client_drained() override {
    if (server_ != nullptr) {
      server_->client_drained(*this);
    }
  }

 private:
  http::Session& front_;
  hub::ClientId id_;
  hub::Server* server_ = nullptr;
};

}  // namespace hal::http
