#include "jsonrpc/envelope.hpp"

#include <unistd.h>

#include <cstdlib>
#include <string>
#include <string_view>

/**
 * The quickest MCP server there can be: answers every request with its params, and {"bytes":N} with N bytes of text.
 * For measuring what is before it.
 */
namespace {

using namespace hal;

void write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (written <= 0) {
      _exit(1);
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::string answer(std::string_view line) {
  const auto message = jsonrpc::scan(line);
  if (message.kind != jsonrpc::Kind::request) {
    return {};
  }
  std::string result(message.params.empty() ? "{}" : message.params);
  if (constexpr std::string_view wish = R"({"bytes":)"; message.params.starts_with(wish)) {
    const auto bytes = std::strtoul(result.c_str() + wish.size(), nullptr, 10);
    result = R"({"text":")" + std::string(bytes, 'x') + R"("})";
  }
  if (message.method() == "initialize") {
    result =
        R"({"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"echo","version":"1"}})";
  }
  return R"({"jsonrpc":"2.0","id":)" + std::string(message.id) + R"(,"result":)" + result + "}\n";
}

}  // namespace

int main() {
  std::string input;
  std::string output;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t bytes = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (bytes <= 0) {
      return 0;
    }
    const std::size_t scanned = input.size();
    input.append(buffer, static_cast<std::size_t>(bytes));
    std::size_t done = 0;
    for (auto end = input.find('\n', scanned); end != std::string::npos; end = input.find('\n', done)) {
      output += answer(std::string_view(input).substr(done, end - done));
      done = end + 1;
    }
    input.erase(0, done);
    write_all(output);
    output.clear();
  }
}
