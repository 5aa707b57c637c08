#include "engine/client.hpp"

#include "base/names.hpp"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

namespace hal::engine {

namespace {

/** Removal, and everything a kill may have to wait for in the engine. */
constexpr std::chrono::milliseconds slow_extra{30'000};

Call container_call(std::string method, const ContainerId& id, std::string_view rest, std::string_view verb) {
  Call call;
  call.method = std::move(method);
  call.target = fmt::format("/containers/{}{}", curl::escape(id.value), rest);
  call.what = fmt::format("{} container {}", verb, id.value.substr(0, 12));
  return call;
}

Result<worker::ContainerInfo> read_container(std::string_view body) {
  auto inspect = read_inspect(body);
  if (!inspect) {
    return inspect.error();
  }
  return std::move(inspect->info);
}

}  // namespace

/** Reads the containers of a list one by one: the list itself knows neither process ids nor exit codes. */
class Client::Listing {
 public:
  /** Enough to keep the engine busy; more would only wait there. */
  static constexpr std::size_t at_once = 8;

  Listing(Client& client, std::vector<ContainerId> ids, Done<std::vector<worker::ContainerInfo>> done)
      : client_(client), ids_(std::move(ids)), done_(std::move(done)) {}

  static void go_on(const std::shared_ptr<Listing>& self) {
    while (!self->error_ && self->running_ < at_once && self->next_ < self->ids_.size()) {
      ++self->running_;
      self->client_.inspect(self->ids_[self->next_++], [self](const Result<worker::ContainerInfo>& info) {
        self->on_info(info);
        go_on(self);
      });
    }
    if (self->running_ == 0) {
      self->finish();
    }
  }

 private:
  void on_info(const Result<worker::ContainerInfo>& info) {
    --running_;
    if (info) {
      infos_.push_back(*info);
    } else if (info.error().code != Errc::not_found && !error_) {  // not_found: removed meanwhile
      error_ = info.error();
    }
  }

  void finish() {
    if (error_) {
      done_(std::move(*error_));
    } else {
      done_(std::move(infos_));
    }
  }

  Client& client_;
  std::vector<ContainerId> ids_;
  Done<std::vector<worker::ContainerInfo>> done_;
  std::size_t next_ = 0;
  std::size_t running_ = 0;
  std::vector<worker::ContainerInfo> infos_;
  std::optional<Error> error_;
};

/** Cancels its stream, if that has not ended and the client still lives. */
class Client::LogHandle final : public worker::Operation {
 public:
  LogHandle(std::weak_ptr<Streams> streams, std::uint64_t id) : streams_(std::move(streams)), id_(id) {}
  LogHandle(const LogHandle&) = delete;
  LogHandle& operator=(const LogHandle&) = delete;
  ~LogHandle() override {
    if (const auto streams = streams_.lock()) {
      const auto node = streams->extract(id_);
    }
  }

