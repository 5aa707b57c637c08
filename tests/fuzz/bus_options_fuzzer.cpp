#include "base/limits.hpp"
#include "base/text.hpp"
#include "bus/options.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace {

using namespace hal;
using namespace hal::bus;

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

/** Values out of bytes: what is missing is zero. */
class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : bytes_(bytes) {}

  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  template <class T>
  T number() {
    T value{};
    const auto taken = take(sizeof value);
    std::memcpy(&value, taken.data(), taken.size());
    return value;
  }
  std::string text() { return std::string(take(number<std::uint8_t>())); }

 private:
  std::string_view take(std::size_t size) {
    const auto taken = bytes_.substr(0, size);
    bytes_.remove_prefix(taken.size());
    return taken;
  }

  std::string_view bytes_;
};

constexpr const char* keys[] = {
    "name",    "profile", "image",      "command",   "env",      "memory",     "cpus", "pids", "servers",
    "network", "claim",   "request_id", "wait",      "rows",     "columns",    "term", "cwd",  "stderr",
    "tail",    "follow",  "",           "read_only", "terminal", "timestamps", "min",  "max",  "idle_timeout_usec"};

Value read_value(Bytes& bytes) {
  switch (bytes.number<std::uint8_t>() % 10) {
    case 0:
      return bytes.number<std::uint8_t>() % 2 == 0;
    case 1:
      return bytes.number<std::uint16_t>();
    case 2:
      return bytes.number<std::uint32_t>();
    case 3:
      return bytes.number<std::uint64_t>();
    case 4:
      return bytes.number<double>();
    case 5:
      return bytes.text();
    case 6: {
      std::vector<std::string> words(bytes.number<std::uint16_t>() % 300);
      for (auto& word : words) {
        word = bytes.text();
      }
      return words;
    }
    case 7: {
      std::map<std::string, std::string> dictionary;
      for (auto count = bytes.number<std::uint16_t>() % 300; count > 0; --count) {
        auto name = bytes.text();
        dictionary[std::move(name)] = bytes.text();
      }
      return dictionary;
    }
    case 8:
      return UniqueFd();
    default:
      return OtherValue{bytes.text()};
  }
}

Values read_values(Bytes& bytes) {
  Values values;
  for (auto count = bytes.number<std::uint8_t>() % 32; count > 0 && !bytes.empty(); --count) {
    const char* key = keys[bytes.number<std::uint8_t>() % std::size(keys)];
    values.insert_or_assign(key, read_value(bytes));
  }
  return values;
}

template <class T>
void check_error(const Result<T>& result) {
  if (!result) {
    const auto& error = result.error();
    require(error.code == Errc::invalid_argument || error.code == Errc::limit || error.code == Errc::not_found);
    require(!error.message.empty() && text::is_utf8(error.message));
  }
}

void check_words(const std::vector<std::string>& words, const std::map<std::string, std::string>& env) {
  std::size_t bytes = 0;
  for (const auto& word : words) {
    require(word.find('\0') == std::string::npos && text::is_utf8(word));
    bytes += word.size();
  }
  for (const auto& [name, value] : env) {
    require(!name.empty() && name.find_first_of(std::string_view("=\0", 2)) == std::string::npos);
    require(value.find('\0') == std::string::npos);
    bytes += name.size() + value.size();
  }
  require(words.size() <= limits::argv_words && env.size() <= limits::env_entries && bytes <= max_command_bytes);
}

void check(const Result<worker::SpawnRequest>& options) {
  check_error(options);
  if (options) {
    const auto& request = *options;
    check_words(request.command, request.env);
    require(request.name.empty() || text::is_name(request.name));
    require(request.profile.empty() || text::is_name(request.profile));
    require(!request.memory_bytes || *request.memory_bytes >= min_memory_bytes);
    require(!request.cpus || *request.cpus > 0);
    require(!request.pids || *request.pids > 0);
  }
}

void check(const Result<worker::ExecRequest>& request) {
  check_error(request);
  if (request) {
    require(!request->argv.empty());
    check_words(request->argv, request->env);
    require(request->cwd.empty() || request->cwd.front() == '/');
    require(!request->terminal || (request->terminal->rows > 0 && request->terminal->columns > 0));
    require(!(request->terminal && request->error_output));
  }
}

}  // namespace

// The first byte chooses what the options are for.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(std::string_view(reinterpret_cast<const char*>(data), size));
  switch (bytes.number<std::uint8_t>() % 8) {
    case 0:
      check(read_spawn_options(read_values(bytes)));
      break;
    case 1: {
      std::vector<std::string> argv(bytes.number<std::uint16_t>() % 300);
      for (auto& word : argv) {
        word = bytes.text();
      }
      check(read_exec_options(std::move(argv), read_values(bytes)));
      break;
    }
    case 2:
      check_error(read_attach_options(read_values(bytes)));
      break;
    case 3:
      check_error(read_log_options(read_values(bytes)));
      break;
    case 4:
      check_error(read_limits(read_values(bytes)));
      break;
    case 6:
      check(read_claim_options(read_values(bytes)));
      break;
    case 7:
      check_error(read_pool_settings(read_values(bytes)));
      break;
    default: {
      const auto text = bytes.text();
      check_error(read_signal(text));
      check_error(read_path("path", text));
      check_error(read_exec_id(text));
      break;
    }
  }
  return 0;
}
