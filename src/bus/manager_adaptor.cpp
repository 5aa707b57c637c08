#include "bus/manager_adaptor.hpp"

#include "base/names.hpp"
#include "base/text.hpp"
#include "bus/job_adaptor.hpp"
#include "bus/server_options.hpp"
#include "bus/signals.hpp"
#include "bus/variant.hpp"
#include "bus/worker_adaptor.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include <fmt/format.h>

namespace hal::bus {

namespace {

/** The worker of this id; else of this name, by `caller`, for root by anyone. */
Result<WorkerId> find_worker(const worker::Registry& registry, uid_t caller, const std::string& id_or_name) {
  if (const auto* worker = registry.find(WorkerId{id_or_name})) {
    return worker->id;
  }
  if (const auto* worker = registry.find(caller, id_or_name)) {
    return worker->id;
  }
  std::vector<uid_t> owners;
  if (caller == 0) {
    for (const auto* worker : registry.all()) {
      if (worker->name == id_or_name && std::find(owners.begin(), owners.end(), worker->owner) == owners.end()) {
        owners.push_back(worker->owner);
      }
    }
  }
  if (owners.size() > 1) {
    return Error{Errc::busy, fmt::format("{} users have a worker \"{}\"; use its id", owners.size(), id_or_name)};
  }
  const auto* worker = owners.empty() ? nullptr : registry.find(owners.front(), id_or_name);
  if (worker == nullptr) {
    return Error{Errc::not_found, fmt::format("there is no worker \"{}\"", text::printable(id_or_name))};
  }
  return worker->id;
}

std::map<std::string, sdbus::Variant> to_dictionary(const EngineStatus& engine) {
  std::map<std::string, sdbus::Variant> dictionary{
      {"available", sdbus::Variant{engine.available}},
      {"reason", sdbus::Variant{bus_text(engine.reason)}},
  };
  if (engine.available) {
    dictionary.emplace("version", sdbus::Variant{bus_text(engine.info.version)});
    dictionary.emplace("api_version", sdbus::Variant{bus_text(engine.info.api_version)});
    dictionary.emplace("cgroup_driver", sdbus::Variant{bus_text(engine.info.cgroup_driver)});
    dictionary.emplace("cgroup_version", sdbus::Variant{static_cast<std::uint32_t>(engine.info.cgroup_version)});
    dictionary.emplace("storage_driver", sdbus::Variant{bus_text(engine.info.storage_driver)});
  }
  return dictionary;
}

}  // namespace

ManagerAdaptor::ManagerAdaptor(sdbus::IConnection& connection, ManagerContext context)
    : AdaptorInterfaces(connection, sdbus::ObjectPath{names::root_path}), context_(context) {
  registerAdaptor();
  (void)published_.update(snapshot());
}

ManagerAdaptor::~ManagerAdaptor() {
  unregisterAdaptor();
}

void ManagerAdaptor::publish() {
  emit_changed(getObject(), interface_name, published_.update(snapshot()));
}

void ManagerAdaptor::tell_job_new(std::uint32_t id) {
  emit([&] { emitJobNew(id, sdbus::ObjectPath{job_path(id)}); });
}

void ManagerAdaptor::tell_job_removed(std::uint32_t id, std::string_view result) {
  emit([&] { emitJobRemoved(id, sdbus::ObjectPath{job_path(id)}, std::string(result)); });
}

/** Every property with EmitsChangedSignal "true". */
Published::Snapshot ManagerAdaptor::snapshot() const {
  const auto engine = context_.daemon.engine();
  return {
      {"State", context_.daemon.state()},
      {"NWorkers", std::to_string(context_.registry.all().size())},
      {"Engine", fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}", engine.available, engine.reason, engine.info.version,
                             engine.info.api_version, engine.info.cgroup_driver, engine.info.cgroup_version,
                             engine.info.storage_driver)},
  };
}

/** Runs `then(uid of the caller)` if the caller may; `then` outlives this object. */
template <class... Values, class Then>
void ManagerAdaptor::run(const Reply<Values...>& reply, Then then) {
  guard(reply, [&] { context_.calls.authorised(getObject(), interface_name, std::nullopt, reply, std::move(then)); });
}

void ManagerAdaptor::spawn(const Reply<sdbus::ObjectPath>& reply, Result<worker::SpawnRequest> request) {
  if (!request) {
    reply.fail(request.error());
    return;
  }
  run(reply, [&spawner = context_.spawner, reply, shared = std::make_shared<worker::SpawnRequest>(std::move(*request))](
                 uid_t caller) { spawner.spawn(reply, std::move(*shared), caller); });
}

