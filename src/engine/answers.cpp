#include "base/limits.hpp"
#include "base/text.hpp"
#include "engine/messages.hpp"
#include "json/json.hpp"

#include <algorithm>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::engine {

namespace {

using worker::ContainerStatus;

/** A list of a thousand containers has more values than a message of MCP may have. */
constexpr json::Limits answer_limits{.bytes = limits::engine_body_bytes, .values = 1'000'000};

constexpr std::string_view answer = "the container engine's answer";

Result<nlohmann::json> parse(std::string_view body) {
  auto document = json::parse(body, answer_limits);
  if (!document) {
    return document.error().with(answer);
  }
  return document;
}

/** Reads members of one object and remembers the first that is wrong, so that a reader reads as a list. */
class Members {
 public:
  explicit Members(const nlohmann::json& object) : object_(&object) {}

  std::string string(std::string_view key) { return take(json::optional_string_at(*object_, key)).value_or(""); }
  bool flag(std::string_view key) { return take(json::optional_bool_at(*object_, key)).value_or(false); }
  std::int64_t number(std::string_view key) { return take(json::optional_integer_at(*object_, key)).value_or(0); }
  /** The engine says 0 or -1 for no limit; so does an absent control group. */
  std::uint64_t amount(std::string_view key) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(number(key), 0));
  }
  Members object(std::string_view key) {
    static const nlohmann::json empty = nlohmann::json::object();
    const auto* found = take(json::optional_object_at(*object_, key));
    return Members(found != nullptr ? *found : empty);
  }
  std::map<std::string, std::string> strings(std::string_view key) {
    std::map<std::string, std::string> values;
    const auto* found = take(json::optional_object_at(*object_, key));
    if (found != nullptr) {
      for (const auto& [name, value] : found->items()) {
        if (const auto* text = value.get_ptr<const std::string*>(); text != nullptr) {
          values.emplace(name, *text);
        }
      }
    }
    return values;
  }
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }

 private:
  template <class T>
  T take(Result<T> value) {
    if (value) {
      return std::move(*value);
    }
    if (!error_) {
      error_ = value.error().with(answer);
    }
    return T{};
  }

  const nlohmann::json* object_;
  std::optional<Error> error_;
};

std::optional<Error> first_error(std::initializer_list<const Members*> members) {
  for (const auto* member : members) {
    if (member->error()) {
      return member->error();
    }
  }
  return std::nullopt;
}

ContainerStatus status_of(std::string_view text) {
  if (text == "created" || text == "configured" || text == "initialized") {  // the latter two are Podman's
    return ContainerStatus::created;
  }
  if (text == "running" || text == "restarting" || text == "stopping") {
    return ContainerStatus::running;
  }
  if (text == "paused") {
    return ContainerStatus::paused;
  }
  return text == "exited" || text == "stopped" ? ContainerStatus::exited : ContainerStatus::dead;
}

}  // namespace

std::string ApiVersion::text() const {
  return fmt::format("{}.{}", major, minor);
}

Result<ApiVersion> read_api_version(std::string_view text) {
  const auto dot = text.find('.');
  if (dot != std::string_view::npos) {
    const auto major = text::to_number<std::uint32_t>(text.substr(0, dot));
    const auto minor = text::to_number<std::uint32_t>(text.substr(dot + 1));
    if (major && minor) {
      return ApiVersion{*major, *minor};
    }
  }
  return Error{Errc::protocol, fmt::format("\"{}\" is no version of the Engine API", text::printable(text, 20))};
}

Result<VersionAnswer> read_version(std::string_view body) {
  const auto document = parse(body);
  if (!document) {
    return document.error();
  }
  Members members(*document);
  VersionAnswer version{.engine = members.string("Version"), .newest = {}, .oldest = {}};
  const auto newest = members.string("ApiVersion");
  const auto oldest = members.string("MinAPIVersion");
  if (members.error()) {
    return *members.error();
  }
  const auto read_newest = read_api_version(newest);
  const auto read_oldest = oldest.empty() ? Result<ApiVersion>(ApiVersion{}) : read_api_version(oldest);
  if (!read_newest || !read_oldest) {
    return (read_newest ? read_oldest : read_newest).error().with(answer);
  }
  version.newest = *read_newest;
  version.oldest = *read_oldest;
  return version;
}

