#include "init/protocol.hpp"

#include <cstring>

namespace hal::init {

namespace {

constexpr std::uint32_t flag_terminal = 1;
constexpr std::int32_t max_signal = 64;

/** Before the strings: cwd, then argv, then env, each ended by a NUL. */
struct Header {
  std::uint32_t version;
  std::uint32_t kind;
  std::uint64_t id;
  std::uint32_t flags;
  std::uint16_t rows;
  std::uint16_t columns;
  std::int32_t signal;
  std::uint32_t argv_words;
  std::uint32_t env_entries;
  std::uint32_t string_bytes;
};
static_assert(sizeof(Header) == 40);

[[nodiscard]] Result<void> check_strings(const Request& request) {
  if (request.kind == RequestKind::prepare) {
    if (!request.argv.empty()) {
      return Error{Errc::invalid_argument, "a prepare names no program"};
    }
  } else if (request.argv.empty() || request.argv.front().empty()) {
    return Error{Errc::invalid_argument, "request names no program"};
  }
  if (request.argv.size() > limits::argv_words) {
    return Error{Errc::limit, "request has too many arguments"};
  }
  if (request.env.size() > limits::env_entries) {
    return Error{Errc::limit, "request has too many environment variables"};
  }
  if (request.cwd.empty() || request.cwd.front() != '/') {
    return Error{Errc::invalid_argument, "request's directory is not an absolute path"};
  }
  if (request.cwd.size() >= limits::path_bytes) {
    return Error{Errc::limit, "request's directory is too long"};
  }
  for (const auto& entry : request.env) {
    const auto equals = entry.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Error{Errc::invalid_argument, "request's environment has an entry that is not NAME=VALUE"};
    }
  }
  return {};
}

/** The rules that hold for a request on both sides. */
[[nodiscard]] Result<void> check(const Request& request) {
  if (request.id.value == 0) {
    return Error{Errc::invalid_argument, "request has no id"};
  }
  if (request.terminal && request.kind != RequestKind::exec) {
    return Error{Errc::invalid_argument, "only an exec has the terminal flag"};
  }
  if (request.kind == RequestKind::signal) {
    if (request.signal < 1 || request.signal > max_signal) {
      return Error{Errc::invalid_argument, "request's signal is not one"};
    }
  } else if (request.signal != 0) {
    return Error{Errc::invalid_argument, "only a signal request has a signal"};
  }
  if (request.kind == RequestKind::main || request.kind == RequestKind::exec || request.kind == RequestKind::prepare) {
    return check_strings(request);
  }
  if (!request.cwd.empty() || !request.argv.empty() || !request.env.empty()) {
    return Error{Errc::invalid_argument, "only prepare, main and exec carry strings"};
  }
  return {};
}

[[nodiscard]] bool append_string(std::string& out, const std::string& text) {
  if (text.find('\0') != std::string::npos) {
    return false;
  }
  out.append(text).push_back('\0');
  return true;
}

/** Takes NUL-ended strings off the front. */
class StringReader {
 public:
  explicit StringReader(std::string_view bytes) : rest_(bytes) {}

  [[nodiscard]] bool take(std::string& text) {
    const auto end = rest_.find('\0');
    if (end == std::string_view::npos) {
      return false;
    }
    text.assign(rest_.substr(0, end));
    rest_.remove_prefix(end + 1);
    return true;
  }

  [[nodiscard]] bool take(std::vector<std::string>& list, std::size_t count) {
    list.resize(count);
    for (auto& text : list) {
      if (!take(text)) {
        return false;
      }
    }
    return true;
  }