 private:
  std::weak_ptr<Streams> streams_;
  std::uint64_t id_;
};

Client::Client(event::Loop& loop, Options options)
    : loop_(loop),
      options_(std::move(options)),
      multi_(loop),
      calls_(loop, multi_, options_),
      connection_(loop, multi_, options_, *this),
      streams_(std::make_shared<Streams>()) {}

Client::~Client() = default;

void Client::on_connection_up() {
  if (listener_ != nullptr) {
    listener_->on_engine_up(connection_.info());
  }
}

void Client::on_connection_down(const Error& reason) {
  if (listener_ != nullptr) {
    listener_->on_engine_down(reason);
  }
}

void Client::on_container_event(const worker::ContainerEvent& event) {
  if (listener_ != nullptr) {
    listener_->on_container_event(event);
  }
}

void Client::on_image_event() {
  if (listener_ != nullptr) {
    listener_->on_image_event();
  }
}

Error Client::unavailable(const std::string& what) const {
  return {Errc::unavailable,
          fmt::format("{}: the container engine is not available: {}", what, connection_.reason().message)};
}

void Client::send(Call call, Done<curl::Response> done) {
  if (!connection_.up()) {
    calls_.later([error = unavailable(call.what), done = std::move(done)] { done(error); });
    return;
  }
  calls_.send(connection_.prefix(), std::move(call), std::move(done));
  connection_.on_call();
}

void Client::send_plain(Call call, Done<void> done) {
  send(std::move(call), [done = std::move(done)](const Result<curl::Response>& response) {
    done(response ? Result<void>() : response.error());
  });
}

template <class T>
void Client::send_read(const Call& call, Result<T> (*read)(std::string_view), Done<T> done) {
  send(call, [what = call.what, read, done = std::move(done)](const Result<curl::Response>& response) {
    if (!response) {
      return done(response.error());
    }
    auto value = read(response->body);
    done(value ? std::move(value) : value.error().with(what));
  });
}

void Client::list(Labels labels, Done<std::vector<worker::ContainerInfo>> done) {
  labels.emplace_back(names::label_instance, options_.instance);
  const Call call{.method = "GET",
                  .target = "/containers/json?all=1&filters=" + curl::escape(label_filter(labels)),
                  .body = {},
                  .what = "list containers"};
  send_read<std::vector<ContainerId>>(call, read_list,
                                      [this, done = std::move(done)](Result<std::vector<ContainerId>> ids) {
                                        if (!ids) {
                                          return done(ids.error());
                                        }
                                        Listing::go_on(std::make_shared<Listing>(*this, std::move(*ids), done));
                                      });
}

void Client::inspect(const ContainerId& id, Done<worker::ContainerInfo> done) {
  send_read<worker::ContainerInfo>(container_call("GET", id, "/json", "inspect"), read_container, std::move(done));
}

void Client::create(const worker::ContainerSpec& spec, Done<ContainerId> done) {
  auto ours = spec;
  ours.labels[names::label_instance] = options_.instance;
  Call call{.method = "POST",
            .target = "/containers/create?name=" + curl::escape(ours.name),
            .body = create_body(ours, cgroup_parent(connection_.info().cgroup_driver, options_.slice_path, ours.slice)),
            .what = "create container " + ours.name,
            .conflict = Errc::already_exists,
            .extra_time = slow_extra};
  send(std::move(call),
       [this, ours = std::move(ours), done = std::move(done)](Result<curl::Response> response) mutable {
         if (!response) {
           return on_create_failed(ours, response.error(), std::move(done));
         }
         auto id = read_id(response->body);
         if (!id) {
           return done(id.error());
         }
         done(ContainerId{std::move(*id)});
       });
}

void Client::on_create_failed(const worker::ContainerSpec& spec, const Error& error, Done<ContainerId> done) {
  switch (error.code) {
    case Errc::not_found:
      // The image, or the container whose network it was to join.
      return inspect_image(
          spec.image, [image = spec.image, error, done = std::move(done)](const Result<worker::ImageInfo>& found) {
            if (!found && found.error().code == Errc::not_found) {
              return done(Error{Errc::not_found, fmt::format("the container engine has no image {}", image)});
            }
            done(error);
          });
    case Errc::already_exists:
    case Errc::internal:  // Podman's answer to a name in use, up to its version 4
      return adopt(spec, error, std::move(done));
    default:
      return done(error);
  }
}

void Client::adopt(const worker::ContainerSpec& spec, const Error& error, Done<ContainerId> done) {
  inspect(ContainerId{spec.name},
          [name = spec.name, labels = spec.labels, error, done = std::move(done)](Result<worker::ContainerInfo> found) {
            if (!found) {
              return done(found.error().code == Errc::not_found ? error : found.error());
            }
            const bool same = std::ranges::all_of(labels, [&found](const auto& label) {
              const auto place = found->labels.find(label.first);
              return place != found->labels.end() && place->second == label.second;
            });
            if (!same) {
              return done(Error{Errc::already_exists, fmt::format("create container {}: container {} has this name",
                                                                  name, found->id.value.substr(0, 12))});
            }
            done(found->id);
          });
}

void Client::start(const ContainerId& id, Done<void> done) {
  auto call = container_call("POST", id, "/start", "start");
  call.extra_time = slow_extra;
  send_plain(std::move(call), std::move(done));
}

void Client::stop(const ContainerId& id, std::chrono::seconds timeout, Done<void> done) {
  auto call = container_call("POST", id, fmt::format("/stop?t={}", timeout.count()), "stop");
  call.extra_time = timeout;
  send_plain(std::move(call), std::move(done));
}

void Client::kill(const ContainerId& id, const std::string& signal, Done<void> done) {
  send_plain(container_call("POST", id, "/kill?signal=" + curl::escape(signal), "kill"), std::move(done));
}

void Client::remove(const ContainerId& id, bool force, Done<void> done) {
  auto call = container_call("DELETE", id, force ? "?v=1&force=1" : "?v=1", "remove");
  call.extra_time = slow_extra;
  send_plain(std::move(call), [this, id, force, done = std::move(done)](const Result<void>& result) {
    if (result || result.error().code == Errc::not_found) {
      return done({});
    }
    if (force && result.error().code == Errc::busy) {  // someone else is removing it
      return wait_removed(id, done);
    }
    done(result);
  });
}

void Client::wait_removed(const ContainerId& id, Done<void> done) {
  send_plain(container_call("POST", id, "/wait?condition=removed", "remove"),
             [done = std::move(done)](const Result<void>& result) {
               done(result || result.error().code == Errc::not_found ? Result<void>() : result);
             });
}

void Client::pause(const ContainerId& id, Done<void> done) {
  send_plain(container_call("POST", id, "/pause", "pause"), std::move(done));
}

void Client::resume(const ContainerId& id, Done<void> done) {
  send_plain(container_call("POST", id, "/unpause", "resume"), std::move(done));
}

void Client::update(const ContainerId& id, const worker::LimitChange& change, Done<void> done) {
  auto call = container_call("POST", id, "/update", "update");
  if (change.memory_bytes == 0U || change.nano_cpus == 0U || change.pids == 0U) {
    // The engine takes 0 for "as it is".
    Error error{Errc::invalid_argument, call.what + ": a limit can be changed, not lifted"};
    calls_.later([error = std::move(error), done = std::move(done)] { done(error); });
    return;
  }
  call.body = update_body(change);
  send_plain(std::move(call), std::move(done));
}

void Client::usage(const ContainerId& id, Done<worker::ContainerUsage> done) {
  send_read<worker::ContainerUsage>(container_call("GET", id, "/stats?stream=0&one-shot=1", "read usage of"),
                                    read_usage, std::move(done));
}

void Client::inspect_image(const std::string& image, Done<worker::ImageInfo> done) {
  const Call call{.method = "GET",
                  .target = fmt::format("/images/{}/json", curl::escape(image)),
                  .body = {},
                  .what = "image " + image};
  send_read<worker::ImageInfo>(call, read_image, std::move(done));
}

worker::OperationHandle Client::logs(const ContainerId& id, const worker::LogOptions& options, UniqueFd sink,
                                     Done<void> done) {
  const auto stream = ++last_stream_;
  auto prefix = connection_.up() ? Result<std::string>(connection_.prefix())
                                 : unavailable("log of container " + id.value.substr(0, 12));
  auto on_end = [this, stream, done = std::move(done)](Result<void> result) {
    const auto node = streams_->extract(stream);
    done(std::move(result));
  };
  streams_->emplace(stream, std::make_unique<LogStream>(loop_, multi_, options_, std::move(prefix), id, options,
                                                        std::move(sink), std::move(on_end)));
  return std::make_unique<LogHandle>(streams_, stream);
}

}  // namespace hal::engine
