#include "jsonrpc/envelope.hpp"

#include "base/text.hpp"
#include "jsonrpc/scanner.hpp"

#include <cstdint>

#include <fmt/format.h>

namespace hal::jsonrpc {

namespace {

/** A member we look for and where its raw value goes. */
struct Wanted {
  std::string_view key;
  std::string_view* value;
};

/** What MCP's own keys in _meta begin with. */
constexpr std::string_view mcp_prefix = "io.modelcontextprotocol/";

bool is_escaped(std::string_view content) {
  return content.find('\\') != std::string_view::npos;
}

class MessageScan {
 public:
  explicit MessageScan(std::string_view line) : in_(line) {}

  Envelope run() {
    in_.skip_blanks();
    if (in_.next_is('[')) {
      return batch();
    }
    const bool whole = in_.take_object([this](std::string_view key) { return top_member(key); });
    in_.skip_blanks();
    if (!whole || !in_.at_end()) {
      const auto id = message_.id;
      message_ = Envelope();
      message_.id = id;
      message_.problem = "not one JSON object, or nested too deeply";
      return std::move(message_);
    }
    classify();
    return std::move(message_);
  }

 private:
  Envelope batch() {
    std::string_view all;
    const bool valid = in_.take_value(all);
    in_.skip_blanks();
    message_.kind = valid && in_.at_end() ? Kind::batch : Kind::not_json;
    message_.problem = "a batch within a batch";
    return std::move(message_);
  }

  /** Keeps the value of a wanted member; its second coming makes the message ambiguous. */
  bool keep(std::string_view& place) {
    std::string_view raw;
    if (!in_.take_value(raw)) {
      return false;
    }
    if (!place.empty()) {
      twice_ = true;
    }
    place = raw;
    return true;
  }

  template <std::size_t count>
  bool member(std::string_view key, const Wanted (&wanted)[count]) {
    for (const auto& candidate : wanted) {
      if (key == candidate.key) {
        return keep(*candidate.value);
      }
    }
    std::string_view ignored;
    return in_.take_value(ignored);
  }

  bool top_member(std::string_view key) {
    if (key == "params") {
      return params();
    }
    if (key == "result") {
      return result();
    }
    const Wanted wanted[] = {
        {"jsonrpc", &version_}, {"id", &message_.id}, {"method", &raw_method_}, {"error", &error_}};
    return member(key, wanted);
  }

  bool params() {
    if (!message_.params.empty()) {
      twice_ = true;
    }
    in_.skip_blanks();
    if (!in_.next_is('{')) {
      return keep(message_.params);
    }
    const char* begin = in_.position();
    const bool whole = in_.take_object([this](std::string_view key) { return params_member(key); });
    message_.params = {begin, static_cast<std::size_t>(in_.position() - begin)};
    return whole;
  }

  bool result() {
    if (!result_.empty()) {
      twice_ = true;
    }
    in_.skip_blanks();
    if (!in_.next_is('{')) {
      return keep(result_);
    }
    const char* begin = in_.position();
    const bool whole = in_.take_object([this](std::string_view key) {
      std::string_view ignored;
      return in_.take_value(key == "isError" ? message_.is_error : ignored);
    });
    result_ = {begin, static_cast<std::size_t>(in_.position() - begin)};
    return whole;
  }

  bool params_member(std::string_view key) {
    if (key == "_meta") {
      return meta();
    }
    const Wanted wanted[] = {{"progressToken", &message_.progress_token},
                             {"requestId", &message_.request_id},
                             {"uri", &message_.uri},
                             {"name", &message_.name},
                             {"arguments", &message_.arguments},
                             {"taskId", &message_.task_id},
                             {"task", &message_.task}};
    return member(key, wanted);
  }

  bool meta() {
    if (meta_seen_) {
      twice_ = true;
    }
    meta_seen_ = true;
    in_.skip_blanks();
    if (!in_.next_is('{')) {
      std::string_view ignored;
      return in_.take_value(ignored);
    }
    return in_.take_object([this](std::string_view key) {
      if (!key.starts_with(mcp_prefix)) {
        const Wanted wanted[] = {{"progressToken", &message_.meta_progress_token}};
        return member(key, wanted);
      }
      const Wanted wanted[] = {{"io.modelcontextprotocol/related-task", &message_.meta_related_task},
                               {"io.modelcontextprotocol/protocolVersion", &message_.meta_protocol_version},
                               {"io.modelcontextprotocol/clientCapabilities", &message_.meta_client_capabilities},
                               {"io.modelcontextprotocol/logLevel", &message_.meta_log_level},
                               {"io.modelcontextprotocol/subscriptionId", &message_.meta_subscription_id}};
      return member(key, wanted);
    });
  }

  void refuse(const char* problem) {
    message_.kind = Kind::invalid;
    message_.problem = problem;
    if (!id_is_usable()) {
      message_.id = {};
    }
  }

  [[nodiscard]] bool id_is_usable() const {
    const char first = message_.id.empty() ? '\0' : message_.id.front();
    return first == '"' || first == '-' || (first >= '0' && first <= '9');
  }