  [[nodiscard]] bool empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

[[nodiscard]] bool known(RequestKind kind) {
  switch (kind) {
    case RequestKind::main:
    case RequestKind::exec:
    case RequestKind::signal:
    case RequestKind::resize:
    case RequestKind::prepare:
    case RequestKind::ping:
      return true;
  }
  return false;
}

[[nodiscard]] bool known(RecordKind kind) {
  switch (kind) {
    case RecordKind::hello:
    case RecordKind::running:
    case RecordKind::started:
    case RecordKind::failed:
    case RecordKind::exited:
    case RecordKind::main_exited:
    case RecordKind::prepared:
    case RecordKind::pong:
      return true;
  }
  return false;
}

}  // namespace

Result<std::string> encode(const Request& request) {
  if (const auto good = check(request); !good) {
    return good.error();
  }
  std::string strings;
  bool whole = append_string(strings, request.cwd);
  for (const auto& word : request.argv) {
    whole = append_string(strings, word) && whole;
  }
  for (const auto& entry : request.env) {
    whole = append_string(strings, entry) && whole;
  }
  if (!whole) {
    return Error{Errc::invalid_argument, "request has a string with a NUL in it"};
  }
  if (strings.size() > limits::channel_message_bytes - sizeof(Header)) {
    return Error{Errc::limit, "command line, environment and directory together are too long"};
  }
  Header header{};
  header.version = protocol_version;
  header.kind = static_cast<std::uint32_t>(request.kind);
  header.id = request.id.value;
  header.flags = request.terminal ? flag_terminal : 0;
  header.rows = request.rows;
  header.columns = request.columns;
  header.signal = request.signal;
  header.argv_words = static_cast<std::uint32_t>(request.argv.size());
  header.env_entries = static_cast<std::uint32_t>(request.env.size());
  header.string_bytes = static_cast<std::uint32_t>(strings.size());
  std::string datagram(sizeof header, '\0');
  std::memcpy(datagram.data(), &header, sizeof header);
  return datagram + strings;
}

Result<Request> decode_request(std::string_view datagram) {
  Header header{};
  if (datagram.size() < sizeof header || datagram.size() > limits::channel_message_bytes) {
    return Error{Errc::protocol, "request has an impossible size"};
  }
  std::memcpy(&header, datagram.data(), sizeof header);
  datagram.remove_prefix(sizeof header);
  if (header.version != protocol_version) {
    return Error{Errc::protocol, "request is of another protocol version"};
  }
  Request request;
  request.kind = static_cast<RequestKind>(header.kind);
  if (!known(request.kind) || (header.flags & ~flag_terminal) != 0 || header.string_bytes != datagram.size()) {
    return Error{Errc::protocol, "request's header is not one"};
  }
  if (header.argv_words > limits::argv_words || header.env_entries > limits::env_entries) {
    return Error{Errc::limit, "request has too many strings"};
  }
  request.id = ExecId{header.id};
  request.terminal = (header.flags & flag_terminal) != 0;
  request.rows = header.rows;
  request.columns = header.columns;
  request.signal = header.signal;
  StringReader strings(datagram);
  if (!strings.take(request.cwd) || !strings.take(request.argv, header.argv_words) ||
      !strings.take(request.env, header.env_entries) || !strings.empty()) {
    return Error{Errc::protocol, "request's strings do not match their count"};
  }
  if (const auto good = check(request); !good) {
    return Error{Errc::protocol, good.error().message};
  }
  return request;
}

std::size_t fds_with(const Request& request) {
  return request.kind == RequestKind::exec && !request.terminal ? 3 : 0;
}

std::string encode(const Record& record) {
  std::string datagram(record_bytes, '\0');
  std::memcpy(datagram.data(), &record, record_bytes);
  return datagram;
}

Result<Record> decode_record(std::string_view datagram) {
  Record record;
  if (datagram.size() != record_bytes) {
    return Error{Errc::protocol, "record has the wrong size"};
  }
  std::memcpy(&record, datagram.data(), record_bytes);
  if (!known(record.kind)) {
    return Error{Errc::protocol, "record is of no known kind"};
  }
  if (record.version != protocol_version) {
    return Error{Errc::protocol, "record is of another protocol version"};
  }
  const bool needs_id = record.kind != RecordKind::hello || (record.flags & record_main_started) != 0;
  if ((record.flags & ~(record_main_started | record_terminal)) != 0 || needs_id != (record.id.value != 0)) {
    return Error{Errc::protocol, "record's flags or id are not right for its kind"};
  }
  return record;
}

std::size_t fds_with(const Record& record) {
  return record.kind == RecordKind::started && (record.flags & record_terminal) != 0 ? 1 : 0;
}

}  // namespace hal::init
