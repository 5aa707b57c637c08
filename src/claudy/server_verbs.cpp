#include "base/text.hpp"
#include "claudy/client.hpp"
#include "claudy/exit_code.hpp"
#include "claudy/reply.hpp"
#include "claudy/table.hpp"
#include "claudy/verbs.hpp"
#include "json/json.hpp"

#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

/** Verbs that use an MCP server or look at what it says. */
namespace hal::claudy {

namespace {

using nlohmann::json;

constexpr auto call_timeout = std::chrono::minutes(11);
/** A server that never stops giving cursors is given up. */
constexpr std::size_t max_pages = 1000;
constexpr std::size_t max_description_bytes = 100;

/** A call's result may be as deep as MCP lets it be. */
Result<json> parse_result(const std::string& text) {
  auto result = hal::json::parse(text);
  return result ? result : Error{Errc::protocol, "the server's answer cannot be read: " + result.error().message};
}

/** The result's JSON text. */
Result<std::string> ask(Bus& bus, const std::string& server, const std::string& method, const std::string& params) {
  const auto reply = bus.call(server_method(server, "Call"), {Value(method), Value(params)}, call_timeout);
  if (!reply) {
    return reply.error();
  }
  return reply->body().at(0).get<std::string>();
}

Result<int> printed(const std::string& text, int code = 0) {
  const auto done = print(text);
  return done ? Result<int>(code) : Result<int>(done.error());
}

std::string string_of(const json& object, const char* key) {
  return hal::json::string_at(object, key).value_or("");
}

/** One item of a result's content, for people. */
std::string content_text(const json& item) {
  const auto type = string_of(item, "type");
  if (type == "text") {
    const auto text = string_of(item, "text");
    return text.ends_with('\n') ? text : text + "\n";
  }
  if (type == "resource_link") {
    return fmt::format("[resource {}]\n", string_of(item, "uri"));
  }
  if (type == "resource" && item.contains("resource")) {
    const auto& resource = item["resource"];
    const auto text = string_of(resource, "text");
    return text.empty() ? fmt::format("[resource {}]\n", string_of(resource, "uri")) : text + "\n";
  }
  return fmt::format("[{} {}]\n", type.empty() ? "content" : type, string_of(item, "mimeType"));
}

/** What a tool answered; text may hold what a terminal obeys, which the caller asked for and a pipe wants as it is. */
std::string result_text(const json& result) {
  std::string text;
  if (const auto content = hal::json::array_at(result, "content"); content) {
    for (const auto& item : **content) {
      text += item.is_object() ? content_text(item) : "";
    }
  }
  if (::isatty(STDOUT_FILENO) == 0) {
    return text;
  }
  std::string safe;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    safe += (byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f ? '?' : c;
  }
  return safe;
}

Result<json> read_tools(Bus& bus, const std::string& server) {
  json tools = json::array();
  json params = json::object();
  for (std::size_t page = 0; page < max_pages; ++page) {
    const auto text = ask(bus, server, "tools/list", hal::json::dump(params));
    const auto result = text ? parse_result(*text) : Result<json>(text.error());
    if (!result) {
      return result.error();
    }
    const auto more = hal::json::array_at(*result, "tools");
    const auto cursor = hal::json::optional_string_at(*result, "nextCursor");
    if (!more || !cursor) {
      return Error{Errc::protocol, "the server's list of tools: " + (!more ? more.error() : cursor.error()).message};
    }
    tools.insert(tools.end(), (*more)->begin(), (*more)->end());
    if (!*cursor) {
      return tools;
    }
    params["cursor"] = **cursor;
  }
  return Error{Errc::limit, fmt::format("the server's list of tools has more than {} pages", max_pages)};
}

std::string tool_table(const json& tools) {
  Table table({"TOOL", "ARGUMENTS", "DESCRIPTION"});
  for (const auto& tool : tools) {
    std::string arguments;
    const auto schema = hal::json::object_at(tool, "inputSchema");
    const auto properties = schema ? hal::json::optional_object_at(**schema, "properties") : schema;
    const auto required = schema ? hal::json::optional_strings_at(**schema, "required") : std::vector<std::string>{};
    if (properties && *properties != nullptr) {
      for (const auto& [name, ignored] : (*properties)->items()) {
        const bool needed = required && std::find(required->begin(), required->end(), name) != required->end();
        arguments += fmt::format("{}{}", arguments.empty() ? "" : " ", needed ? name : "[" + name + "]");
      }
    }
    auto description = string_of(tool, "description");
    description = description.substr(0, description.find('\n'));
    table.add({string_of(tool, "name"), arguments, text::printable(description, max_description_bytes)});
  }
  return table.text();
}

}  // namespace

Result<int> list_tools(const Global& global, const ShowOptions& options) {
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  if (const auto server = server_properties(**bus, options.name); !server) {
    return server.error();
  }
  const auto tools = read_tools(**bus, options.name);
  if (!tools) {
    return tools.error();
  }
  return printed(options.json ? hal::json::dump_pretty(*tools) + "\n" : tool_table(*tools));
}

Result<int> call_server(const Global& global, const ServerCallOptions& options) {
  json arguments = json::object();
  if (!options.arguments.empty()) {
    auto parsed = hal::json::parse(options.arguments);
    if (!parsed || !parsed->is_object()) {
      return Error{Errc::invalid_argument,
                   fmt::format("the arguments are no JSON object{}", parsed ? "" : ": " + parsed.error().message)};
    }
    arguments = std::move(*parsed);
  }
  const auto bus = Bus::open(global.user);
  if (!bus) {
    return bus.error();
  }
  if (const auto server = server_properties(**bus, options.name); !server) {
    return server.error();
  }
  const bool is_method = options.tool.find('/') != std::string::npos;
  const auto params =
      is_method ? options.arguments : hal::json::dump({{"name", options.tool}, {"arguments", std::move(arguments)}});
  const auto text = ask(**bus, options.name, is_method ? options.tool : "tools/call", params);
  if (!text) {
    return text.error();
  }
  const auto result = parse_result(*text);
  const int code = result && !is_method && result->value("isError", json()) == true ? 1 : 0;
  if (!result || is_method || options.json) {
    const bool pretty = result && (options.json || ::isatty(STDOUT_FILENO) != 0);
    return printed((pretty ? hal::json::dump_pretty(*result) : *text) + "\n", code);
  }
  return printed(result_text(*result), code);
}

Result<int> server_logs(const Global& global, const ServerLogsOptions& options) {
  {
    const auto bus = Bus::open(global.user);
    if (!bus) {
      return bus.error();
    }
    if (const auto server = server_properties(**bus, options.name); !server) {
      return server.error();
    }
  }
  if (sd_booted() <= 0) {
    return Error{Errc::unavailable,
                 "no journal runs here: what MCP servers say stands in the output of hal9000d, after their names"};
  }
  std::vector<std::string> words = {"journalctl", "HAL9000_SERVER=" + options.name};
  if (options.lines) {
    words.insert(words.end(), {"-n", fmt::to_string(*options.lines)});
  }
  if (options.follow) {
    words.emplace_back("-f");
  }
  if (options.json) {
    words.insert(words.end(), {"-o", "json"});
  }
  std::vector<char*> argv;
  for (auto& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  return errno_error("journalctl", errno);
}

}  // namespace hal::claudy
