#include "http/web_server.hpp"

#include "base/text.hpp"
#include "http/http_limits.hpp"

#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <utility>

namespace hal::http {

namespace {

/** The library wants to run again after most of what it does, and is done then; a turn of the loop would cost more. */
constexpr int runs_per_turn = 4;
/**
 * A refused request's body up to this is read and dropped: closing a connection with unread bytes could take the answer
 * along.
 */
constexpr std::size_t small_body_bytes = 64 * 1024;

std::uint16_t bound_port(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 || address.sin_family != AF_INET) {
    return 0;
  }
  return ntohs(address.sin_port);
}

/** Runs what the library called; what it throws ends the loop. */
template <class Call>
void guarded(event::Loop& loop, Call call) noexcept {
  try {
    call();
  } catch (const std::exception& error) {
    loop.fail("http", error.what());
  } catch (...) {
    loop.fail("http", "unknown exception");
  }
}

/** The peer has closed its side and there is nothing left to read. */
bool has_ended(int fd) {
  char byte = 0;
  return ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

}  // namespace

WebServer::WebServer(event::Loop& loop, UniqueFd listening, Handler& handler, unsigned connections,
                     std::chrono::milliseconds late_check)
    : loop_(loop),
      handler_(handler),
      port_(bound_port(listening.get())),
      again_(loop, "http again", [this] { run(); }),
      timeout_(loop, "http timeout",
               [this] {
                 timeout_at_.reset();
                 run();
               }),
      late_check_(late_check),
      late_(loop, "http late connections", [this] { close_late(); }) {
  const auto access = [](void* cls, MHD_Connection* connection, const char* url, const char* method,
                         const char* version, const char* data, std::size_t* size, void** context) {
    return on_access(cls, connection, url, method, version, data, size, context) != 0 ? MHD_YES : MHD_NO;
  };
  const MHD_RequestCompletedCallback completed = [](void* cls, MHD_Connection* connection, void** context,
                                                    MHD_RequestTerminationCode) {
    on_completed(cls, connection, context);
  };
  const MHD_NotifyConnectionCallback connected = [](void* cls, MHD_Connection* connection, void** context,
                                                    MHD_ConnectionNotificationCode code) {
    on_connection(cls, connection, context, code == MHD_CONNECTION_NOTIFY_STARTED);
  };
  daemon_ = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, nullptr, nullptr, access, this,
                             MHD_OPTION_LISTEN_SOCKET, listening.get(), MHD_OPTION_CONNECTION_LIMIT, connections,
                             MHD_OPTION_CONNECTION_MEMORY_LIMIT, limits::connection_bytes,
                             MHD_OPTION_CONNECTION_TIMEOUT, limits::stalled_seconds, MHD_OPTION_NOTIFY_COMPLETED,
                             completed, this, MHD_OPTION_NOTIFY_CONNECTION, connected, this, MHD_OPTION_END);
  if (daemon_ == nullptr) {
    throw std::runtime_error("libmicrohttpd does not start");
  }
  (void)listening.release();  // the library's
  const auto* info = MHD_get_daemon_info(daemon_, MHD_DAEMON_INFO_EPOLL_FD);
  if (info == nullptr) {
    throw std::runtime_error("libmicrohttpd was built without epoll");
  }
  source_.emplace(loop_, info->epoll_fd, EPOLLIN, "http", [this](std::uint32_t) { run(); });
  again_.schedule();  // who is connected already is heard from the loop, when the handler knows us
}

WebServer::~WebServer() {
  source_.reset();
  for (auto* exchange : exchanges_) {
    exchange->resume();  // the library refuses to end with suspended connections
  }
  MHD_stop_daemon(daemon_);
}

void WebServer::run() {
  MHD_UNSIGNED_LONG_LONG milliseconds = 0;
  for (int i = 0; milliseconds == 0; ++i) {
    if (i == runs_per_turn) {
      return again_.schedule();
    }
    (void)MHD_run(daemon_);
    if (MHD_get_timeout(daemon_, &milliseconds) != MHD_YES) {
      return;
    }
  }
  // Every request moves the deadline on; the timer is set again only when it fires, or for an earlier one.
  const auto at = loop_.now() + std::chrono::milliseconds(milliseconds);
  if (!timeout_at_ || at < *timeout_at_) {
    timeout_at_ = at;
    timeout_.arm(std::chrono::milliseconds(milliseconds));
  }
}

int WebServer::on_access(void* cls, MHD_Connection* connection, const char* url, const char* method, const char*,
                         const char* upload_data, std::size_t* upload_size, void** context) {
  auto& self = *static_cast<WebServer*>(cls);
  bool go_on = false;
  guarded(self.loop_, [&] { go_on = self.access(connection, url, method, upload_data, upload_size, context); });
  return go_on ? 1 : 0;
}

