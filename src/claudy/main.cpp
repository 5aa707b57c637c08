#include "claudy/cli.hpp"
#include "claudy/exit_code.hpp"
#include "claudy/output.hpp"

#include <clocale>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace {

using hal::claudy::Command;
using hal::claudy::Information;

hal::Result<int> run(std::vector<std::string> arguments) {
  auto parsed = hal::claudy::parse_command_line(std::move(arguments));
  if (!parsed) {
    return parsed.error();
  }
  if (const auto* information = std::get_if<Information>(&*parsed)) {
    const auto printed = hal::claudy::print(information->text);
    return printed ? hal::Result<int>(0) : hal::Result<int>(printed.error());
  }
  const auto& command = std::get<Command>(*parsed);
  return command.run(command.global);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    (void)std::setlocale(LC_CTYPE, "");  // for the width of characters in tables
    const auto code = run(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
    if (!code) {
      hal::claudy::say(code.error().message);
      return hal::claudy::exit_code(code.error().code);
    }
    return *code;
  } catch (const std::exception& error) {
    (void)std::fprintf(stderr, "claudy: %s: this is a bug, or claudy and the daemon are of different versions\n",
                       error.what());
    return 1;
  }
}
