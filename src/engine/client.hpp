#pragma once

#include "curl/multi.hpp"
#include "engine/calls.hpp"
#include "engine/connection.hpp"
#include "engine/endpoint.hpp"
#include "engine/log_stream.hpp"
#include "worker/runtime.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace hal::engine {

/**
 * worker::Runtime over the Docker Engine API on a unix socket.
 *
 * Every container it makes carries the label org.hal9000.instance=<Options::instance>; lists and events show only
 * those. It connects by itself and for ever. All callbacks come from the loop and may destroy the client.
 */
class Client final : public worker::Runtime, private Connection::Listener {
 public:
  Client(event::Loop& loop, Options options);
  ~Client() override;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void set_listener(worker::Runtime::Listener* listener) override { listener_ = listener; }
  [[nodiscard]] bool up() const override { return connection_.up(); }
  [[nodiscard]] const worker::EngineInfo& info() const override { return connection_.info(); }

  void list(Labels labels, Done<std::vector<worker::ContainerInfo>> done) override;
  void inspect(const ContainerId& id, Done<worker::ContainerInfo> done) override;
  void create(const worker::ContainerSpec& spec, Done<ContainerId> done) override;
  void start(const ContainerId& id, Done<void> done) override;
  void stop(const ContainerId& id, std::chrono::seconds timeout, Done<void> done) override;
  void kill(const ContainerId& id, const std::string& signal, Done<void> done) override;
  void remove(const ContainerId& id, bool force, Done<void> done) override;
  void pause(const ContainerId& id, Done<void> done) override;
  void resume(const ContainerId& id, Done<void> done) override;
  void update(const ContainerId& id, const worker::LimitChange& change, Done<void> done) override;
  void usage(const ContainerId& id, Done<worker::ContainerUsage> done) override;
  void inspect_image(const std::string& image, Done<worker::ImageInfo> done) override;
  [[nodiscard]] worker::OperationHandle logs(const ContainerId& id, const worker::LogOptions& options, UniqueFd sink,
                                             Done<void> done) override;

 private:
  class Listing;
  class LogHandle;
  using Streams = std::map<std::uint64_t, std::unique_ptr<LogStream>>;

  void on_connection_up() override;
  void on_connection_down(const Error& reason) override;
  void on_container_event(const worker::ContainerEvent& event) override;
  void on_image_event() override;
  [[nodiscard]] bool calls_wait() const override { return calls_.waiting(); }

  /** To the engine; Errc::unavailable while it is not there. */
  void send(Call call, Done<curl::Response> done);
  void send_plain(Call call, Done<void> done);
  /** Its body goes through `read`. */
  template <class T>
  void send_read(const Call& call, Result<T> (*read)(std::string_view), Done<T> done);
  [[nodiscard]] Error unavailable(const std::string& what) const;

  void on_create_failed(const worker::ContainerSpec& spec, const Error& error, Done<ContainerId> done);
  /** After a failed create: the container of that name if it was made from the same spec, else `error`. */
  void adopt(const worker::ContainerSpec& spec, const Error& error, Done<ContainerId> done);
  void wait_removed(const ContainerId& id, Done<void> done);

  event::Loop& loop_;
  const Options options_;
  worker::Runtime::Listener* listener_ = nullptr;
  curl::Multi multi_;
  Calls calls_;
  Connection connection_;
  std::uint64_t last_stream_ = 0;
  /** Shared with the handles, which may outlive this. */
  std::shared_ptr<Streams> streams_;
};

}  // namespace hal::engine
