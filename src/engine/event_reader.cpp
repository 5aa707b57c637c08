#include "engine/event_reader.hpp"

#include "base/names.hpp"
#include "base/text.hpp"
#include "json/json.hpp"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::engine {

namespace {

using Kind = worker::ContainerEvent::Kind;

std::optional<Kind> kind_of(std::string_view action) {
  static constexpr std::pair<std::string_view, Kind> kinds[] = {
      {"create", Kind::created},    {"start", Kind::started},   {"die", Kind::died},
      {"oom", Kind::out_of_memory}, {"destroy", Kind::removed}, {"remove", Kind::removed},  // Podman's word
      {"pause", Kind::paused},      {"unpause", Kind::resumed}, {"health_status", Kind::health},
  };
  action = action.substr(0, action.find(": "));  // "health_status: unhealthy"
  for (const auto& [word, kind] : kinds) {
    if (word == action) {
      return kind;
    }
  }
  return std::nullopt;
}

/** An event's attributes are the labels and, among them, what the engine adds. */
void read_attributes(const nlohmann::json& attributes, worker::ContainerEvent& event) {
  const std::string ours = std::string(names::bus_name) + ".";
  for (const auto& [key, value] : attributes.items()) {
    const auto* text = value.get_ptr<const std::string*>();
    if (text == nullptr) {
      continue;
    }
    if (key.starts_with(ours)) {
      event.labels.emplace(key, *text);
    } else if (key == "exitCode") {
      event.exit_code = text::to_number<int>(*text).value_or(0);
    }
  }
}

}  // namespace

Result<std::optional<worker::ContainerEvent>> read_event(std::string_view line) {
  const auto document = json::parse(line, {.bytes = EventReader::max_line_bytes});
  if (!document) {
    return document.error().with("event stream");
  }
  const auto type = json::optional_string_at(*document, "Type");
  const auto action = json::optional_string_at(*document, "Action");
  const auto actor = json::optional_object_at(*document, "Actor");
  for (const auto* error :
       {type ? nullptr : &type.error(), action ? nullptr : &action.error(), actor ? nullptr : &actor.error()}) {
    if (error != nullptr) {
      return error->with("event stream");
    }
  }
  const auto kind = kind_of(action->value_or(""));
  if (*type != "container" || !kind || *actor == nullptr) {
    return std::optional<worker::ContainerEvent>();
  }
  auto id = json::string_at(**actor, "ID", "Actor");
  const auto attributes = json::optional_object_at(**actor, "Attributes", "Actor");
  if (!id || !attributes) {
    return (id ? attributes.error() : id.error()).with("event stream");
  }
  worker::ContainerEvent event{.kind = *kind, .id = ContainerId{std::move(*id)}, .labels = {}, .exit_code = 0};
  if (*attributes != nullptr) {
    read_attributes(**attributes, event);
  }
  return std::optional(std::move(event));
}

Result<std::optional<worker::ContainerEvent>> EventReader::next() {
  for (;;) {
    const auto end = buffer_.find('\n', done_);
    if (end == std::string::npos) {
      buffer_.erase(0, std::exchange(done_, 0));
      if (buffer_.size() > max_line_bytes) {
        return Error{Errc::limit, fmt::format("event stream: a line of more than {} bytes", max_line_bytes)};
      }
      return std::optional<worker::ContainerEvent>();
    }
    const auto line = text::trim(std::string_view(buffer_).substr(done_, end - done_));
    done_ = end + 1;
    if (line.empty()) {
      continue;
    }
    auto event = read_event(line);
    if (!event || *event) {
      return event;
    }
  }
}

}  // namespace hal::engine
