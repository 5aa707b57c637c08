#include "jsonrpc/message.hpp"

#include "jsonrpc/envelope.hpp"

#include <fmt/format.h>

namespace hal::jsonrpc {

std::string error_response(std::string_view id, int code, std::string_view message, std::string_view data) {
  return fmt::format(R"({{"jsonrpc":"2.0","id":{},"error":{{"code":{},"message":{}{}{}}}}})", id.empty() ? "null" : id,
                     code, quote(message), data.empty() ? "" : ",\"data\":", data);
}

std::string result_response(std::string_view id, std::string_view result) {
  return fmt::format(R"({{"jsonrpc":"2.0","id":{},"result":{}}})", id, result);
}

std::string request(std::string_view id, std::string_view method, std::string_view params) {
  return fmt::format(R"({{"jsonrpc":"2.0","id":{},"method":{}{}{}}})", id, quote(method),
                     params.empty() ? "" : ",\"params\":", params);
}

std::string notification(std::string_view method, std::string_view params) {
  return fmt::format(R"({{"jsonrpc":"2.0","method":{}{}{}}})", quote(method),
                     params.empty() ? "" : ",\"params\":", params);
}

}  // namespace hal::jsonrpc
