#include "daemon/install_server.hpp"

#include "base/log.hpp"
#include "daemon/server_editor.hpp"
#include "json/json.hpp"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::daemon {

namespace {

using nlohmann::json;

/** The gateway gives a process 30 s to start; servers that load a model take longer than others to answer. */
constexpr std::chrono::seconds answer_deadline{90};
constexpr double progress_of_entry = 0.8;
constexpr double progress_of_start = 0.9;

/** Whether this server was installed by us, and not merely added. */
bool is_installed(const json& object) {
  const auto own = hal::json::optional_object_at(object, "hal9000");
  return own && *own != nullptr && (*own)->contains("package");
}

/** The entry: what was not asked for stays as the installation before has it. */
json entry_of(const bus::InstallRequest& request, const install::Installed& installed, json object) {
  object["command"] = installed.program;
  if (request.args) {
    object["args"] = *request.args;
  }
  if (request.env) {
    object["env"] = *request.env;
  }
  if (!request.mode.empty()) {
    object["hal9000"]["mode"] = request.mode;
  }
  object["hal9000"]["package"] = installed.package.text();
  return object;
}

/** The server answered; that it has no tools is an answer too. */
bool has_started(const Result<std::string>& answer) {
  if (answer) {
    return true;
  }
  switch (answer.error().code) {
    case Errc::not_found:
    case Errc::invalid_argument:
    case Errc::internal:
    case Errc::limit:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<void> may_replace(const bus::InstallRequest& request, const server::Definition& definition,
                         const std::string& file) {
  if (definition.file != file) {
    return Error{Errc::already_exists,
                 fmt::format("{} is defined in {}, which only its author changes", request.name, definition.file)};
  }
  const auto object = hal::json::parse(definition.object);
  if (!request.replace && !(object && is_installed(*object))) {
    return Error{Errc::already_exists,
                 fmt::format("{} was added, not installed: use the option replace", request.name)};
  }
  return {};
}

InstallServer::InstallServer(ServerEditor& editor, bus::InstallRequest request, bus::DaemonControl::Progress progress,
                             Done<void> done)
    : editor_(editor),
      request_(std::move(request)),
      progress_(std::move(progress)),
      done_(std::move(done)),
      deadline_(editor.parts().loop, "first answer of " + request_.name, [this] {
        give_up({Errc::timed_out, fmt::format("it did not answer within {} s", answer_deadline.count())});
      }) {
  const auto package = install::parse_package(request_.package);  // may_install() has looked
  undo_->run = editor_.parts().installer.install(
      {request_.name, *package, request_.bin, request_.scripts},
      [this](double fraction, std::string message) { progress_(fraction * progress_of_entry, std::move(message)); },
      [this](const Result<install::Installed>& installed) { on_installed(installed); });
}

InstallServer::~InstallServer() {
  undo_->abandoned = true;
  if (undo_->written) {
    put_back(editor_, undo_, [](const Result<void>&) {});
  } else if (!undo_->before) {
    undo_->run.reset();
  }  // else the entry is being written
}

void InstallServer::on_installed(const Result<install::Installed>& installed) {
  if (!installed) {
    finish(installed.error());
    return;
  }
  progress_(progress_of_entry, fmt::format("writes the entry of {}", installed->package.text()));
  auto decide = [&editor = editor_, request = request_, installed = *installed,
                 undo = undo_](const server::ServerConfigs& defined) -> Result<std::vector<server::FileChange>> {
    const auto file = server::managed_file(editor.parts().directory, request.name);
    if (undo->abandoned) {
      return Error{Errc::cancelled, "cancelled"};
    }
    json object = json::object();
    server::FileChange before{file, std::nullopt};
    if (const auto found = defined.definitions.find(request.name); found != defined.definitions.end()) {
      if (auto may = may_replace(request, found->second, file); !may) {
        return may.error();
      }
      auto old = hal::json::parse(found->second.object);
      if (old) {
        before.text = hal::json::dump_pretty({{"mcpServers", {{request.name, *old}}}}) + "\n";
      }
      if (old && is_installed(*old)) {
        object = std::move(*old);
      }
    }
    const json servers{{"mcpServers", {{request.name, entry_of(request, installed, std::move(object))}}}};
    const auto plan =
        server::plan_servers(hal::json::dump(servers), defined, editor.parts().directory, editor.parts().options);
    if (!plan) {
      return plan.error();
    }
    if (plan->front().change == server::Change::refused) {
      return Error{plan->front().code, plan->front().detail};
    }
    undo->before = std::move(before);
    return std::vector<server::FileChange>{{file, plan->front().text}};
  };
  editor_.change(std::move(decide), [&editor = editor_, undo = undo_,
                                     next = alive_.wrap([this](const Result<void>& result) { on_written(result); })](
                                        const Result<void>& result) {
    if (!undo->abandoned) {
      next(result);
    } else if (undo->before) {
      put_back(editor, undo, [](const Result<void>&) {});
    } else {
      undo->run.reset();
    }
  });
}

void InstallServer::on_written(const Result<void>& result) {
  undo_->written = undo_->before.has_value();
  if (!result) {
    give_up(result.error());
    return;
  }
  progress_(progress_of_start, fmt::format("waits for the first answer of {}", request_.name));
  deadline_.arm(answer_deadline);
  editor_.parts().supervisor.start(request_.name,
                                   alive_.wrap([this](const Result<void>& started) { on_started(started); }));
}

void InstallServer::on_started(const Result<void>& result) {
  if (!result) {
    give_up(result.error());
    return;
  }
  editor_.parts().data_plane.call(request_.name, "tools/list", "",
                                  alive_.wrap([this](const Result<std::string>& answer) { on_answer(answer); }));
}

void InstallServer::on_answer(const Result<std::string>& answer) {
  if (!done_) {
    return;
  }
  if (!has_started(answer)) {
    give_up(answer.error());
    return;
  }
  undo_->written = false;
  editor_.sweep();
  log::notice({}, "MCP server {} installed from {}", request_.name, request_.package);
  finish({});
}

/** The new one does not work: the old one comes back. */
void InstallServer::give_up(const Error& error) {
  deadline_.disarm();
  const auto* server = editor_.parts().supervisor.find(request_.name);
  const auto& reason = server != nullptr && !server->reason.empty() ? server->reason : error.message;
  const Error failed{error.code, fmt::format("{} was installed, but cannot be used: {}", request_.package, reason)};
  if (!std::exchange(undo_->written, false)) {
    finish(failed);
    return;
  }
  put_back(editor_, undo_, alive_.wrap([this, failed](const Result<void>&) { finish(failed); }));
}

void InstallServer::put_back(ServerEditor& editor, const std::shared_ptr<Undo>& undo, Done<void> done) {
  editor.change([undo](const server::ServerConfigs&) { return std::vector<server::FileChange>{*undo->before}; },
                [&editor, undo, done = std::move(done)](const Result<void>& result) {
                  if (!result) {
                    log::error({}, "{} cannot be put back: {}", undo->before->path, result.error().message);
                  }
                  editor.sweep();
                  undo->run.reset();
                  done(result);
                });
}

void InstallServer::finish(const Result<void>& result) {
  deadline_.disarm();
  undo_->run.reset();
  if (const auto done = std::exchange(done_, nullptr)) {
    done(result);
  }
}

}  // namespace hal::daemon