void ManagerAdaptor::start_job(const Reply<sdbus::ObjectPath>& reply, Jobs& jobs, const char* kind, uid_t caller,
                               const Jobs::Begin& begin) {
  const auto job = jobs.start(kind, caller, begin);
  if (job) {
    reply.succeed(sdbus::ObjectPath{job_path(*job)});
  } else {
    reply.fail(job.error());
  }
}

void ManagerAdaptor::Spawn(sdbus::Result<sdbus::ObjectPath>&& result, std::string workspace, Options options) {
  const auto reply = context_.calls.answer(std::move(result));
  guard(reply, [&] {
    auto path = read_path("workspace", std::move(workspace));
    if (!path) {
      reply.fail(path.error());
      return;
    }
    auto values = to_values(options);
    auto read = values ? read_spawn_options(std::move(*values)) : values.error();
    if (read) {
      read->workspace = std::move(*path);
    }
    spawn(reply, std::move(read));
  });
}

void ManagerAdaptor::SpawnAt(sdbus::Result<sdbus::ObjectPath>&& result, sdbus::UnixFd directory, Options options) {
  const auto reply = context_.calls.answer(std::move(result));
  guard(reply, [&] {
    // What it is a descriptor of is found out where a file system that hangs can do no harm.
    auto fd = compat::from_bus(directory);
    if (!fd) {
      reply.fail(errno_error("taking the directory's descriptor"));
      return;
    }
    auto values = to_values(options);
    auto read = values ? read_spawn_options(std::move(*values)) : values.error();
    if (read) {
      read->directory = std::move(fd);
    }
    spawn(reply, std::move(read));
  });
}

void ManagerAdaptor::GetWorker(sdbus::Result<sdbus::ObjectPath>&& result, std::string id_or_name) {
  const auto reply = context_.calls.answer(std::move(result));
  run(reply, [&registry = context_.registry, id_or_name = std::move(id_or_name), reply](uid_t caller) {
    const auto id = find_worker(registry, caller, id_or_name);
    if (id) {
      reply.succeed(sdbus::ObjectPath{worker_path(*id)});
    } else {
      reply.fail(id.error());
    }
  });
}

std::vector<ManagerAdaptor::Row> ManagerAdaptor::ListWorkers() {
  return guard_value([&] {
    auto workers = context_.registry.all();
    std::sort(workers.begin(), workers.end(), [](const auto* a, const auto* b) {
      return std::tie(a->created_usec, a->id) < std::tie(b->created_usec, b->id);
    });
    std::vector<Row> rows;
    rows.reserve(workers.size());
    for (const auto* worker : workers) {
      rows.emplace_back(worker->id.value, bus_text(worker->name), std::string(worker::name(worker->state)),
                        worker->owner, static_cast<std::int64_t>(worker->created_usec),
                        sdbus::ObjectPath{worker_path(worker->id)});
    }
    return rows;
  });
}

void ManagerAdaptor::Reload(sdbus::Result<>&& result) {
  const auto reply = context_.calls.answer(std::move(result));
  run(reply, [&daemon = context_.daemon, reply](uid_t) { daemon.reload(answer_with(reply)); });
}

void ManagerAdaptor::StopAll(sdbus::Result<sdbus::ObjectPath>&& result, std::uint32_t timeout_ms) {
  const auto reply = context_.calls.answer(std::move(result));
  const auto timeout = read_stop_timeout(timeout_ms);
  if (!timeout) {
    reply.fail(timeout.error());
    return;
  }
  run(reply, [&daemon = context_.daemon, &jobs = context_.jobs, timeout = *timeout, reply](uid_t caller) {
    start_job(reply, jobs, "stop-all", caller, [&](DaemonControl::Progress progress, Done<void> done) {
      return daemon.stop_all(timeout, std::move(progress), std::move(done));
    });
  });
}

void ManagerAdaptor::AddServers(sdbus::Result<std::vector<ServerRow>>&& result, std::string servers, Options options) {
  const auto reply = context_.calls.answer(std::move(result));
  guard(reply, [&] {
    auto values = to_values(options);
    const auto read = values ? read_add_options(std::move(*values)) : values.error();
    if (!read) {
      reply.fail(read.error());
      return;
    }
    run(reply, [&editor = context_.editor, servers = std::move(servers), read = *read, reply](uid_t) {
      editor.add(servers, read, [reply](const hal::Result<std::vector<ServerChange>>& changes) {
        if (!changes) {
          reply.fail(changes.error());
          return;
        }
        std::vector<ServerRow> rows;
        for (const auto& change : *changes) {
          rows.emplace_back(bus_text(change.name), change.change, bus_text(change.detail));
        }
        reply.succeed(rows);
      });
    });
  });
}

