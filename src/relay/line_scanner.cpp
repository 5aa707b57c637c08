#include "relay/line_scanner.hpp"

#include "jsonrpc/plain_text.hpp"

#include <algorithm>

namespace hal::relay {

namespace {

constexpr std::size_t max_key_bytes = 16;  // longer than any key we look for

void keep_up_to(std::string& text, std::string_view bytes, std::size_t limit) {
  text.append(bytes.substr(0, limit + 1 - std::min(text.size(), limit + 1)));
}

void trim(std::string& text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && blank(text.back())) {
    text.pop_back();
  }
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), blank));
}

}  // namespace

std::size_t LineScanner::pass(std::string_view bytes) {
  if (at_line_end_) {
    reset();
  }
  const auto newline = bytes.find('\n');
  const auto segment = bytes.substr(0, newline);
  line_bytes_ += segment.size();
  pass_segment(segment);
  if (newline == std::string_view::npos) {
    return bytes.size();
  }
  ++line_bytes_;
  at_line_end_ = true;
  return segment.size() + 1;
}

void LineScanner::pass_segment(std::string_view bytes) {
  while (!bytes.empty()) {
    if (in_string_) {
      bytes.remove_prefix(pass_in_string(bytes));
      continue;
    }
    const char c = bytes.front();
    bytes.remove_prefix(1);
    structural(c);
  }
}

/** Passes a part of a string, its closing quote at most. */
std::size_t LineScanner::pass_in_string(std::string_view bytes) {
  if (escaped_) {
    escaped_ = false;
    keep(bytes.substr(0, 1));
    return 1;
  }
  const char* const end = bytes.data() + bytes.size();
  const char* const found = jsonrpc::find_quote_or_backslash(bytes.data(), end);
  const auto before = static_cast<std::size_t>(found - bytes.data());
  if (found == end) {
    keep(bytes);
    return bytes.size();
  }
  if (*found == '\\') {
    escaped_ = true;
    keep(bytes.substr(0, before + 1));
    return before + 1;
  }
  in_string_ = false;
  keep(bytes.substr(0, before));
  if (in_key_) {
    end_key();
  } else {
    keep("\"");
  }
  return before + 1;
}

void LineScanner::structural(char c) {
  switch (c) {
    case '"':
      in_string_ = true;
      in_key_ = key_next_;
      if (in_key_) {
        key_next_ = false;
        key_.clear();
      } else {
        keep("\"");
      }
      return;
    case '{':
    case '[':
      open(c);
      return;
    case '}':
    case ']':
      close();
      return;
    case ',':
      if (depth_ == 1 || (depth_ == 2 && in_params_)) {
        end_value();
        key_next_ = depth_ == 2 || top_is_object_;
      }
      return;
    case ':':
      return;
    default:
      keep({&c, 1});
  }
}

void LineScanner::open(char c) {
  ++depth_;
  if (depth_ == 1) {
    top_is_object_ = c == '{';
    key_next_ = top_is_object_;
  } else if (depth_ == 2) {
    in_params_ = member_ == Member::params && c == '{';
    key_next_ = in_params_;
    // An id is never an object or array; neither is a method.
    member_ = Member::other;
  } else {
    key_next_ = false;
    member_ = Member::other;
  }
}

void LineScanner::close() {
  if (depth_ == 1 || (depth_ == 2 && in_params_)) {
    end_value();
    key_next_ = false;
  }
  if (depth_ == 2) {
    in_params_ = false;
  }
  if (depth_ > 0) {
    --depth_;
  }
}

void LineScanner::end_key() {
  in_key_ = false;
  member_ = Member::other;
  if (depth_ == 2) {
    member_ = key_ == "requestId" ? Member::request_id : key_ == "uri" ? Member::uri : Member::other;
  } else if (key_ == "id") {
    member_ = Member::id;
  } else if (key_ == "method") {
    member_ = Member::method;
    line_.has_method = true;
  } else if (key_ == "params") {
    member_ = Member::params;
  } else if (key_ == "result" || key_ == "error") {
    line_.has_outcome = true;
    line_.has_error = line_.has_error || key_ == "error";
  }
}

void LineScanner::end_value() {
  switch (member_) {
    case Member::id:
      trim(line_.id);
      if (line_.id.size() > max_id_bytes || line_.id == "null") {
        line_.id.clear();
      }
      break;
    case Member::request_id:
      trim(line_.request_id);
      if (line_.request_id.size() > max_id_bytes) {
        line_.request_id.clear();
      }
      break;
    case Member::uri:
      trim(line_.uri);
      if (line_.uri.size() > max_uri_bytes) {
        line_.uri.clear();
      }
      break;
    case Member::method: {
      trim(line_.method);
      const bool string = line_.method.size() >= 2 && line_.method.front() == '"' && line_.method.back() == '"';
      line_.method = string ? line_.method.substr(1, line_.method.size() - 2) : std::string();
      break;
    }
    case Member::params:
    case Member::other:
      break;
  }
  member_ = Member::other;
}

void LineScanner::keep(std::string_view bytes) {
  if (in_key_) {
    keep_up_to(key_, bytes, max_key_bytes);
    return;
  }
  switch (member_) {
    case Member::id:
      keep_up_to(line_.id, bytes, max_id_bytes);
      return;
    case Member::method:
      keep_up_to(line_.method, bytes, max_method_bytes);
      return;
    case Member::request_id:
      keep_up_to(line_.request_id, bytes, max_id_bytes);
      return;
    case Member::uri:
      keep_up_to(line_.uri, bytes, max_uri_bytes);
      return;
    case Member::params:
    case Member::other:
      return;
  }
}

}  // namespace hal::relay
