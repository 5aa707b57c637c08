#include "bus_support.hpp"

#include "base/error.hpp"
#include "base/names.hpp"
#include "process/spawn.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>

#include <fmt/format.h>

namespace hal::test {

namespace {

/** The rules of Debian's system bus that matter here. */
constexpr const char bus_config[] = R"(<busconfig>
  <type>system</type>
  <listen>unix:path={0}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <policy user="root">
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <include>{1}/org.hal9000.conf</include>
</busconfig>
)";

void check(int result, const char* what) {
  if (result < 0) {
    throw_errno(what, -result);
  }
}

/** Takes another effective user for as long as it lives. */
class As {
 public:
  explicit As(uid_t uid) {
    if (::seteuid(uid) != 0) {
      throw_errno("seteuid");
    }
  }
  ~As() { (void)!::seteuid(0); }
  As(const As&) = delete;
  As& operator=(const As&) = delete;
};

std::set<std::string> dictionary_keys(sd_bus_message* message, const char* entry) {
  std::set<std::string> keys;
  const std::string types = std::string("{") + entry + "}";
  if (sd_bus_message_enter_container(message, 'a', types.c_str()) > 0) {
    while (sd_bus_message_enter_container(message, 'e', entry) > 0) {
      const char* key = nullptr;
      (void)sd_bus_message_read(message, "s", &key);
      keys.insert(key);
      (void)sd_bus_message_skip(message, nullptr);
      (void)sd_bus_message_exit_container(message);
    }
    (void)sd_bus_message_exit_container(message);
  }
  return keys;
}

std::set<std::string> words_of(sd_bus_message* message, const std::string& member) {
  std::set<std::string> words;
  if (member == "PropertiesChanged") {
    (void)sd_bus_message_skip(message, "s");
    words = dictionary_keys(message, "sv");
    const char* invalidated = nullptr;
    if (sd_bus_message_enter_container(message, 'a', "s") > 0) {
      while (sd_bus_message_read(message, "s", &invalidated) > 0) {
        words.insert(std::string("invalidated:") + invalidated);
      }
    }
    return words;
  }
  if (member == "InterfacesAdded") {
    const char* path = nullptr;
    (void)sd_bus_message_read(message, "o", &path);
    words = dictionary_keys(message, "sa{sv}");
    words.insert(path);
    return words;
  }
  const char type_list[] = {'s', 'o'};
  for (;;) {
    char type = 0;
    const char* contents = nullptr;
    if (sd_bus_message_peek_type(message, &type, &contents) <= 0) {
      return words;
    }
    const char* word = nullptr;
    if ((type == type_list[0] || type == type_list[1]) && sd_bus_message_read_basic(message, type, &word) > 0) {
      words.insert(word);
    } else if (type != type_list[0] && type != type_list[1]) {
      const char skipped[] = {type, 0};
      (void)sd_bus_message_skip(message, type == 'a' ? nullptr : skipped);
    }
  }
}

int on_answer(sd_bus_message* message, void* userdata, sd_bus_error*) {
  const auto* pending = static_cast<Client::Pending*>(userdata);
  **pending = Answer(message);
  return 0;
}

void drop_pending(void* userdata) {
  delete static_cast<Client::Pending*>(userdata);
}

int on_signal(sd_bus_message* message, void* userdata, sd_bus_error*) {
  Signal signal;
  signal.path = sd_bus_message_get_path(message);
  signal.interface = sd_bus_message_get_interface(message);
  signal.member = sd_bus_message_get_member(message);
  signal.words = words_of(message, signal.member);
  static_cast<Client*>(userdata)->signals.push_back(std::move(signal));
  return 0;
}

int on_check(sd_bus_message* message, void* userdata, sd_bus_error*) {
  return static_cast<FakePolkit*>(userdata)->check(message);
}

int on_cancel(sd_bus_message* message, void* userdata, sd_bus_error*) {
  return static_cast<FakePolkit*>(userdata)->cancel(message);
}

const sd_bus_vtable polkit_vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("CheckAuthorization", "(sa{sv})sa{ss}us", "(bba{ss})", on_check, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("CancelCheckAuthorization", "s", "", on_cancel, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};

}  // namespace

TestBus::TestBus() {
  const char* dbus_folder = std::getenv("HAL_DBUS_DIR");
  if (dbus_folder == nullptr) {
    throw std::runtime_error("HAL_DBUS_DIR is not set");
  }
  (void)::chmod(folder_.path().c_str(), 0755);
  const auto config = folder_.write("bus.conf", fmt::format(bus_config, folder_.path(), dbus_folder));
  auto output = make_pipe();
  auto pid = process::spawn({.argv = {"dbus-daemon", "--config-file=" + config, "--nofork", "--print-address=1"},
                             .env = {"PATH=/usr/bin:/bin"},
                             .cwd = {},
                             .fds = {{1, output.write.get()}},
                             .user = {}});
  if (!pid) {
    throw std::runtime_error(pid.error().message);
  }
  pid_ = *pid;
  output.write.reset();
  address_ = read_line(output.read.get());
  (void)::setenv("DBUS_SYSTEM_BUS_ADDRESS", address_.c_str(), 1);
}

TestBus::~TestBus() {
  stop();
}

void TestBus::stop() {
  if (pid_ != 0) {
    (void)::kill(pid_, SIGKILL);
    (void)::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
}

std::string Answer::error() const {
  const auto* error = message_ != nullptr ? sd_bus_message_get_error(get()) : nullptr;
  return error != nullptr ? error->name : "";
}

std::string Answer::error_message() const {
  const auto* error = message_ != nullptr ? sd_bus_message_get_error(get()) : nullptr;
  return error != nullptr ? error->message : "";
}

std::string Answer::text() const {
  if (!ok()) {
    return error() + ": " + error_message();
  }
  (void)sd_bus_message_rewind(get(), 1);
  char type = 0;
  const char* contents = nullptr;
  const char* text = "";
  if (sd_bus_message_peek_type(get(), &type, &contents) > 0 && (type == 's' || type == 'o')) {
    (void)sd_bus_message_read_basic(get(), type, &text);
  }
  return text;
}

UniqueFd Answer::fd() const {
  int fd = -1;
  if (ok()) {
    (void)sd_bus_message_rewind(get(), 1);
    (void)sd_bus_message_read(get(), "h", &fd);
  }
  return UniqueFd(fd >= 0 ? ::fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1);
}

Client::Client(event::Loop& loop, const std::string& address, uid_t uid) : loop_(loop) {
  const As as(uid);
  check(sd_bus_new(&bus_), "sd_bus_new");
  check(sd_bus_set_address(bus_, address.c_str()), "sd_bus_set_address");
  check(sd_bus_set_bus_client(bus_, 1), "sd_bus_set_bus_client");
  check(sd_bus_negotiate_fds(bus_, 1), "sd_bus_negotiate_fds");
  check(sd_bus_start(bus_), "sd_bus_start");
  const char* name = nullptr;
  check(sd_bus_get_unique_name(bus_, &name), "sd_bus_get_unique_name");  // waits until the bus has let us in
  check(sd_bus_attach_event(bus_, loop.raw(), 0), "sd_bus_attach_event");
}

Client::~Client() {
  sd_bus_flush_close_unref(bus_);
}

std::string Client::unique_name() const {
  const char* name = nullptr;
  check(sd_bus_get_unique_name(bus_, &name), "sd_bus_get_unique_name");
  return name;
}

sd_bus_message* Client::make_call(const std::string& path, const char* interface, const char* member) {
  sd_bus_message* message = nullptr;
  check(sd_bus_message_new_method_call(bus_, &message, names::bus_name, path.c_str(), interface, member),
        "sd_bus_message_new_method_call");
  return message;
}

Client::Pending Client::send(sd_bus_message* message) {
  auto pending = std::make_shared<Answer>();
  sd_bus_slot* slot = nullptr;
  check(sd_bus_call_async(bus_, &slot, message, on_answer, new Pending(pending), 60'000'000), "sd_bus_call_async");
  check(sd_bus_slot_set_destroy_callback(slot, drop_pending), "sd_bus_slot_set_destroy_callback");
  check(sd_bus_slot_set_floating(slot, 1), "sd_bus_slot_set_floating");
  sd_bus_slot_unref(slot);
  sd_bus_message_unref(message);
  return pending;
}

Answer Client::wait(const Pending& pending) {
  (void)run_until(
      loop_, [&] { return pending->get() != nullptr; }, 20s);
  return *pending;
}

std::string Client::property(const std::string& path, const char* interface, const char* name) {
  const auto answer = call(path, BusTest::properties, "Get", "ss", interface, name);
  if (!answer.ok()) {
    return answer.error();
  }
  char type = 0;
  const char* contents = nullptr;
  (void)sd_bus_message_peek_type(answer.get(), &type, &contents);
  const std::string inner = contents;
  (void)sd_bus_message_enter_container(answer.get(), 'v', inner.c_str());
  if (inner == "s") {
    const char* text = nullptr;
    (void)sd_bus_message_read_basic(answer.get(), 's', &text);
    return text;
  }
  if (inner == "u" || inner == "i") {
    std::int32_t number = 0;
    (void)sd_bus_message_read_basic(answer.get(), inner[0], &number);
    return inner == "u" ? std::to_string(static_cast<std::uint32_t>(number)) : std::to_string(number);
  }
  if (inner == "t") {
    std::uint64_t number = 0;
    (void)sd_bus_message_read_basic(answer.get(), 't', &number);
    return std::to_string(number);
  }
  if (inner == "d") {
    double number = 0;
    (void)sd_bus_message_read_basic(answer.get(), 'd', &number);
    return fmt::format("{}", number);
  }
  if (inner == "as") {
    std::string list;
    const char* word = nullptr;
    (void)sd_bus_message_enter_container(answer.get(), 'a', "s");
    while (sd_bus_message_read(answer.get(), "s", &word) > 0) {
      list += std::string(word) + " ";
    }
    return list;
  }
  return "type " + inner;
}

void Client::record() {
  check(sd_bus_add_match(bus_, nullptr, "type='signal',sender='org.hal9000'", on_signal, this), "sd_bus_add_match");
}

std::vector<Signal> Client::signals_of(const std::string& path, const std::string& member) const {
  std::vector<Signal> found;
  for (const auto& signal : signals) {
    if (signal.path == path && (member.empty() || signal.member == member)) {
      found.push_back(signal);
    }
  }
  return found;
}

bool Client::wait_signal(const std::string& path, const std::string& member, std::size_t count) {
  return run_until(
      loop_, [&] { return signals_of(path, member).size() >= count; }, 10s);
}

FakePolkit::FakePolkit(event::Loop& loop, const std::string& address) : client_(loop, address) {
  hal::test::check(sd_bus_add_object_vtable(client_.bus(), nullptr, "/org/freedesktop/PolicyKit1/Authority",
                                            "org.freedesktop.PolicyKit1.Authority", polkit_vtable, this),
                   "sd_bus_add_object_vtable");
  hal::test::check(sd_bus_request_name(client_.bus(), "org.freedesktop.PolicyKit1", 0), "sd_bus_request_name");
}

int FakePolkit::check(sd_bus_message* message) {
  const char* kind = nullptr;
  const char* key = nullptr;
  const char* name = nullptr;
  const char* action = nullptr;
  const char* cancellation = nullptr;
  std::uint32_t flags = 0;
  const int read =
      sd_bus_message_read(message, "(sa{sv})sa{ss}us", &kind, 1, &key, "s", &name, &action, 0, &flags, &cancellation);
  if (read <= 0) {
    return read;
  }
  questions.push_back({fmt::format("{} {}={}", kind, key, name), action, flags, cancellation});
  switch (says) {
    case Says::yes:
      return sd_bus_reply_method_return(message, "(bba{ss})", 1, 0, 0);
    case Says::no:
      return sd_bus_reply_method_return(message, "(bba{ss})", 0, 0, 0);
    case Says::ask:
      return sd_bus_reply_method_return(message, "(bba{ss})", 0, 1, 0);
    case Says::broken:
      return sd_bus_reply_method_errorf(message, "org.freedesktop.PolicyKit1.Error.Failed", "broken");
    case Says::nothing:
      return 1;
  }
  return 0;
}

int FakePolkit::cancel(sd_bus_message* message) {
  const char* id = nullptr;
  (void)sd_bus_message_read(message, "s", &id);
  cancelled.emplace_back(id);
  return sd_bus_reply_method_return(message, "");
}

/** What the daemon's composition does: passes the registry's news on. */
class BusTest::Wiring : public worker::Registry::Listener {
 public:
  explicit Wiring(bus::Service& service) : service_(service) {}
  void on_worker_added(const worker::Worker& worker) override { service_.on_worker_added(worker); }
  void on_worker_changed(const worker::Worker& worker) override { service_.on_worker_changed(worker.id); }
  void on_worker_removed(const WorkerId& id) override { service_.on_worker_removed(id); }
  void on_limit_hit(const WorkerId& id, std::string_view what) override { service_.on_limit_hit(id, what); }
  void on_gateway_socket(const worker::Worker&, UniqueFd) override {}
  void on_own_network(const worker::Worker&, Done<void> made) override { made({}); }
  void on_worker_claimed(const worker::Worker&) override {}

 private:
  bus::Service& service_;
};

BusTest::BusTest() {
  worker::Worker first;
  first.id = WorkerId{"0a"};
  first.name = "first";
  first.owner = alice;
  first.state = worker::State::running;
  first.created_usec = 20;
  registry.add(first);
  servers.add("memory-bank");
  connection =
      std::make_unique<bus::Connection>(loop, bus::BusKind::system, [this](std::string_view reason) { lost = reason; });
  service = std::make_unique<bus::Service>(
      loop, *connection, bus::Service::Parts{registry, parent, pool, servers, control, editor, images});
  wiring_ = std::make_unique<Wiring>(*service);
  registry.set_listener(wiring_.get());
  connection->request_name(names::bus_name);
}

BusTest::~BusTest() {
  registry.set_listener(nullptr);
}

worker::Worker& BusTest::add_worker(const std::string& id, uid_t owner) {
  worker::Worker worker;
  worker.id = WorkerId{id};
  worker.name = "w" + id;
  worker.owner = owner;
  worker.state = worker::State::running;
  return registry.add(worker);
}

}  // namespace hal::test
