#include "jsonrpc/envelope.hpp"
#include "relay/client_side.hpp"
#include "relay/gateway_side.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using namespace hal::relay;

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

Line scan(std::string_view text, std::size_t piece) {
  LineScanner scanner;
  while (!text.empty()) {
    text.remove_prefix(scanner.pass(text.substr(0, piece)));
    if (scanner.at_line_end()) {
      break;
    }
  }
  return scanner.line();
}

/** For every message that is one, the scanner sees what the whole-line parser sees. */
void agrees_with_envelope(std::string_view line) {
  const auto envelope = hal::jsonrpc::scan(line);
  const bool request = envelope.kind == hal::jsonrpc::Kind::request;
  const bool plain = line.find('\\') == std::string_view::npos && envelope.id.size() <= max_id_bytes;
  if (!plain || (!request && !envelope.is_response()) || envelope.id == "null") {
    return;
  }
  const Line seen = scan(std::string(line) + "\n", line.size() + 1);
  require(seen.id == envelope.id);
  require(request ? seen.is_request() : seen.is_response());
}

}  // namespace

// The first byte chooses the pieces; the rest is what comes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  const std::size_t piece = data[0] % 16 + 1U;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Line whole = scan(text, text.size() + 1);
  const Line pieces = scan(text, piece);
  require(whole.id == pieces.id && whole.method == pieces.method && whole.request_id == pieces.request_id);
  agrees_with_envelope(text.substr(0, text.find('\n')));

  GatewaySide gateway;
  ClientSide client;
  std::string up;
  std::string down;
  for (std::size_t at = 0; at < text.size(); at += piece) {
    const auto part = text.substr(at, piece);
    gateway.append(part, [](const Line&) { return GatewaySide::Verdict::deliver; });
    down += gateway.next();
    gateway.written(gateway.next().size());
    client.append(part);
    const auto next = client.next().substr(0, piece);
    up += next;
    client.sent(next.size());
  }
  up += client.next();
  require(up == text);
  require(down == text.substr(0, down.size()));
  std::string answers;
  client.connection_lost(answers);
  gateway.connection_lost();
  return 0;
}
