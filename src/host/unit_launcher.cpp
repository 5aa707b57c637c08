#include "host/unit_launcher.hpp"

#include "base/log.hpp"
#include "base/names.hpp"
#include "base/text.hpp"
#include "host/unit_message.hpp"
#include "host/unit_names.hpp"
#include "host/unit_state.hpp"
#include "server/remote_settings.hpp"
#include "server/stdio.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <optional>
#include <utility>

#include <fmt/format.h>

namespace hal::host {

namespace {

constexpr const char service[] = "org.freedesktop.systemd1";
constexpr const char manager_path[] = "/org/freedesktop/systemd1";
constexpr const char manager[] = "org.freedesktop.systemd1.Manager";
constexpr const char properties[] = "org.freedesktop.DBus.Properties";
constexpr const char service_interface[] = "org.freedesktop.systemd1.Service";
constexpr const char unit_interface[] = "org.freedesktop.systemd1.Unit";
/** How long the daemon waits at its start for the bus, to find what an earlier one left. */
constexpr std::chrono::seconds survivors_deadline{10};

/** How PID 1 reaches a descriptor of ours. */
std::string path_for_others(int fd) {
  return fmt::format("/proc/{}/fd/{}", ::getpid(), fd);
}

Result<UniqueFd> memory_file(const std::string& text) {
  UniqueFd fd(::memfd_create("hal9000-environment", MFD_CLOEXEC));
  if (!fd) {
    return errno_error("memfd_create");
  }
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t bytes = ::write(fd.get(), text.data() + done, text.size() - done);
    if (bytes < 0) {
      return errno_error("memfd");
    }
    done += static_cast<std::size_t>(bytes);
  }
  return fd;
}

std::string path_of_unit(const std::string& unit) {
  char* path = nullptr;
  if (sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit.c_str(), &path) < 0) {
    return {};
  }
  const std::unique_ptr<char, decltype(&::free)> owned(path, ::free);
  return path;
}

}  // namespace

struct UnitLauncher::Unit {
  Unit(event::Loop& loop, std::string unit_name, std::string server_name, std::function<void()> on_grace_over)
      : name(std::move(unit_name)),
        path(path_of_unit(name)),
        server(std::move(server_name)),
        grace_over(loop, "stop " + name, std::move(on_grace_over)) {}

  std::string name;
  /** On the bus. */
  std::string path;
  std::string server;
  std::uint64_t memory_max = 0;
  pid_t pid = 0;
  /** Set while it is being started. */
  Done<server::Launched> started;
  server::StdioPipes stdio;
  /** What PID 1 opens while it starts the unit. */
  UniqueFd environment;
  UniqueFd network;
  bool stopping = false;
  bool reading_exit = false;
  SlotPtr changed;
  event::Timer grace_over;
};

UnitLauncher::UnitLauncher(event::Loop& loop, Options options)
    : loop_(loop),
      options_(std::move(options)),
      survivors_deadline_(loop, "systemd deadline",
                          [this] {
                            if (const auto done = std::exchange(survivors_waiting_, nullptr)) {
                              done(Error{Errc::unavailable, "the system bus cannot be reached"});
                            }
                          }),
      answer_later_(loop, "unit launcher answers",
                    [this] {
                      for (const auto& call : std::exchange(answers_, {})) {
                        call();
                      }
                    }),
      bus_(loop, {[this] { on_up(); },
                  [this](const Error& error) {
                    job_removed_.reset();
                    for (auto& [id, unit] : units_) {
                      unit->changed.reset();
                    }
                    log::warning({}, "systemd: {}; servers run on", error.message);
                  }}) {}

UnitLauncher::UnitLauncher(event::Loop& loop) : UnitLauncher(loop, Options{}) {}

UnitLauncher::~UnitLauncher() = default;

UnitLauncher::Unit* UnitLauncher::find(InstanceId id) {
  const auto found = units_.find(id);
  return found != units_.end() ? found->second.get() : nullptr;
}

InstanceId UnitLauncher::id_of(std::string_view unit_name) const {
  const auto parsed = parse_unit_name(unit_name);
  return parsed && units_.contains(parsed->instance) ? parsed->instance : InstanceId{};
}

// --- the bus -------------------------------------------------------------------------------------------------------