void ManagerAdaptor::RemoveServer(sdbus::Result<>&& result, std::string name) {
  const auto reply = context_.calls.answer(std::move(result));
  run(reply,
      [&editor = context_.editor, name = std::move(name), reply](uid_t) { editor.remove(name, answer_with(reply)); });
}

void ManagerAdaptor::InstallServer(sdbus::Result<sdbus::ObjectPath>&& result, std::string name, std::string package,
                                   Options options) {
  const auto reply = context_.calls.answer(std::move(result));
  guard(reply, [&] {
    auto values = to_values(options);
    auto read = values ? read_install_options(std::move(name), std::move(package), std::move(*values))
                       : hal::Result<InstallRequest>(values.error());
    if (!read) {
      reply.fail(read.error());
      return;
    }
    run(reply, [&editor = context_.editor, &jobs = context_.jobs, request = std::move(*read), reply](uid_t caller) {
      if (auto may = editor.may_install(request); !may) {
        reply.fail(may.error());
        return;
      }
      start_job(reply, jobs, "install-server", caller, [&](DaemonControl::Progress progress, Done<void> done) {
        return editor.install(request, std::move(progress), std::move(done));
      });
    });
  });
}

void ManagerAdaptor::ListImages(sdbus::Result<std::vector<ImageRow>>&& result) {
  const auto reply = context_.calls.answer(std::move(result));
  run(reply, [&images = context_.images, reply](uid_t) {
    images.list([reply](const hal::Result<std::vector<image::Image>>& listed) {
      if (!listed) {
        reply.fail(listed.error());
        return;
      }
      std::vector<ImageRow> rows;
      for (const auto& image : *listed) {
        rows.emplace_back(bus_text(image.reference), image.state, image.size_bytes, bus_text(image.generation),
                          bus_text(image.wanted), bus_text(image.id));
      }
      reply.succeed(rows);
    });
  });
}

void ManagerAdaptor::BuildImages(sdbus::Result<sdbus::ObjectPath>&& result, std::vector<std::string> images,
                                 Options options) {
  const auto reply = context_.calls.answer(std::move(result));
  guard(reply, [&] {
    auto values = to_values(options);
    auto read =
        values ? read_build_options(std::move(images), std::move(*values)) : hal::Result<BuildRequest>(values.error());
    if (!read) {
      reply.fail(read.error());
      return;
    }
    run(reply, [&control = context_.images, &jobs = context_.jobs, request = std::move(*read), reply](uid_t caller) {
      if (auto may = control.may_begin(request.names); !may) {
        reply.fail(may.error());
        return;
      }
      start_job(reply, jobs, "build-images", caller, [&](DaemonControl::Progress progress, Done<void> done) {
        return control.build(request, std::move(progress), std::move(done));
      });
    });
  });
}

void ManagerAdaptor::LoadImages(sdbus::Result<sdbus::ObjectPath>&& result, sdbus::UnixFd archive) {
  const auto reply = context_.calls.answer(std::move(result));
  guard(reply, [&] {
    auto fd = compat::from_bus(archive);
    if (!fd) {
      reply.fail(errno_error("taking the archive's descriptor"));
      return;
    }
    run(reply, [&control = context_.images, &jobs = context_.jobs, reply,
                shared = std::make_shared<UniqueFd>(std::move(fd))](uid_t caller) {
      if (auto may = control.may_begin({}); !may) {
        reply.fail(may.error());
        return;
      }
      start_job(reply, jobs, "load-images", caller, [&](DaemonControl::Progress progress, Done<void> done) {
        return control.load(std::move(*shared), std::move(progress), std::move(done));
      });
    });
  });
}

std::string ManagerAdaptor::Version() {
  return guard_value([&] { return context_.daemon.version(); });
}

std::string ManagerAdaptor::State() {
  return guard_value([&] { return context_.daemon.state(); });
}

std::uint32_t ManagerAdaptor::NWorkers() {
  return guard_value([&] { return static_cast<std::uint32_t>(context_.registry.all().size()); });
}

std::map<std::string, sdbus::Variant> ManagerAdaptor::Engine() {
  return guard_value([&] { return to_dictionary(context_.daemon.engine()); });
}

std::vector<std::string> ManagerAdaptor::Features() {
  return guard_value([&] { return context_.daemon.features(); });
}

}  // namespace hal::bus
