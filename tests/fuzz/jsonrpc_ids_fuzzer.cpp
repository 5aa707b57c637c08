#include "jsonrpc/envelope.hpp"
#include "jsonrpc/message.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace hal;

namespace {

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

/** Whether a request may have this id. What may comes back byte for byte. */
bool is_id(const std::string& raw) {
  const std::string line = R"({"jsonrpc":"2.0","method":"x","id":)" + raw + "}";
  const auto message = jsonrpc::scan(line);
  if (message.kind != jsonrpc::Kind::request || message.id != raw) {
    return false;
  }
  const auto result = jsonrpc::result_response(raw, "{}");
  const auto error = jsonrpc::error_response(raw, -1, raw);
  const auto answer = jsonrpc::scan(result);
  const auto failure = jsonrpc::scan(error);
  require(answer.kind == jsonrpc::Kind::result && answer.id == raw);
  require(failure.kind == jsonrpc::Kind::error && failure.id == raw);
  return true;
}

bool is_string(const std::string& raw) {
  return raw.front() == '"';
}

}  // namespace

/** Two ids, parted by a newline: their keys are equal where their values are, and never a number's and a string's. */
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto end = std::min(text.find('\n'), text.size());
  const std::string one = text.substr(0, end);
  const std::string other = text.substr(std::min(end + 1, text.size()));
  (void)jsonrpc::id_key(one);
  (void)jsonrpc::unescape(one);
  if (!is_id(one)) {
    return 0;
  }
  const auto key = jsonrpc::id_key(one);
  require(!key.empty() && is_string(key) == is_string(one));
  if (is_string(one)) {
    require(jsonrpc::id_key(jsonrpc::quote(jsonrpc::unescape(one))) == key);
  } else {
    require(key == one);
  }
  if (is_id(other)) {
    const bool same =
        is_string(one) && is_string(other) ? jsonrpc::unescape(one) == jsonrpc::unescape(other) : one == other;
    require(same == (jsonrpc::id_key(other) == key));
  }
  return 0;
}