void UnitLauncher::on_up() {
  job_removed_ =
      bus_.match(service, manager_path, manager, "JobRemoved", [this](sd_bus_message* m) { on_job_removed(m); });
  bus_.call(bus_.method(service, manager_path, manager, "Subscribe"), [](const Result<sd_bus_message*>& reply) {
    if (!reply) {
      log::error({}, "systemd: Subscribe: {}", reply.error().message);
    }
  });
  std::vector<InstanceId> known;
  for (const auto& [id, unit] : units_) {
    known.push_back(id);
  }
  for (const auto id : known) {  // after a loss: what has happened meanwhile?
    watch(id);
    call_manager("RefUnit", find(id)->name, nullptr);
    check(id);
  }
  if (survivors_waiting_) {
    survivors_deadline_.disarm();
    list_survivors(std::exchange(survivors_waiting_, nullptr));
  }
}

void UnitLauncher::watch(InstanceId id) {
  auto* unit = find(id);
  unit->changed = bus_.match(service, unit->path, properties, "PropertiesChanged",
                             [this, id](sd_bus_message* message) { on_unit_changed(id, message); });
}

void UnitLauncher::call_manager(const char* member, const std::string& unit, const char* mode) {
  auto message = bus_.method(service, manager_path, manager, member);
  if (message) {
    (void)sd_bus_message_append(message.get(), "s", unit.c_str());
    if (mode != nullptr) {
      (void)sd_bus_message_append(message.get(), "s", mode);
    }
  }
  bus_.call(std::move(message), [member, unit](const Result<sd_bus_message*>& reply) {
    if (!reply) {
      log::debug({}, "systemd: {} {}: {}", member, unit, reply.error().message);
    }
  });
}

void UnitLauncher::on_job_removed(sd_bus_message* message) {
  std::uint32_t job = 0;
  const char* path = nullptr;
  const char* unit_name = nullptr;
  const char* result = nullptr;
  if (sd_bus_message_read(message, "uoss", &job, &path, &unit_name, &result) < 0) {
    return;
  }
  const auto id = id_of(unit_name);
  auto* unit = find(id);
  if (unit == nullptr || !unit->started) {
    return;
  }
  if (std::string_view(result) == "done") {
    on_started(id);
  } else if (std::string_view(result) == "canceled") {
    start_failed(id, {Errc::cancelled, "the start was cancelled"});
  } else {
    tell_why_not_started(id);
  }
}

void UnitLauncher::on_unit_changed(InstanceId id, sd_bus_message* message) {
  const auto* unit = find(id);
  const char* interface = nullptr;
  if (unit == nullptr || unit->started || sd_bus_message_read(message, "s", &interface) < 0 ||
      std::string_view(interface) != unit_interface) {
    return;
  }
  const auto state = read_text_property(message, "ActiveState");
  if (state == "inactive" || state == "failed") {
    read_exit(id);
  }
}

// --- starting ------------------------------------------------------------------------------------------------------

void UnitLauncher::start(const server::LaunchSpec& spec, Done<server::Launched> done) {
  const auto id = spec.instance;
  auto unit =
      std::make_unique<Unit>(loop_, unit_name(spec.config.name, id), spec.config.name, [this, id] { send_stop(id); });
  unit->memory_max = spec.config.memory_max;
  auto message = prepare(spec, *unit);
  if (!message) {
    answers_.emplace_back([done = std::move(done), error = message.error()] { done(error); });
    answer_later_.schedule();
    return;
  }
  unit->started = std::move(done);
  units_[id] = std::move(unit);
  watch(id);
  bus_.call(*std::move(message), [this, id](const Result<sd_bus_message*>& reply) {
    if (auto* called = find(id); called != nullptr) {
      called->stdio.server_in.reset();  // systemd has its own copies, or wants none
      called->stdio.server_out.reset();
      if (!reply) {
        start_failed(id, reply.error().with("systemd"));
      }
    }
  });
}

