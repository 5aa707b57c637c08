#include "gateway/gateway.hpp"

#include "base/archive.hpp"
#include "base/log.hpp"
#include "base/names.hpp"
#include "base/startup_pages.hpp"
#include "gateway/store.hpp"
#include "link/parcel.hpp"

#include <signal.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <utility>

#include <fmt/format.h>

namespace hal::gateway {

namespace {

/** For the last answers to be read. The daemon kills us after more than that. */
constexpr auto stop_deadline = std::chrono::seconds(2);

constexpr const char* stopping = "the gateway is stopping";

/** Raised with every change of what a keep() or save() says: what another version has left is not read. */
constexpr std::uint64_t state_version = 1;
constexpr std::string_view state_mark = "hal9000-gateway";

void notify(const char* state) {
  (void)sd_notify(0, state);  // a manager that does not listen is not our failure
}

}  // namespace

Gateway::Gateway(event::Loop& loop, LinkSource source)
    : loop_(loop),
      is_child_(!source.listening),
      on_term_(loop, SIGTERM, "SIGTERM", [this] { on_end(); }),
      on_int_(loop, SIGINT, "SIGINT", [this] { stop(stopping); }),
      leave_(loop, "handover", [this] { hand_over(); }),
      last_moment_(loop, "end", [this] { loop_.exit(0); }),
      started_(
          loop, "started", [] { drop_startup_pages(); }, event::Priority::idle),
      lost_(loop, "link lost", [this] { link_lost(*lost_error_); }) {
  make_hub();
  if (source.kept && !take_over(std::move(source.kept))) {
    make_hub();
  }
  if (source.listening) {
    listener_ = std::make_unique<io::Listener>(
        loop, std::move(source.listening), "hal9000-gateway.socket",
        [this](UniqueFd connection, io::PeerCredentials) { accept(std::move(connection)); });
  } else {
    connect(std::move(source.connected));
  }
  notify("READY=1\nSTATUS=Waiting for hal9000d");
}

Gateway::~Gateway() = default;

/** Who speaks on the link owns every session: only root and our own user may. */
void Gateway::accept(UniqueFd connection) {
  const auto peer = io::peer_credentials(connection.get());
  if (!peer || (peer->uid != 0 && peer->uid != ::geteuid())) {
    log::warning({}, "a link from user {} was refused", peer ? fmt::to_string(peer->uid) : "unknown");
    return;
  }
  if (stopping_) {
    return;
  }
  if (end_) {
    log::info({}, "a new hal9000d replaces the old one");
    hub_->end_traces("hal9000d was restarted");
  }
  connect(std::move(connection));
}

void Gateway::connect(UniqueFd socket) {
  lost_.cancel();
  auto hello = hub_->hello();
  hello.http_networks = http_->networks();
  end_ = std::make_unique<link::GatewayEnd>(loop_, std::move(socket), std::move(hello),
                                            static_cast<link::GatewayEndListener&>(*this));
}

void Gateway::on_worker_add(link::WorkerAdd message) {
  http_->set_worker(message.id, message.token);
  hub_->add_worker(std::move(message));
}

void Gateway::on_worker_remove(const link::WorkerRemove& message) {
  http_->remove_worker(message.id);
  hub_->remove_worker(message.id);
}

void Gateway::on_http_listen(link::HttpListen message) {
  const auto listening = http_->listen(message.network, std::move(message.listener), message.worker);
  if (!listening) {
    log::error({}, "MCP over HTTP is not served: {}", listening.error().message);
    return;
  }
  started_.schedule();
  if (message.worker.value.empty()) {
    log::info({}, "MCP over HTTP is served");
  } else {
    log::info({{names::field_worker, message.worker.value}}, "MCP over HTTP is served to worker {} in its own network",
              message.worker.value);
  }
}

void Gateway::on_hello() {
  log::info({}, "connected to hal9000d");
  notify("STATUS=Connected to hal9000d");
  started_.schedule();
  hub_->daemon_returned();
}

void Gateway::on_link_closed(const Error& error) {
  link_lost(error);
}

void Gateway::send(link::ToDaemon message) {
  if (!end_) {
    return;  // daemon_returned() makes it good
  }
  if (const auto sent = end_->send(std::move(message)); !sent && sent.error().code == Errc::limit) {
    lost_error_ = sent.error();  // a message is missing, so the daemon must start over
    lost_.schedule();
  }
}

void Gateway::link_lost(const Error& error) {
  end_.reset();
  hub_->end_traces("hal9000d is gone");  // who may read was its word
  if (stopping_) {
    return;
  }
  log::warning({}, "the link to hal9000d ended: {}", error.message);
  notify("STATUS=Waiting for hal9000d");
  if (is_child_) {
    stop("hal9000d is gone");
  }
}

void Gateway::make_hub() {
  http_.reset();
  hub_ = std::make_unique<hub::Hub>(loop_, [this](link::ToDaemon message) { send(std::move(message)); });
  http_ = std::make_unique<http::Endpoint>(loop_, *hub_);
}

bool Gateway::take_over(UniqueFd kept) {
  auto parcel = link::unpack(std::move(kept));
  if (!parcel) {
    log::error({}, "what the last gateway has left cannot be read: {}", parcel.error().message);
    return false;
  }
  Loader archive(parcel->text, std::move(parcel->descriptors));
  const auto mark = archive.text();
  const auto version = archive.number();
  if (mark != state_mark || version != state_version) {
    log::warning({}, "the last gateway was of another version: sessions begin anew");
    return false;
  }
  hub_->load(archive);
  if (!archive.complete()) {
    log::error({}, "what the last gateway has left makes no sense: sessions begin anew");
    return false;
  }
  log::info({}, "going on with {} sessions of the last gateway", hub_->sessions());
  return true;
}

void Gateway::on_end() {
  if (is_child_ || !store::available()) {
    return stop(stopping);
  }
  leave();
}

/** Whether there will be another one only the service manager knows; if not, it closes what it was given. */
void Gateway::leave() {
  if (std::exchange(stopping_, true)) {
    return;
  }
  notify("STOPPING=1\nSTATUS=Leaving sessions to the next gateway");
  leave_.arm(stop_deadline);
  hub_->prepare_to_save("the gateway is restarting", [this] { hand_over(); });
}

void Gateway::hand_over() {
  leave_.disarm();
  Saver archive;
  archive.text(state_mark);
  archive.number(state_version);
  hub_->save(archive);
  auto packed = link::pack(archive.bytes(), archive.descriptors());
  const auto kept = packed ? store::put(*packed) : packed.error();
  if (!kept) {
    log::error({}, "sessions cannot be left to the next gateway: {}", kept.error().message);
    last_moment_.arm(stop_deadline);
    return hub_->shut_down(stopping, [this] { loop_.exit(0); });
  }
  log::info({}, "{} descriptors and {} bytes are left to the next gateway", archive.descriptors().size(),
            archive.bytes().size());
  loop_.exit(0);
}

void Gateway::stop(const char* reason) {
  if (std::exchange(stopping_, true)) {
    return;
  }
  log::info({}, "stopping: {}", reason);
  notify("STOPPING=1");
  last_moment_.arm(stop_deadline);
  hub_->shut_down(reason, [this] { loop_.exit(0); });
}

}  // namespace hal::gateway
