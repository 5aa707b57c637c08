#pragma once

#include "http/rules.hpp"
#include "jsonrpc/envelope.hpp"

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/** What revision 2026-07-28 demands of headers: they say again what stands in the body. Pure. */
namespace hal::http {

/** The value of Mcp-Name or Mcp-Param-*: as it stands, or "=?base64?…?=". Nothing for a broken encoding. */
[[nodiscard]] std::optional<std::string> decode_header_value(std::string_view value);

/** What of a request's headers contradicts its body, as a sentence. Not of tools' parameters. */
[[nodiscard]] std::optional<std::string> header_mismatch(const Head& head, const jsonrpc::Envelope& request);

/** Which arguments of a server's tools are told by headers as well (x-mcp-header in their schemas). */
class ToolHeaders {
 public:
  /** A result of tools/list. */
  void learn(std::string_view result);
  void forget() { tools_.clear(); }
  [[nodiscard]] std::size_t size() const { return tools_.size(); }
  /** What of a call's Mcp-Param-* headers contradicts its arguments, as a sentence. */
  [[nodiscard]] std::optional<std::string> mismatch(const Head& head, const jsonrpc::Envelope& call) const;

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

}  // namespace hal::http
