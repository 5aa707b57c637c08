#include "bus/options.hpp"

#include "base/limits.hpp"
#include "base/text.hpp"
#include "bus/option_reader.hpp"

#include <signal.h>
#include <string.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

namespace hal::bus {

namespace {

using Environment = std::map<std::string, std::string>;

constexpr std::size_t max_image_bytes = 255;
constexpr std::size_t max_request_id_bytes = 128;
constexpr std::size_t max_servers = 256;
/** More than any machine has. */
constexpr double max_cpus = 4096;
/** The kernel's largest process id. */
constexpr std::uint64_t max_pids = std::uint64_t{1} << 22;
/** The engine counts in a signed number. */
constexpr std::uint64_t max_memory_bytes = std::uint64_t{1} << 62;

bool is_clean(std::string_view text) {
  return text.find('\0') == std::string_view::npos && text::is_utf8(text);
}

bool is_graphic(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

bool is_variable_name(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'; };
  return !name.empty() && letter(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

/** As terminfo has them: "xterm-256color", "rxvt+cap". */
bool is_terminal_name(std::string_view name) {
  return name.size() <= limits::name_bytes && name.find_first_not_of("+") == 0 &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return c == '+' || text::is_name(std::string{'x', c});
         });
}

std::size_t bytes_of(const std::vector<std::string>& words) {
  std::size_t bytes = 0;
  for (const auto& word : words) {
    bytes += word.size() + 1;
  }
  return bytes;
}

std::size_t bytes_of(const Environment& env) {
  std::size_t bytes = 0;
  for (const auto& [name, value] : env) {
    bytes += name.size() + value.size() + 2;
  }
  return bytes;
}

Result<void> check_command(std::string_view what, const std::vector<std::string>& words) {
  if (words.empty() || words.front().empty()) {
    return Error{Errc::invalid_argument, fmt::format("{} must begin with the name of a program", what)};
  }
  if (words.size() > limits::argv_words || bytes_of(words) > max_command_bytes) {
    return Error{Errc::limit, fmt::format("{} must be of at most {} words and {} bytes", what, limits::argv_words,
                                          max_command_bytes)};
  }
  if (!std::all_of(words.begin(), words.end(), is_clean)) {
    return Error{Errc::invalid_argument, fmt::format("{} must be UTF-8 without NUL", what)};
  }
  return {};
}

void check_env(OptionReader& reader, const Environment& env) {
  if (env.size() > limits::env_entries || bytes_of(env) > max_command_bytes) {
    reader.refuse("env", fmt::format("of at most {} variables and {} bytes", limits::env_entries, max_command_bytes),
                  Errc::limit);
  }
  for (const auto& [name, value] : env) {
    if (!is_variable_name(name)) {
      reader.refuse("env",
                    fmt::format("a dictionary of variables, which \"{}\" cannot name", text::printable(name, 64)));
    } else if (!is_clean(value)) {
      reader.refuse("env", "of values in UTF-8 without NUL");
    }
  }
}

void check_together(OptionReader& reader, const std::vector<std::string>& words, const Environment& env) {
  if (bytes_of(words) + bytes_of(env) > max_command_bytes) {
    reader.refuse(Error{
        Errc::limit, fmt::format("command and environment must be of at most {} bytes together", max_command_bytes)});
  }
}

std::string take_name(OptionReader& reader, const char* key) {
  auto name = reader.take<std::string>(key);
  if (name && !text::is_name(*name)) {
    reader.refuse(key, "a letter or digit, then letters, digits, '.', '_' and '-', 64 at most");
  }
  return std::move(name).value_or("");
}

std::string take_image(OptionReader& reader) {
  auto image = reader.take<std::string>("image");
  if (image && (image->empty() || image->size() > max_image_bytes || image->front() == '-' || !is_graphic(*image))) {
    reader.refuse("image", "the name of a container image");
  }
  return std::move(image).value_or("");
}

std::optional<std::uint64_t> take_memory(OptionReader& reader) {
  const auto memory = reader.take<std::uint64_t>("memory");
  if (memory && (*memory < min_memory_bytes || *memory > max_memory_bytes)) {
    reader.refuse("memory", fmt::format("at least {} bytes (6 MiB)", min_memory_bytes));
  }
  return memory;
}

std::optional<double> take_cpus(OptionReader& reader) {
  const auto cpus = reader.take<double>("cpus");
  // The engine's smallest share is a hundredth of a CPU.
  if (cpus && !(std::isfinite(*cpus) && *cpus >= 0.01 && *cpus <= max_cpus)) {
    reader.refuse("cpus", fmt::format("from 0.01 to {}", max_cpus));
    return std::nullopt;
  }
  return cpus;
}

std::optional<std::uint64_t> take_pids(OptionReader& reader) {
  const auto pids = reader.take<std::uint64_t>("pids");
  if (pids && (*pids < 1 || *pids > max_pids)) {
    reader.refuse("pids", fmt::format("from 1 to {}", max_pids));
  }
  return pids;
}

worker::Network take_network(OptionReader& reader) {
  const auto network = reader.take<std::string>("network");
  if (network == "isolated") {
    return worker::Network::isolated;
  }
  if (network && *network != "parent") {
    reader.refuse("network", "\"parent\" or \"isolated\"");
  }
  return worker::Network::parent;
}

worker::Claim take_claim(OptionReader& reader) {
  const auto claim = reader.take<std::string>("claim");
  if (claim == "require") {
    return worker::Claim::require;
  }
  if (claim == "never") {
    return worker::Claim::never;
  }
  if (claim && *claim != "prefer") {
    reader.refuse("claim", R"("prefer", "require" or "never")");
  }
  return worker::Claim::prefer;
}

std::optional<std::vector<std::string>> take_servers(OptionReader& reader) {
  auto servers = reader.take<std::vector<std::string>>("servers");
  if (servers) {
    if (servers->size() > max_servers) {
      reader.refuse("servers", fmt::format("of at most {} names", max_servers), Errc::limit);
    } else if (!std::all_of(servers->begin(), servers->end(), text::is_name)) {
      reader.refuse("servers", "a list of names of MCP servers");
    }
    std::sort(servers->begin(), servers->end());
    servers->erase(std::unique(servers->begin(), servers->end()), servers->end());
  }
  return servers;
}

std::string take_request_id(OptionReader& reader) {
  auto id = reader.take<std::string>("request_id");
  if (id && (id->empty() || id->size() > max_request_id_bytes || !is_graphic(*id))) {
    reader.refuse("request_id", fmt::format("1 to {} visible ASCII characters", max_request_id_bytes));
  }
  return std::move(id).value_or("");
}

std::optional<worker::TerminalSize> take_size(OptionReader& reader) {
  const auto rows = reader.take<std::uint16_t>("rows");
  const auto columns = reader.take<std::uint16_t>("columns");
  if (!rows && !columns) {
    return std::nullopt;
  }
  if (!rows || !columns) {
    reader.refuse(rows ? "columns" : "rows", fmt::format("given with \"{}\"", rows ? "rows" : "columns"));
    return std::nullopt;
  }
  const auto size = read_size(*rows, *columns);
  if (!size) {
    reader.refuse(size.error());
    return std::nullopt;
  }
  return *size;
}

void take_command(OptionReader& reader, worker::SpawnRequest& request) {
  if (auto command = reader.take<std::vector<std::string>>("command")) {
    if (const auto checked = check_command("option \"command\"", *command); !checked) {
      reader.refuse(checked.error());
    }
    request.command = std::move(*command);
  }
  request.env = reader.take<Environment>("env").value_or(Environment{});
  check_env(reader, request.env);
  check_together(reader, request.command, request.env);
}

}  // namespace

Result<worker::SpawnRequest> read_spawn_options(Values values) {
  OptionReader reader(std::move(values));
  worker::SpawnRequest request;
  request.name = take_name(reader, "name");
  request.profile = take_name(reader, "profile");
  request.image = take_image(reader);
  take_command(reader, request);
  request.memory_bytes = take_memory(reader);
  request.cpus = take_cpus(reader);
  request.pids = take_pids(reader);
  request.read_only = reader.take<bool>("read_only").value_or(false);
  request.network = take_network(reader);
  request.servers = take_servers(reader);
  request.request_id = take_request_id(reader);
  request.wait = reader.take<bool>("wait").value_or(true);
  request.claim = take_claim(reader);
  if (const auto finished = reader.finish(); !finished) {
    return finished.error();
  }
  return request;
}

Result<worker::SpawnRequest> read_claim_options(Values values) {
  if (values.contains("claim")) {
    return Error{Errc::invalid_argument, "option \"claim\" must be left out here"};
  }
  values.emplace("claim", "require");
  return read_spawn_options(std::move(values));
}

Result<worker::Pool::Change> read_pool_settings(Values values) {
  OptionReader reader(std::move(values));
  worker::Pool::Change change;
  change.min = reader.take<std::uint32_t>("min");
  change.max = reader.take<std::uint32_t>("max");
  if (const auto idle_timeout = reader.take<std::uint64_t>("idle_timeout_usec")) {
    if (*idle_timeout > static_cast<std::uint64_t>(std::chrono::microseconds::max().count())) {
      reader.refuse("idle_timeout_usec", "a time");
    } else {
      change.idle_timeout = std::chrono::microseconds(*idle_timeout);
    }
  }
  if (const auto finished = reader.finish(); !finished) {
    return finished.error();
  }
  if (!change.min && !change.max && !change.idle_timeout) {
    return Error{Errc::invalid_argument, "at least one of min, max and idle_timeout_usec must be given"};
  }
  return change;
}

Result<AttachOptions> read_attach_options(Values values) {
  OptionReader reader(std::move(values));
  AttachOptions options;
  options.size = take_size(reader).value_or(worker::TerminalSize{});
  if (auto term = reader.take<std::string>("term")) {
    if (!is_terminal_name(*term)) {
      reader.refuse("term", "the name of a kind of terminal");
    }
    options.term = std::move(*term);
  }
  if (const auto finished = reader.finish(); !finished) {
    return finished.error();
  }
  return options;
}

Result<worker::ExecRequest> read_exec_options(std::vector<std::string> argv, Values values) {
  OptionReader reader(std::move(values));
  worker::ExecRequest request;
  if (const auto checked = check_command("argv", argv); !checked) {
    reader.refuse(checked.error());
  }
  request.argv = std::move(argv);
  request.env = reader.take<Environment>("env").value_or(Environment{});
  check_env(reader, request.env);
  check_together(reader, request.argv, request.env);
  if (auto cwd = reader.take<std::string>("cwd")) {
    auto path = read_path("option \"cwd\"", std::move(*cwd));
    if (path) {
      request.cwd = std::move(*path);
    } else {
      reader.refuse(path.error());
    }
  }
  const bool terminal = reader.take<bool>("terminal").value_or(false);
  const auto size = take_size(reader);
  if (auto error_output = reader.take<UniqueFd>("stderr")) {
    request.error_output = std::move(*error_output);
  }
  if (terminal) {
    request.terminal = size.value_or(worker::TerminalSize{});
    if (request.error_output) {
      reader.refuse("stderr", "left out where there is a terminal");
    }
  } else if (size) {
    reader.refuse("rows", "left out where there is no terminal");
  }
  if (const auto finished = reader.finish(); !finished) {
    return finished.error();
  }
  return request;
}

Result<worker::LogOptions> read_log_options(Values values) {
  OptionReader reader(std::move(values));
  worker::LogOptions options;
  options.follow = reader.take<bool>("follow").value_or(false);
  options.tail = reader.take<std::uint32_t>("tail");
  options.timestamps = reader.take<bool>("timestamps").value_or(false);
  if (const auto finished = reader.finish(); !finished) {
    return finished.error();
  }
  return options;
}

Result<TraceRequest> read_trace_options(Values values) {
  OptionReader reader(std::move(values));
  TraceRequest request;
  request.payloads = reader.take<bool>("payloads").value_or(false);
  request.worker = take_name(reader, "worker");
  if (auto finished = reader.finish(); !finished) {
    return finished.error();
  }
  return request;
}

Result<worker::LimitChange> read_limits(Values values) {
  if (values.empty()) {
    return Error{Errc::invalid_argument, "no limit is given"};
  }
  OptionReader reader(std::move(values));
  worker::LimitChange change;
  change.memory_bytes = take_memory(reader);
  if (const auto cpus = take_cpus(reader)) {
    change.nano_cpus = static_cast<std::uint64_t>(std::llround(*cpus * 1e9));
  }
  change.pids = take_pids(reader);
  if (const auto finished = reader.finish(); !finished) {
    return finished.error();
  }
  return change;
}

Result<std::string> read_path(std::string_view what, std::string path) {
  if (path.empty() || path.front() != '/') {
    return Error{Errc::invalid_argument,
                 fmt::format("{} must be an absolute path, not \"{}\"", what, text::printable(path))};
  }
  if (path.size() >= limits::path_bytes || !is_clean(path)) {
    return Error{Errc::invalid_argument,
                 fmt::format("{} must be a path of less than {} bytes of UTF-8", what, limits::path_bytes)};
  }
  return path;
}

Result<worker::TerminalSize> read_size(std::uint16_t rows, std::uint16_t columns) {
  if (rows == 0 || columns == 0) {
    return Error{Errc::invalid_argument, "rows and columns must be more than 0"};
  }
  return worker::TerminalSize{rows, columns};
}

Result<int> read_signal(std::string_view text) {
  const auto number = text::to_number<int>(text);
  if (number && *number >= SIGRTMIN && *number <= SIGRTMAX) {
    return *number;
  }
  const auto short_name = text.substr(0, 3) == "SIG" ? text.substr(3) : text;
  for (int signal = 1; signal < SIGRTMIN; ++signal) {
    const char* abbreviation = ::sigabbrev_np(signal);
    if (abbreviation != nullptr && (number ? *number == signal : short_name == abbreviation)) {
      return signal;
    }
  }
  return Error{Errc::invalid_argument, fmt::format("\"{}\" is no signal", text::printable(text, 32))};
}

Result<std::chrono::milliseconds> read_stop_timeout(std::uint32_t milliseconds) {
  if (milliseconds > max_stop_timeout_ms) {
    return Error{Errc::invalid_argument, fmt::format("timeout_ms must be at most {}", max_stop_timeout_ms)};
  }
  return std::chrono::milliseconds(milliseconds != 0 ? milliseconds : default_stop_timeout_ms);
}

Result<ExecId> read_exec_id(std::string_view text) {
  const auto number = text::to_number<std::uint64_t>(text);
  if (!number) {
    return Error{Errc::not_found, fmt::format("there is no program \"{}\" here", text::printable(text, 32))};
  }
  return ExecId{*number};
}

}  // namespace hal::bus