Result<MessagePtr> UnitLauncher::prepare(const server::LaunchSpec& spec, Unit& unit) {
  const auto& user = spec.config.remote ? options_.remote_user : options_.user;
  const auto account = server::find_account(user);
  if (!account) {
    return Error{Errc::unavailable, fmt::format("there is no user {}", user)};
  }
  const auto settings = server::first_line(spec.config);
  if (!settings) {
    return settings.error();
  }
  const auto env = server::environment(spec.config);
  const auto& cwd = spec.config.cwd.empty() ? spec.config.state_directory : spec.config.cwd;
  auto program = find_program(spec.config.argv.front(), cwd, env);
  if (!program) {
    return program.error();
  }
  if (auto made = server::make_state_directory(spec.config.state_directory, account); !made) {
    return made.error();
  }
  auto stdio = server::make_stdio(*settings);
  auto environment = memory_file(environment_file(env));
  if (!stdio || !environment) {
    return !stdio ? stdio.error() : environment.error();
  }
  unit.stdio = *std::move(stdio);
  unit.environment = *std::move(environment);
  if (spec.config.network == server::Network::parent) {
    unit.network = UniqueFd(::fcntl(spec.network_namespace, F_DUPFD_CLOEXEC, 3));
    if (!unit.network) {
      return errno_error("the parent's network namespace");
    }
  }
  auto message = bus_.method(service, manager_path, manager, "StartTransientUnit");
  if (!message) {
    return Error{Errc::unavailable, "the system bus cannot be reached"};
  }
  const UnitSpec filled{unit.name,
                        *std::move(program),
                        &spec.config,
                        user,
                        options_.slice,
                        options_.sandbox,
                        spec.input >= 0 ? spec.input : unit.stdio.server_in.get(),
                        unit.stdio.server_out.get(),
                        path_for_others(unit.environment.get()),
                        unit.network ? path_for_others(unit.network.get()) : std::string()};
  if (auto done = fill_start_transient_unit(message.get(), filled); !done) {
    return done.error();
  }
  return message;
}

void UnitLauncher::on_started(InstanceId id) {
  auto message = bus_.method(service, find(id)->path, properties, "Get");
  if (message) {
    (void)sd_bus_message_append(message.get(), "ss", service_interface, "MainPID");
  }
  bus_.call(std::move(message), [this, id](const Result<sd_bus_message*>& reply) {
    auto* unit = find(id);
    if (unit == nullptr || !unit->started) {
      return;
    }
    std::uint32_t pid = 0;  // also for one that has ended already; its end is told next
    if (reply) {
      (void)sd_bus_message_read(*reply, "v", "u", &pid);
    }
    unit->pid = static_cast<pid_t>(pid);
    unit->environment.reset();
    unit->network.reset();
    const auto started = std::exchange(unit->started, nullptr);
    started(
        server::Launched{unit->pid, unit->name, std::move(unit->stdio.to_server), std::move(unit->stdio.from_server)});
    check(id);  // it may have ended before its start was told
  });
}

void UnitLauncher::start_failed(InstanceId id, const Error& error) {
  const auto unit = std::move(units_.at(id));
  units_.erase(id);
  call_manager("UnrefUnit", unit->name, nullptr);
  if (unit->started) {
    unit->started(error);
  }
}

void UnitLauncher::tell_why_not_started(InstanceId id) {
  auto message = bus_.method(service, find(id)->path, properties, "GetAll");
  if (message) {
    (void)sd_bus_message_append(message.get(), "s", service_interface);
  }
  bus_.call(std::move(message), [this, id](const Result<sd_bus_message*>& reply) {
    const auto* unit = find(id);
    if (unit != nullptr && unit->started) {
      start_failed(id, reply ? start_error(read_exit_properties(*reply), unit->name)
                             : Error{Errc::unavailable, unit->name + " could not be started"});
    }
  });
}

// --- running and ending --------------------------------------------------------------------------------------------

void UnitLauncher::check(InstanceId id) {
  const auto* unit = find(id);
  if (unit == nullptr) {
    return;
  }
  auto message = bus_.method(service, unit->path, properties, "Get");
  if (message) {
    (void)sd_bus_message_append(message.get(), "ss", unit_interface, "ActiveState");
  }
  bus_.call(std::move(message), [this, id](const Result<sd_bus_message*>& reply) {
    const auto* checked = find(id);
    const char* text = nullptr;
    if (checked == nullptr || (!reply && reply.error().code == Errc::unavailable) ||
        (reply && sd_bus_message_read(*reply, "v", "s", &text) < 0)) {
      return;  // the bus is gone again; on_up() comes back to it
    }
    const std::string_view state = text != nullptr ? text : "inactive";
    if (checked->started && state == "active") {
      on_started(id);
    } else if (state == "inactive" || state == "failed") {
      checked->started ? tell_why_not_started(id) : read_exit(id);
    }
  });
}

