#pragma once

#include <string>
#include <string_view>

/** Messages of our own, as lines without a newline. `id` is raw JSON text, `params` and `result` JSON text. */
namespace hal::jsonrpc {

/** `data` is JSON text, left out where it is empty. */
[[nodiscard]] std::string error_response(std::string_view id, int code, std::string_view message,
                                         std::string_view data = {});
[[nodiscard]] std::string result_response(std::string_view id, std::string_view result);
/** Empty params are left out. */
[[nodiscard]] std::string request(std::string_view id, std::string_view method, std::string_view params);
[[nodiscard]] std::string notification(std::string_view method, std::string_view params);

}  // namespace hal::jsonrpc