void WebServer::on_completed(void* cls, MHD_Connection* connection, void** context) {
  auto& self = *static_cast<WebServer*>(cls);
  guarded(self.loop_, [&] {
    const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (info != nullptr && info->socket_context != nullptr) {
      auto& state = *static_cast<Connection*>(info->socket_context);
      state.busy = false;
      state.since = self.loop_.now();
    }
    const std::unique_ptr<Exchange> exchange(static_cast<Exchange*>(std::exchange(*context, nullptr)));
    if (exchange == nullptr) {
      return;
    }
    self.exchanges_.erase(exchange.get());
    exchange->suspended_ = false;
    if (auto* owner = std::exchange(exchange->owner_, nullptr); owner != nullptr) {
      owner->on_exchange_over(*exchange);
    }
    self.handler_.on_over(*exchange);
  });
}

void WebServer::on_connection(void* cls, MHD_Connection* connection, void** context, bool started) {
  auto& self = *static_cast<WebServer*>(cls);
  guarded(self.loop_, [&] {
    if (!started) {
      const std::unique_ptr<Connection> state(static_cast<Connection*>(std::exchange(*context, nullptr)));
      self.connections_.erase(state.get());
      return;
    }
    const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    auto state = std::make_unique<Connection>(Connection{info->connect_fd, self.loop_.now()});
    self.connections_.insert(state.get());
    *context = state.release();
    if (!self.late_.armed()) {
      self.late_.arm(self.late_check_);
    }
  });
}

ssize_t WebServer::on_read(void* cls, std::uint64_t, char* buffer, std::size_t size) {
  auto& exchange = *static_cast<Exchange*>(cls);
  ssize_t result = MHD_CONTENT_READER_END_WITH_ERROR;
  guarded(exchange.server_.loop_, [&] { result = exchange.read({buffer, size}); });
  return result;
}

bool WebServer::access(MHD_Connection* connection, const char* url, const char* method, const char* upload_data,
                       std::size_t* upload_size, void** context) {
  if (*context == nullptr) {
    return begin(connection, url, method, context);
  }
  auto& exchange = *static_cast<Exchange*>(*context);
  if (*upload_size > 0) {
    return take_body(exchange, upload_data, std::exchange(*upload_size, 0));
  }
  if (exchange.state_ == Exchange::State::reading) {
    exchange.state_ = Exchange::State::waiting;
    if (const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
        info != nullptr && info->socket_context != nullptr) {
      static_cast<Connection*>(info->socket_context)->busy = true;
    }
    if (exchange.refusal_) {
      exchange.answer(*std::exchange(exchange.refusal_, std::nullopt));
    } else {
      handler_.on_request(exchange);
    }
  }
  if (exchange.state_ == Exchange::State::waiting) {
    exchange.suspend();
    return true;
  }
  return queue(exchange);
}

bool WebServer::begin(MHD_Connection* connection, const char* url, const char* method, void** context) {
  auto owned = std::make_unique<Exchange>(*this, connection, method, url);
  auto& exchange = *owned;
  const MHD_KeyValueIteratorN take = [](void* cls, MHD_ValueKind, const char* name, std::size_t name_size,
                                        const char* value, std::size_t value_size) {
    try {
      static_cast<Head*>(cls)->take({name, name_size}, {value != nullptr ? value : "", value_size});
      return MHD_YES;
    } catch (const std::bad_alloc&) {
      return MHD_NO;
    }
  };
  (void)MHD_get_connection_values_n(connection, MHD_HEADER_KIND, take, &exchange.head_);
  exchanges_.insert(&exchange);
  *context = owned.release();
  if (auto refusal = handler_.on_head(exchange)) {
    const auto length = text::to_number<std::size_t>(exchange.head_.content_length.value_or("0")).value_or(0);
    if (length > 0 && length <= small_body_bytes) {
      exchange.refusal_ = std::move(refusal);
      return true;
    }
    exchange.state_ = Exchange::State::waiting;
    exchange.answer(*std::move(refusal));
    return queue(exchange);
  }
  return true;
}

bool WebServer::take_body(Exchange& exchange, const char* data, std::size_t size) {
  if (exchange.refusal_) {
    exchange.discarded_bytes_ += size;
    return exchange.discarded_bytes_ <= limits::mcp_line_bytes;
  }
  Answer refusal;
  if (!handler_.on_body(exchange, size, refusal)) {
    exchange.refusal_ = std::move(refusal);
    exchange.body_.consume(exchange.body_.size());
    return true;
  }
  exchange.body_.append({data, size});
  return true;
}

bool WebServer::queue(Exchange& exchange) {
  if (exchange.response_ == nullptr) {
    return false;
  }
  const auto queued = MHD_queue_response(exchange.connection_, exchange.status_, exchange.response_);
  MHD_destroy_response(std::exchange(exchange.response_, nullptr));
  return queued == MHD_YES;
}

/**
 * A connection that sends its request too slowly, or none, is another one's place. So is one that the client has closed
 * together with its last bytes: the library reads those, and then waits for news of what it could have read already.
 */
void WebServer::close_late() {
  const auto now = loop_.now();
  for (const auto* connection : connections_) {
    if (!connection->busy && (now - connection->since > limits::request_deadline || has_ended(connection->fd))) {
      (void)::shutdown(connection->fd, SHUT_RDWR);  // the library sees its end and closes it
    }
  }
  if (!connections_.empty()) {
    late_.arm(late_check_);
  }
}

}  // namespace hal::http