  [[nodiscard]] static bool is_token(std::string_view raw) {
    return raw.empty() || raw.front() == '"' || raw.front() == '-' || (raw.front() >= '0' && raw.front() <= '9');
  }

  void classify() {
    if (twice_) {
      return refuse("a member stands twice");
    }
    if (version_ != "\"2.0\"" && unescape(version_) != "2.0") {
      return refuse("\"jsonrpc\" must be \"2.0\"");
    }
    if (!raw_method_.empty()) {
      return classify_call();
    }
    if (result_.empty() == error_.empty()) {
      return refuse(result_.empty() ? "neither \"method\" nor \"result\" nor \"error\""
                                    : "both \"result\" and \"error\"");
    }
    if (!id_is_usable() && !(message_.id == "null" && result_.empty())) {
      return refuse("a response needs the \"id\" of its request");
    }
    message_.kind = error_.empty() ? Kind::result : Kind::error;
    message_.outcome = error_.empty() ? result_ : error_;
  }

  void classify_call() {
    if (raw_method_.front() != '"') {
      return refuse("\"method\" must be a string");
    }
    if (!result_.empty() || !error_.empty()) {
      return refuse("both a method and an outcome");
    }
    if (!message_.id.empty() && !id_is_usable()) {
      return refuse("\"id\" must be a string or a number");
    }
    if (const char first = message_.params.empty() ? '{' : message_.params.front();
        first != '{' && first != '[' && first != 'n') {
      return refuse("\"params\" must be an object");
    }
    if (!is_token(message_.meta_progress_token)) {
      return refuse("\"progressToken\" must be a string or a number");
    }
    message_.raw_method = raw_method_.substr(1, raw_method_.size() - 2);
    if (is_escaped(message_.raw_method)) {
      message_.unescaped_method = unescape(raw_method_);
    }
    message_.kind = message_.id.empty() ? Kind::notification : Kind::request;
  }

  Scanner in_;
  Envelope message_;
  std::string_view version_;
  std::string_view raw_method_;
  std::string_view result_;
  std::string_view error_;
  bool meta_seen_ = false;
  bool twice_ = false;
};

void append_utf8(std::string& out, std::uint32_t code) {
  const auto byte = [&out](std::uint32_t value) { out += static_cast<char>(value); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xC0 | (code >> 6));
    byte(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    byte(0xE0 | (code >> 12));
    byte(0x80 | ((code >> 6) & 0x3F));
    byte(0x80 | (code & 0x3F));
  } else {
    byte(0xF0 | (code >> 18));
    byte(0x80 | ((code >> 12) & 0x3F));
    byte(0x80 | ((code >> 6) & 0x3F));
    byte(0x80 | (code & 0x3F));
  }
}

/** The four hexadecimal digits at `at`, which the scanner has checked. */
std::uint32_t hex4(std::string_view content, std::size_t at) {
  std::uint32_t code = 0;
  for (std::size_t i = at; i < at + 4; ++i) {
    const char c = content[i];
    code = code * 16 + static_cast<std::uint32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  return code;
}

/** A \u escape whose digits begin at `at`, with its low half if it is a pair; a lone half becomes U+FFFD. */
std::size_t append_unicode(std::string& out, std::string_view content, std::size_t at) {
  std::uint32_t code = hex4(content, at);
  at += 4;
  if (code >= 0xD800 && code <= 0xDBFF && content.substr(at, 2) == "\\u") {
    const auto low = hex4(content, at + 2);
    if (low >= 0xDC00 && low <= 0xDFFF) {
      append_utf8(out, 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00));
      return at + 6;
    }
  }
  if (code >= 0xD800 && code <= 0xDFFF) {
    code = 0xFFFD;
  }
  append_utf8(out, code);
  return at;
}

char plain_escape(char kind) {
  switch (kind) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    default:
      return kind;
  }
}

}  // namespace

Envelope scan(std::string_view line) {
  return MessageScan(line).run();
}

std::string unescape(std::string_view raw) {
  Scanner in(raw);
  std::string_view content;
  if (!in.take_string(content) || !in.at_end()) {
    return {};
  }
  std::string out;
  for (std::size_t at = 0; at < content.size();) {
    const auto escape = content.find('\\', at);
    out += content.substr(at, escape - at);
    if (escape == std::string_view::npos) {
      break;
    }
    const char kind = content[escape + 1];
    if (kind == 'u') {
      at = append_unicode(out, content, escape + 2);
    } else {
      out += plain_escape(kind);
      at = escape + 2;
    }
  }
  return out;
}

std::string quote(std::string_view text) {
  if (!text::is_utf8(text)) {
    return quote(text::printable(text, text.size() * 4));
  }
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string id_key(std::string_view raw) {
  if (raw.empty() || raw.front() != '"' || !is_escaped(raw)) {
    return std::string(raw);
  }
  return fmt::format("\"{}\"", unescape(raw));
}

}  // namespace hal::jsonrpc