Result<ApiVersion> negotiate(const VersionAnswer& engine) {
  if (engine.newest < oldest_api) {
    return Error{Errc::unavailable,
                 fmt::format("container engine {} speaks API {}; {} or newer is needed",
                             text::printable(engine.engine, 40), engine.newest.text(), oldest_api.text())};
  }
  if (engine.oldest > newest_api) {
    return Error{Errc::unavailable,
                 fmt::format("container engine {} speaks API {} or newer only; this program {}",
                             text::printable(engine.engine, 40), engine.oldest.text(), newest_api.text())};
  }
  return std::min(engine.newest, newest_api);
}

Result<void> read_info(std::string_view body, worker::EngineInfo& info) {
  const auto document = parse(body);
  if (!document) {
    return document.error();
  }
  Members members(*document);
  info.cgroup_driver = members.string("CgroupDriver");
  info.cgroup_version = text::to_number<int>(members.string("CgroupVersion")).value_or(1);
  info.storage_driver = members.string("Driver");
  if (members.error()) {
    return *members.error();
  }
  return {};
}

Result<InspectAnswer> read_inspect(std::string_view body) {
  const auto document = parse(body);
  if (!document) {
    return document.error();
  }
  Members members(*document);
  auto state = members.object("State");
  auto config = members.object("Config");
  auto host = members.object("HostConfig");
  InspectAnswer inspect;
  auto& info = inspect.info;
  info.id.value = members.string("Id");
  info.name = members.string("Name");
  info.name.erase(0, info.name.starts_with('/') ? 1 : 0);
  info.image = config.string("Image");
  info.labels = config.strings("Labels");
  info.status = status_of(state.string("Status"));
  info.pid = static_cast<pid_t>(state.number("Pid"));
  info.exit_code = static_cast<int>(state.number("ExitCode"));
  info.oom_killed = state.flag("OOMKilled");
  auto health = state.object("Health");
  info.unhealthy = health.string("Status") == "unhealthy";
  info.memory_bytes = host.amount("Memory");
  info.nano_cpus = host.amount("NanoCpus");
  info.pids = host.amount("PidsLimit");
  inspect.terminal = config.flag("Tty");
  if (auto error = first_error({&members, &state, &health, &config, &host})) {
    return std::move(*error);
  }
  if (info.id.value.empty()) {
    return Error{Errc::protocol, fmt::format("{}: a container without an Id", answer)};
  }
  return inspect;
}

Result<std::vector<ContainerId>> read_list(std::string_view body) {
  const auto document = parse(body);
  if (!document) {
    return document.error();
  }
  if (!document->is_array()) {
    return Error{Errc::protocol, fmt::format("{}: a list of containers must be an array", answer)};
  }
  std::vector<ContainerId> ids;
  for (const auto& container : *document) {
    auto id = json::string_at(container, "Id");
    if (!id) {
      return id.error().with(answer);
    }
    ids.push_back(ContainerId{std::move(*id)});
  }
  return ids;
}

Result<worker::ContainerUsage> read_usage(std::string_view body) {
  const auto document = parse(body);
  if (!document) {
    return document.error();
  }
  Members members(*document);
  auto memory = members.object("memory_stats");
  auto details = memory.object("stats");
  auto cpu = members.object("cpu_stats");
  auto cpu_usage = cpu.object("cpu_usage");
  auto pids = members.object("pids_stats");
  // Pages of files nobody has used lately are not counted: the kernel takes them back first. The names are those of
  // control groups v2 and v1.
  const auto reclaimable = std::max(details.amount("inactive_file"), details.amount("total_inactive_file"));
  const auto used = memory.amount("usage");
  worker::ContainerUsage usage;
  usage.memory_bytes = used - std::min(used, reclaimable);
  usage.cpu_nanoseconds = cpu_usage.amount("total_usage");
  usage.pids = pids.amount("current");
  if (auto error = first_error({&members, &memory, &details, &cpu, &cpu_usage, &pids})) {
    return std::move(*error);
  }
  return usage;
}

Result<worker::ImageInfo> read_image(std::string_view body) {
  const auto document = parse(body);
  if (!document) {
    return document.error();
  }
  Members members(*document);
  auto config = members.object("Config");
  worker::ImageInfo image{members.string("Id"), config.strings("Labels"), members.amount("Size")};
  if (auto error = first_error({&members, &config})) {
    return std::move(*error);
  }
  if (image.id.empty()) {
    return Error{Errc::protocol, fmt::format("{}: an image without an Id", answer)};
  }
  return image;
}

Result<std::string> read_id(std::string_view body) {
  const auto document = parse(body);
  if (!document) {
    return document.error();
  }
  auto id = json::string_at(*document, "Id");
  if (!id) {
    return id.error().with(answer);
  }
  return id;
}

}  // namespace hal::engine
