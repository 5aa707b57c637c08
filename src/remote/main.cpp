#include "base/error.hpp"
#include "base/log.hpp"
#include "build_config.hpp"
#include "event/loop.hpp"
#include "event/sources.hpp"
#include "remote/program.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cstdlib>
#include <exception>
#include <string>

#include <CLI/CLI.hpp>

namespace {

using namespace hal;

UniqueFd own(int fd) {
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!copy) {
    throw_errno("fcntl(F_DUPFD_CLOEXEC)");
  }
  return copy;
}

int run() {
  // No core files, and nobody else of this user looks into memory that holds secrets.
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) {
    throw_errno("prctl(PR_SET_DUMPABLE)");
  }
  rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {  // a request takes one
    descriptors.rlim_cur = descriptors.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &descriptors);
  }
  event::block_signals();
  event::Loop loop;
  const char* ca_file = std::getenv("SSL_CERT_FILE");
  remote::Program program(loop, own(0), own(1), ca_file != nullptr ? ca_file : "");
  return loop.run();
}

}  // namespace

int main(int argc, char** argv) {
  log::start("hal9000-remote");
  CLI::App app("An MCP server elsewhere, over HTTP, as one with stdin and stdout. hal9000d starts it.");
  std::string name;
  app.add_option("NAME", name, "what the server is called here")->required();
  app.footer("The first line of stdin has the settings (docs/MCP.md); SSL_CERT_FILE names certificates to trust.");
  app.set_version_flag("--version", std::string("hal9000-remote ") + build::version);
  CLI11_PARSE(app, argc, argv);
  try {
    return run();
  } catch (const std::exception& error) {
    log::critical({}, "cannot run: {}", error.what());
    return EXIT_FAILURE;
  }
}
