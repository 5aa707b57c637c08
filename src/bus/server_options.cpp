#include "bus/server_options.hpp"

#include "base/limits.hpp"
#include "base/text.hpp"
#include "bus/option_reader.hpp"

#include <utility>

#include <fmt/format.h>

namespace hal::bus {

Result<AddOptions> read_add_options(Values values) {
  OptionReader reader(std::move(values));
  AddOptions options;
  options.replace = reader.take<bool>("replace").value_or(false);
  options.dry_run = reader.take<bool>("dry_run").value_or(false);
  const auto done = reader.finish();
  return done ? Result<AddOptions>(options) : done.error();
}

Result<InstallRequest> read_install_options(std::string name, std::string package, Values values) {
  if (!text::is_name(name)) {
    return Error{Errc::invalid_argument,
                 fmt::format("name: '{}' is no name: a letter or digit, then letters, digits, '.', '_' and '-', 64 at "
                             "most",
                             text::printable(name, 64))};
  }
  OptionReader reader(std::move(values));
  InstallRequest request;
  request.name = std::move(name);
  request.package = std::move(package);
  request.args = reader.take<std::vector<std::string>>("args");
  request.env = reader.take<std::map<std::string, std::string>>("env");
  request.mode = reader.take<std::string>("mode").value_or("");
  request.bin = reader.take<std::string>("bin").value_or("");
  request.scripts = reader.take<bool>("scripts").value_or(false);
  request.replace = reader.take<bool>("replace").value_or(false);
  if (request.args && request.args->size() >= limits::argv_words) {
    reader.refuse("args", fmt::format("of at most {} words", limits::argv_words - 1), Errc::limit);
  }
  if (request.env && request.env->size() > limits::env_entries) {
    reader.refuse("env", fmt::format("of at most {} entries", limits::env_entries), Errc::limit);
  }
  if (!request.mode.empty() && request.mode != "shared" && request.mode != "session") {
    reader.refuse("mode", "\"shared\" or \"session\"");
  }
  auto done = reader.finish();
  return done ? Result<InstallRequest>(std::move(request)) : done.error();
}

Result<BuildRequest> read_build_options(std::vector<std::string> names, Values values) {
  if (names.size() > limits::argv_words) {
    return Error{Errc::limit, fmt::format("images: at most {} names", limits::argv_words)};
  }
  OptionReader reader(std::move(values));
  BuildRequest request;
  request.refresh = reader.take<bool>("refresh").value_or(false);
  request.names = std::move(names);
  auto done = reader.finish();
  return done ? Result<BuildRequest>(std::move(request)) : done.error();
}

}  // namespace hal::bus
