#pragma once

#include "jsonrpc/envelope.hpp"

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hal::jsonrpc {

/** Which arguments of a server's tools are repeated in headers over HTTP (x-mcp-header in their schemas, 2026-07-28).
 */
class ToolHeaders {
 public:
  /** One of a call's: what follows "Mcp-Param-" in the header's name, and the raw value, a string, number or boolean.
   */
  struct Value {
    std::string_view header;
    std::string_view raw;
  };

  /** A result of tools/list. */
  void learn(std::string_view result);
  void forget() { tools_.clear(); }
  [[nodiscard]] std::size_t size() const { return tools_.size(); }
  /** The views are good as long as the call's text and this stay. */
  [[nodiscard]] std::vector<Value> values(const Envelope& call) const;

 private:
  struct Parameter {
    std::string header;
    /** Keys from the arguments to the value. */
    std::vector<std::string> path;
  };
  void learn_tool(std::string_view tool);
  /** Whether the schema's annotations so far are valid. */
  [[nodiscard]] static bool collect(std::string_view schema, std::vector<std::string>& path,
                                    std::vector<Parameter>& found);

  std::map<std::string, std::vector<Parameter>, std::less<>> tools_;
};

}  // namespace hal::jsonrpc
