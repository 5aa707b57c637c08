#include "claudy/trace_view.hpp"

#include "base/text.hpp"
#include "claudy/client.hpp"
#include "claudy/text_values.hpp"
#include "json/json.hpp"

#include <time.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace hal::claudy {

namespace {

using nlohmann::json;

/** Longer than any line the gateway writes: what follows is not ours. */
constexpr std::size_t max_line_bytes = std::size_t{256} << 10;
constexpr std::size_t max_word_bytes = 128;

constexpr std::string_view red = "\x1b[31m";
constexpr std::string_view faint = "\x1b[2m";
constexpr std::string_view plain = "\x1b[0m";

/** Local time with microseconds. */
std::string clock_text(std::uint64_t usec) {
  const auto seconds = static_cast<time_t>(usec / 1'000'000);
  tm local{};
  ::localtime_r(&seconds, &local);
  return fmt::format("{:02}:{:02}:{:02}.{:06}", local.tm_hour, local.tm_min, local.tm_sec, usec % 1'000'000);
}

std::string word(const json& object, const char* key) {
  return text::printable(text_of(object, key), max_word_bytes);
}

}  // namespace

std::string TraceView::feed(std::string_view bytes) {
  std::string out;
  for (auto newline = bytes.find('\n'); newline != std::string_view::npos; newline = bytes.find('\n')) {
    rest_ += bytes.substr(0, newline);
    out += line(rest_);
    rest_.clear();
    bytes.remove_prefix(newline + 1);
  }
  if (rest_.size() + bytes.size() <= max_line_bytes) {
    rest_ += bytes;
  }
  return out;
}

std::string TraceView::line(std::string_view text) {
  const auto object = hal::json::parse(text);
  if (!object || !object->is_object()) {
    return fmt::format("{}\n", text::printable(text, max_word_bytes));
  }
  if (object->contains("end")) {
    end_ = End{word(*object, "end"), text_of(*object, "reason")};
  }
  if (style_.json) {
    return fmt::format("{}\n", text);
  }
  if (end_) {
    return {};  // said once more, and better, on standard error
  }
  if (object->contains("lost")) {
    return fmt::format("... {} messages were not read in time and are lost\n", number_of(*object, "lost"));
  }
  return message(*object);
}

std::string TraceView::message(const json& object) const {
  const bool from_client = text_of(object, "from") == "client";
  const auto kind = word(object, "kind");
  const auto tool = word(object, "tool");
  const auto id = object.find("id");
  const auto outcome = word(object, "outcome");
  const auto worker = word(object, "worker");
  std::string out = fmt::format("{} {} {:<8} {:<14} {:<12} {:>8} {:>9}  {}", clock_text(number_of(object, "time")),
                                from_client ? "->" : "<-", word(object, "session"), worker.empty() ? "-" : worker, kind,
                                id != object.end() ? text::printable(hal::json::dump(*id), max_word_bytes) : "-",
                                format_size(number_of(object, "bytes")), word(object, "method"));
  if (!tool.empty()) {
    out += " " + tool;
  }
  if (!outcome.empty()) {
    out += "  " + outcome;
  }
  if (object.contains("duration_usec")) {
    out += fmt::format("  {:.3f} ms", static_cast<double>(number_of(object, "duration_usec")) / 1000.0);
  }
  if (style_.colour) {
    const bool failed = !outcome.empty() && outcome != "ok";
    if (failed || kind == "notification") {
      out = fmt::format("{}{}{}", failed ? red : faint, out, plain);
    }
  }
  out += '\n';
  if (const auto payload = object.find("payload"); payload != object.end()) {
    const auto all = text_of(object, "payload");
    out +=
        fmt::format("    {}{}\n", text::printable(all, 4 * all.size() + 1), object.contains("payload_cut") ? "…" : "");
  }
  return out;
}

}  // namespace hal::claudy
