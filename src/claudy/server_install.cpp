#include "claudy/server_install.hpp"

#include "base/text.hpp"
#include "claudy/client.hpp"
#include "claudy/job.hpp"
#include "claudy/output.hpp"
#include "claudy/reply.hpp"
#include "claudy/verbs.hpp"
#include "json/json.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

/** Verbs that install MCP servers and remove them. */
namespace hal::claudy {

Result<void> install_and_wait(Bus& bus, const ServerInstallOptions& options) {
  Options given;
  if (!options.args.empty()) {
    given.emplace_back("args", options.args);
  }
  if (!options.env.empty()) {
    given.emplace_back("env", options.env);
  }
  for (const auto& [key, text] : {std::pair("mode", options.mode), std::pair("bin", options.bin)}) {
    if (!text.empty()) {
      given.emplace_back(key, text);
    }
  }
  for (const auto& [key, flag] : {std::pair("scripts", options.scripts), std::pair("replace", options.replace)}) {
    if (flag) {
      given.emplace_back(key, flag);
    }
  }
  return run_job(bus, manager_method("InstallServer"), {Value(options.name), Value(options.package), given});
}

Result<int> install_server(const Global& global, const ServerInstallOptions& options) {
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  if (const auto done = install_and_wait(**bus, options); !done) {
    return done.error();
  }
  const auto server = server_properties(**bus, options.name);
  if (!server) {
    return server.error();
  }
  const auto printed =
      print(options.json ? hal::json::dump_pretty(*server) + "\n"
                         : fmt::format("{}: {} ({})\n", options.name, text::printable(text_of(*server, "package")),
                                       text::printable(text_of(*server, "config_file"))));
  return printed ? Result<int>(0) : Result<int>(printed.error());
}

Result<int> uninstall_server(const Global& global, const std::string& name) {
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  const auto reply = (*bus)->call(manager_method("RemoveServer"), {Value(name)});
  return reply ? Result<int>(0) : Result<int>(reply.error());
}

}  // namespace hal::claudy