void UnitLauncher::read_exit(InstanceId id) {
  auto* unit = find(id);
  if (unit == nullptr || std::exchange(unit->reading_exit, true)) {
    return;
  }
  auto message = bus_.method(service, unit->path, properties, "GetAll");
  if (message) {
    (void)sd_bus_message_append(message.get(), "s", service_interface);
  }
  bus_.call(std::move(message), [this, id](const Result<sd_bus_message*>& reply) {
    auto* read = find(id);
    if (read == nullptr) {
      return;
    }
    if (!reply && reply.error().code == Errc::unavailable) {
      read->reading_exit = false;
      return;
    }
    ended(id, reply ? instance_exit(read_exit_properties(*reply), read->memory_max, read->server)
                    : server::InstanceExit{"has ended; systemd does not know how", false});
  });
}

void UnitLauncher::ended(InstanceId id, const server::InstanceExit& exit) {
  const auto unit = std::move(units_.at(id));
  units_.erase(id);
  call_manager("UnrefUnit", unit->name, nullptr);
  if (listener_ != nullptr) {
    listener_->on_instance_exit(id, exit);
  }
}

void UnitLauncher::stop(InstanceId instance, std::chrono::milliseconds grace) {
  auto* unit = find(instance);
  if (unit == nullptr || std::exchange(unit->stopping, true)) {
    return;
  }
  unit->grace_over.arm(unit->started ? std::chrono::milliseconds(0) : grace);
}

void UnitLauncher::send_stop(InstanceId id) {
  if (const auto* unit = find(id); unit != nullptr) {
    call_manager("StopUnit", unit->name, "replace");
    check(id);  // one that is gone already answers nothing else
  }
}

// --- taking up -----------------------------------------------------------------------------------------------------

void UnitLauncher::survivors(Done<std::vector<server::Survivor>> done) {
  if (!job_removed_) {
    survivors_waiting_ = std::move(done);
    survivors_deadline_.arm(survivors_deadline);
    return;
  }
  list_survivors(std::move(done));
}

void UnitLauncher::list_survivors(Done<std::vector<server::Survivor>> done) {
  auto message = bus_.method(service, manager_path, manager, "ListUnitsByPatterns");
  if (message) {
    (void)sd_bus_message_append(message.get(), "asas", 3, "active", "activating", "deactivating", 1, unit_pattern);
  }
  bus_.call(std::move(message), [this, done = std::move(done)](const Result<sd_bus_message*>& reply) {
    if (!reply) {
      done(reply.error().with("systemd"));
    } else {
      take_up(*reply, done);
    }
  });
}

void UnitLauncher::take_up(sd_bus_message* units, Done<std::vector<server::Survivor>> done) {
  /** Answers when the last of its owners, the calls for each unit's main process, is gone. */
  struct Gathering {
    std::vector<server::Survivor> found;
  };
  const auto gathering = std::make_shared<Gathering>();
  const auto left = std::make_shared<std::size_t>(1);
  const auto finish_one = [gathering, left, done = std::move(done)] {
    if (--*left == 0) {
      done(std::move(gathering->found));
    }
  };
  for (const auto& listed : read_unit_list(units)) {
    const auto parsed = parse_unit_name(listed.name);
    if (!parsed || units_.contains(parsed->instance)) {
      continue;
    }
    const auto id = parsed->instance;
    units_[id] = std::make_unique<Unit>(loop_, listed.name, parsed->server, [this, id] { send_stop(id); });
    watch(id);
    call_manager("RefUnit", listed.name, nullptr);
    auto message = bus_.method(service, units_[id]->path, properties, "GetAll");
    if (message) {
      (void)sd_bus_message_append(message.get(), "s", service_interface);
    }
    ++*left;
    bus_.call(std::move(message),
              [this, id, gathering, finish_one,
               fingerprint = parse_unit_description(listed.description)](const Result<sd_bus_message*>& reply) {
                if (auto* unit = find(id); unit != nullptr && reply) {
                  const auto exit = read_exit_properties(*reply);
                  unit->pid = exit.main_pid;
                  unit->memory_max = exit.memory_max;
                  gathering->found.push_back({unit->server, id, unit->pid, unit->name, fingerprint});
                }
                finish_one();
                check(id);
              });
  }
  finish_one();
}

}  // namespace hal::host
