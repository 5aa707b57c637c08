#include "claudy/import_entry.hpp"

#include "base/limits.hpp"
#include "base/text.hpp"
#include "json/json.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::claudy {

namespace {

using nlohmann::json;

/** Milliseconds in Claude Code, seconds in others: nobody gives a server less than a second. */
constexpr double least_milliseconds = 1000;
constexpr double most_milliseconds = 86'400'000;
constexpr std::string_view state_directory = "STATE_DIRECTORY";

bool is_variable_name(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'; };
  return !name.empty() && letter(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

/** For the daemon, which expands variables itself: a "${" that is to stay one. */
std::string literal(std::string_view text) {
  std::string result;
  for (auto at = text.find("${"); at != std::string_view::npos; at = text.find("${")) {
    result.append(text.substr(0, at)).append("${_:-${}");
    text.remove_prefix(at + 2);
  }
  return result.append(text);
}

/** Why this server cannot be carried over; ends the reading of it. */
struct Skip {
  std::string reason;
};

class EntryReader {
 public:
  EntryReader(const json& object, const ImportContext& context, ImportedServer& server)
      : object_(object), context_(context), server_(server) {}

  void read() {
    if (!text::is_name(server_.name)) {
      throw Skip{"a name has letters, digits, '.', '_' and '-' here, 64 at most"};
    }
    if (!object_.is_object()) {
      throw Skip{"is no object"};
    }
    if (bool_of("disabled").value_or(false) || !bool_of("enabled").value_or(true)) {
      throw Skip{"is disabled there"};
    }
    if (has("headersHelper")) {
      throw Skip{"headersHelper is a program of yours that makes headers, which cannot be carried over"};
    }
    const auto transport = transport_of();
    if (transport == "stdio") {
      read_command();
    } else {
      read_remote(transport);
    }
    read_timeout();
    if (const auto* own = hal::json::find(object_, "hal9000"); own != nullptr) {
      if (!own->is_object()) {
        throw Skip{"hal9000: must be an object"};
      }
      entry_["hal9000"].update(*own);
    }
    note_the_rest();
    if (!variables_.empty()) {
      std::string names;
      for (const auto& name : variables_) {
        names += (names.empty() ? "" : ", ") + name;
      }
      server_.notes.push_back(fmt::format("the values of {} are taken from your environment now, and kept", names));
    }
    server_.entry = hal::json::dump(entry_);
  }

 private:
  [[nodiscard]] bool has(const char* key) const {
    const auto* value = hal::json::find(object_, key);
    return value != nullptr && !value->is_null();
  }

  [[nodiscard]] std::optional<bool> bool_of(const char* key) const {
    const auto value = hal::json::optional_bool_at(object_, key);
    if (!value) {
      throw Skip{value.error().message};
    }
    return *value;
  }

  /** Empty where there is none. */
  [[nodiscard]] std::string string_of(const char* key) const {
    const auto value = hal::json::optional_string_at(object_, key);
    if (!value) {
      throw Skip{value.error().message};
    }
    return (*value).value_or("");
  }

  [[nodiscard]] std::string url() const {
    for (const auto* key : {"url", "serverUrl", "httpUrl"}) {
      if (auto value = string_of(key); !value.empty()) {
        return value;
      }
    }
    return {};
  }

  [[nodiscard]] std::string transport_of() const {
    const auto type = string_of("type");
    if (type.empty()) {
      return !has("command") && !url().empty() ? "http" : "stdio";
    }
    if (type == "http" || type == "streamable-http" || type == "streamableHttp" || type == "streamable_http") {
      return "http";
    }
    if (type == "stdio" || type == "sse") {
      return type;
    }
    throw Skip{fmt::format("type '{}' cannot be carried over", text::printable(type, 40))};
  }

  static void check_mark(std::string_view text, const std::string& where) {
    if (text.find('\x01') != std::string_view::npos) {
      throw Skip{where + ": has a control character"};
    }
  }

  /** With the caller's variables, as plain text; the daemon's own stays as it is, between bytes no text has. */
  std::string expanded(std::string_view text, const std::string& where) {
    std::string result;
    check_mark(text, where);
    for (auto at = text.find("${"); at != std::string_view::npos; at = text.find("${")) {
      const auto end = text.find('}', at);
      const auto inside = end == std::string_view::npos ? std::string_view{} : text.substr(at + 2, end - at - 2);
      const auto separator = inside.find(":-");
      const std::string name(inside.substr(0, separator));
      result.append(text.substr(0, at));
      text.remove_prefix(at + 2);
      if (!is_variable_name(name)) {
        result.append("${");
        continue;
      }
      text.remove_prefix(inside.size() + 1);
      const auto value = name == state_directory ? std::nullopt : context_.variable(name);
      if (name == state_directory) {
        result.append("\x01");
      } else if (value && (!value->empty() || separator == std::string_view::npos)) {
        check_mark(*value, where);
        variables_.insert(name);
        result.append(*value);
      } else if (separator != std::string_view::npos) {
        result.append(inside.substr(separator + 2));
      } else {
        throw Skip{fmt::format("{}: the variable {} is not set in your environment", where, name)};
      }
    }
    return result.append(text);
  }

  /** As the daemon wants it. */
  static std::string for_daemon(const std::string& plain) {
    std::string result;
    for (const auto part : text::split(plain, '\x01')) {
      result += (part.data() == plain.data() ? "" : "${STATE_DIRECTORY}") + literal(part);
    }
    return result;
  }

  std::string read_text(const json& value, const std::string& where) {
    if (const auto* text = value.get_ptr<const json::string_t*>(); text != nullptr) {
      return expanded(*text, where);
    }
    if (value.is_number() || value.is_boolean()) {
      return hal::json::dump(value);  // ports and switches, written without quotes
    }
    throw Skip{where + ": must be a string"};
  }

  void show(const json& value) {
    server_.words.push_back(value.is_string() ? value.get<std::string>() : hal::json::dump(value));
  }

  std::map<std::string, std::string> read_texts(const char* key) {
    const auto object = hal::json::optional_object_at(object_, key);
    if (!object) {
      throw Skip{object.error().message};
    }
    std::map<std::string, std::string> texts;
    if (*object == nullptr) {
      return texts;
    }
    if ((*object)->size() > limits::env_entries) {
      throw Skip{fmt::format("{}: has more than {} entries", key, limits::env_entries)};
    }
    for (const auto& [name, value] : (*object)->items()) {
      texts[name] = for_daemon(read_text(value, fmt::format("{}.{}", key, text::printable(name, 64))));
    }
    return texts;
  }

  [[nodiscard]] bool in_home(std::string_view path) const {
    return context_.home.size() > 1 && path.starts_with(context_.home) &&
           (path.size() == context_.home.size() || path[context_.home.size()] == '/');
  }

  static bool is_relative(std::string_view path) {
    return !path.starts_with('/') && path.find('/') != std::string_view::npos;
  }

  void read_command() {
    const auto* command = hal::json::find(object_, "command");
    if (command == nullptr) {
      throw Skip{"has neither a command nor a url"};
    }
    std::vector<std::string> words = {read_text(*command, "command")};
    show(*command);
    const auto args = hal::json::optional_array_at(object_, "args");
    if (!args) {
      throw Skip{args.error().message};
    }
    for (std::size_t i = 0; *args != nullptr && i < (*args)->size(); ++i) {
      if (i >= limits::argv_words) {
        throw Skip{fmt::format("args: has more than {} words", limits::argv_words)};
      }
      words.push_back(read_text((**args)[i], fmt::format("args[{}]", i)));
      show((**args)[i]);
    }
    const auto env = read_texts("env");
    if (fetches_package(words)) {
      server_.package = package_command(words);
      if (!server_.package) {
        throw Skip{fmt::format("'{}' with such options is not understood: `claudy server install {} npm:… or pypi:…`",
                               text::printable(words.front(), 40), server_.name)};
      }
      for (auto& word : server_.package->args) {
        word = for_daemon(word);
      }
      server_.env = env;
    }
    read_directory();
    look_at_paths(words);
    for (auto& word : words) {
      word = for_daemon(word);
    }
    entry_["command"] = words.front();
    if (words.size() > 1) {
      entry_["args"] = std::vector<std::string>(words.begin() + 1, words.end());
    }
    if (!env.empty()) {
      entry_["env"] = env;
    }
  }

  void read_directory() {
    const auto* value = hal::json::find(object_, "cwd");
    if (value == nullptr || value->is_null()) {
      return;
    }
    const auto directory = read_text(*value, "cwd");
    if (!directory.starts_with('/') && !directory.starts_with('\x01')) {
      throw Skip{fmt::format("cwd: '{}' is no absolute path", text::printable(directory))};
    }
    if (in_home(directory)) {
      throw Skip{fmt::format("cwd: {} lies in your home, which MCP servers on the host cannot see",
                             text::printable(directory))};
    }
    entry_["cwd"] = for_daemon(directory);
  }

  /** Servers run as another user, elsewhere, and see no home. */
  void look_at_paths(const std::vector<std::string>& words) {
    const auto& command = words.front();
    if (!server_.package) {
      const auto install = fmt::format("if it is a package, `claudy server install {} npm:… or pypi:…`", server_.name);
      if (command.empty()) {
        throw Skip{"command: is empty"};
      }
      if (is_relative(command) && !entry_.contains("cwd")) {
        throw Skip{fmt::format("command: {} is a relative path; {}", text::printable(command), install)};
      }
      if (in_home(command)) {
        throw Skip{fmt::format("command: {} lies in your home, which MCP servers on the host cannot see; {}",
                               text::printable(command), install)};
      }
    }
    for (std::size_t i = 1; i < words.size(); ++i) {
      if ((words[i].starts_with("./") || words[i].starts_with("../")) && !entry_.contains("cwd")) {
        throw Skip{fmt::format("args[{}]: {} is a relative path", i - 1, text::printable(words[i]))};
      }
      if (in_home(words[i])) {
        server_.notes.push_back(
            fmt::format("args[{}] lies in your home, which MCP servers on the host cannot see", i - 1));
      }
    }
  }

  void read_remote(const std::string& transport) {
    const auto address = expanded(url(), "url");
    server_.words.push_back(url());
    if (!address.starts_with("http://") && !address.starts_with("https://")) {
      throw Skip{"url: must begin with http:// or https://"};
    }
    entry_["type"] = transport;
    entry_["url"] = for_daemon(address);
    if (const auto headers = read_texts("headers"); !headers.empty()) {
      entry_["headers"] = headers;
    }
    if (has("oauth")) {
      server_.notes.emplace_back("oauth cannot be carried over: the server may want a token among its headers");
    }
  }

  void read_timeout() {
    const auto* value = hal::json::find(object_, "timeout");
    if (value == nullptr || value->is_null()) {
      return;
    }
    const auto number = value->is_number() ? value->get<double>() : 0;
    const bool seconds = number < least_milliseconds;
    const double milliseconds = seconds ? number * 1000 : number;
    if (!(milliseconds >= 1 && milliseconds <= most_milliseconds)) {
      server_.notes.emplace_back("timeout makes no sense and is left out");
      return;
    }
    auto& target = entry_.contains("url") ? entry_["timeout"] : entry_["hal9000"]["request_timeout"];
    target = fmt::format("{}ms", static_cast<std::uint64_t>(milliseconds));
    server_.notes.push_back(
        fmt::format("timeout is taken for {} {}", hal::json::dump(*value), seconds ? "seconds" : "milliseconds"));
  }

  void note_the_rest() {
    constexpr std::array<std::string_view, 15> known{"command", "args",      "env",     "cwd",     "type",
                                                     "url",     "serverUrl", "httpUrl", "headers", "timeout",
                                                     "hal9000", "disabled",  "enabled", "oauth",   "headersHelper"};
    for (const auto& [key, ignored] : object_.items()) {
      if (key == "alwaysAllow" || key == "autoApprove") {
        server_.notes.push_back(fmt::format("{} is a matter of the client and left out", key));
      } else if (std::find(known.begin(), known.end(), key) == known.end() && server_.notes.size() < 32) {
        server_.notes.push_back(fmt::format("{} has no meaning here and is left out", text::printable(key, 64)));
      }
    }
  }

  const json& object_;
  const ImportContext& context_;
  ImportedServer& server_;
  json entry_ = json::object();
  std::set<std::string> variables_;
};

}  // namespace

ImportedServer read_import_entry(const std::string& name, const json& object, const ImportContext& context) {
  ImportedServer server;
  server.name = name;
  try {
    EntryReader(object, context, server).read();
  } catch (const Skip& skip) {
    server.skipped = skip.reason;
    server.package.reset();
  }
  return server;
}

}  // namespace hal::claudy
