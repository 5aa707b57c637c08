#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "event/sources.hpp"
#include "http/endpoint.hpp"
#include "hub/hub.hpp"
#include "io/listener.hpp"
#include "link/gateway_end.hpp"

#include <memory>
#include <optional>
#include <string>

namespace hal::gateway {

/** How hal9000d reaches us. */
struct LinkSource {
  /** The daemon's own child: a connected socket. Its end is ours. */
  UniqueFd connected;
  /** A unit of our own: a listening socket. Daemons come and go, sessions stay. */
  UniqueFd listening;
  /** What the gateway before us has left. */
  UniqueFd kept;
};

/** The process: the link to the daemon, the hub behind it, and an end in order: as a unit it leaves all to the next. */
class Gateway final : private link::GatewayEndListener {
 public:
  Gateway(event::Loop& loop, LinkSource source);
  ~Gateway() override;

 private:
  void on_worker_add(link::WorkerAdd message) override;
  void on_worker_remove(const link::WorkerRemove& message) override;
  void on_http_listen(link::HttpListen message) override;
  void on_http_close(const link::HttpClose& message) override { http_->close(message.network); }
  void on_server_set(const link::ServerSet& message) override { hub_->set_server(message); }
  void on_server_remove(const link::ServerRemove& message) override { hub_->remove_server(message.name); }
  void on_instance_attach(link::InstanceAttach message) override { hub_->attach(std::move(message)); }
  void on_instance_gone(const link::InstanceGone& message) override { hub_->gone(message); }
  void on_server_unavailable(const link::ServerUnavailable& message) override { hub_->unavailable(message); }
  void on_call(const link::Call& message) override { hub_->call(message); }
  void on_trace(link::Trace message) override { hub_->trace(std::move(message)); }
  void on_hello() override;
  void on_link_closed(const Error& error) override;

  void accept(UniqueFd connection);
  void connect(UniqueFd socket);
  void send(link::ToDaemon message);
  void link_lost(const Error& error);
  void make_hub();
  /** Goes on with what another gateway has left; false: with nothing. */
  [[nodiscard]] bool take_over(UniqueFd kept);
  void on_end();
  /** Ends what cannot be left to another gateway, then leaves all else. */
  void leave();
  void hand_over();
  void stop(const char* reason);

  event::Loop& loop_;
  /** Without a listener there is no second chance. */
  bool is_child_;
  bool stopping_ = false;
  std::unique_ptr<hub::Hub> hub_;
  std::unique_ptr<http::Endpoint> http_;
  std::unique_ptr<link::GatewayEnd> end_;
  std::unique_ptr<io::Listener> listener_;
  event::Signal on_term_;
  event::Signal on_int_;
  /** What is ending may take so long. */
  event::Timer leave_;
  event::Timer last_moment_;
  /** When what starting needed has been done. */
  event::Defer started_;
  /** A link that failed while something was being sent over it. */
  event::Defer lost_;
  std::optional<Error> lost_error_;
};

}  // namespace hal::gateway
