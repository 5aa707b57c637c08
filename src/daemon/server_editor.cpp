#include "daemon/server_editor.hpp"

#include "base/log.hpp"
#include "base/text.hpp"
#include "daemon/install_server.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

namespace hal::daemon {

namespace {

constexpr std::size_t max_pending = 64;
constexpr std::size_t max_installing = 4;
constexpr std::chrono::seconds write_deadline{60};

/** Which files the plan writes, or why it must not. */
Result<std::vector<server::FileChange>> files_of(const std::vector<server::PlannedServer>& plan,
                                                 const std::string& directory, bool replace) {
  std::vector<server::FileChange> files;
  for (const auto& server : plan) {
    if (server.change == server::Change::refused) {
      return Error{server.code, server.detail};
    }
    if (server.change == server::Change::replaced && !replace) {
      return Error{Errc::already_exists,
                   fmt::format("{} is there and differs in {}: use the option replace", server.name, server.detail)};
    }
    if (server.change != server::Change::same) {
      files.push_back({server::managed_file(directory, server.name), server.text});
    }
  }
  return files;
}

}  // namespace

ServerEditor::ServerEditor(Parts parts)
    : parts_(std::move(parts)), next_(parts_.loop, "change of MCP servers", [this] { next(); }) {}

ServerEditor::~ServerEditor() = default;

void ServerEditor::add(std::string servers, bus::AddOptions options, Done<std::vector<bus::ServerChange>> done) {
  const auto changes = std::make_shared<std::vector<bus::ServerChange>>();
  change(
      [this, servers = std::move(servers), options,
       changes](const server::ServerConfigs& defined) -> Result<std::vector<server::FileChange>> {
        const auto plan = server::plan_servers(servers, defined, parts_.directory, parts_.options);
        if (!plan) {
          return plan.error();
        }
        for (const auto& server : *plan) {
          changes->push_back({server.name, std::string(server::name(server.change)), server.detail});
        }
        if (options.dry_run) {
          return std::vector<server::FileChange>{};
        }
        return files_of(*plan, parts_.directory, options.replace);
      },
      [changes, done = std::move(done)](const Result<void>& result) {
        if (result) {
          done(std::move(*changes));
        } else {
          done(result.error());
        }
      });
}

void ServerEditor::remove(const std::string& name, Done<void> done) {
  change(
      [this, name](const server::ServerConfigs& defined) -> Result<std::vector<server::FileChange>> {
        const auto found = defined.definitions.find(name);
        if (found == defined.definitions.end()) {
          return Error{Errc::not_found, fmt::format("there is no MCP server \"{}\"", text::printable(name))};
        }
        const auto file = server::managed_file(parts_.directory, name);
        if (found->second.file != file) {
          return Error{Errc::invalid_argument,
                       fmt::format("{} is defined in {}, which only its author changes", name, found->second.file)};
        }
        return std::vector<server::FileChange>{{file, std::nullopt}};
      },
      [this, done = std::move(done)](const Result<void>& result) {
        if (result) {
          sweep();
        }
        done(result);
      });
}

Result<void> ServerEditor::may_install(const bus::InstallRequest& request) const {
  if (const auto package = install::parse_package(request.package); !package) {
    return package.error().with("package");
  }
  const auto& defined = parts_.current().definitions;
  if (const auto found = defined.find(request.name); found != defined.end()) {
    if (auto may = may_replace(request, found->second, server::managed_file(parts_.directory, request.name)); !may) {
      return may;
    }
  }
  if (parts_.installer.busy(request.name)) {
    return Error{Errc::busy, fmt::format("{} is being installed already", request.name)};
  }
  if (parts_.installer.running() >= max_installing) {
    return Error{Errc::limit, fmt::format("{} MCP servers are being installed, which is the limit", max_installing)};
  }
  if (!parts_.data_plane.connected()) {
    return Error{Errc::unavailable, "the gateway is not connected: nobody could tell whether the server works"};
  }
  return {};
}

worker::OperationHandle ServerEditor::install(bus::InstallRequest request, bus::DaemonControl::Progress progress,
                                              Done<void> done) {
  return std::make_unique<InstallServer>(*this, std::move(request), std::move(progress), std::move(done));
}

void ServerEditor::change(Decide decide, Done<void> done) {
  if (pending_.size() >= max_pending) {
    event::post(parts_.loop, "refused change", [done = std::move(done)] {
      done(Error{Errc::busy, "too many changes of MCP servers wait already"});
    });
    return;
  }
  pending_.push_back({std::move(decide), std::move(done)});
  next_.schedule();
}

void ServerEditor::next() {
  if (writing_ || pending_.empty()) {
    return;
  }
  const auto defined = parts_.read();
  auto files = defined ? pending_.front().decide(*defined) : defined.error();
  if (!files) {
    finish(files.error());
  } else if (files->empty()) {
    finish({});
  } else {
    write(std::move(*files));
  }
}

void ServerEditor::write(std::vector<server::FileChange> files) {
  for (const auto& file : files) {
    log::notice({}, "{} {}", file.text ? "writing" : "removing", file.path);
  }
  writing_ = std::make_unique<process::ForkTask>(
      parts_.loop, "write MCP servers", write_deadline,
      [directory = parts_.directory, files = std::move(files)]() -> Result<process::TaskOutput> {
        auto written = server::write_files(directory, files);
        return written ? Result<process::TaskOutput>(process::TaskOutput{}) : written.error();
      },
      [this](const Result<process::TaskOutput>& output) {
        writing_.reset();
        // Whatever was written before a failure counts as well.
        const auto applied = parts_.apply();
        finish(output ? applied : Result<void>(output.error()));
      });
}

void ServerEditor::finish(const Result<void>& result) {
  const auto done = std::move(pending_.front().done);
  pending_.pop_front();
  next_.schedule();
  done(result);
}

void ServerEditor::sweep() {
  std::set<std::string> keep;
  for (const auto& [name, definition] : parts_.current().definitions) {
    keep.merge(parts_.installer.generations_in(definition.object));
  }
  parts_.installer.sweep(std::move(keep));
}

}  // namespace hal::daemon
