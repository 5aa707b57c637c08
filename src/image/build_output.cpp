#include "image/build_output.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace hal::image {

namespace {

constexpr std::size_t max_message_bytes = 120;
constexpr std::size_t max_told_bytes = 800;
/** Scripts say last what went wrong, programs they run just before. */
constexpr std::size_t told_lines = 6;
constexpr std::size_t kept_bytes = 16 * 1024;
constexpr std::size_t max_images = 256;
constexpr std::size_t max_generation_bytes = 64;

}  // namespace

std::optional<Step> BuildOutput::feed(std::string_view bytes) {
  std::optional<Step> last;
  for (;;) {
    const auto end = bytes.find('\n');
    line_.append(bytes.substr(0, std::min(end, max_line_bytes - std::min(line_.size(), max_line_bytes))));
    if (end == std::string_view::npos) {
      return last;
    }
    if (auto step = take(line_)) {
      last = std::move(step);
    }
    line_.clear();
    bytes.remove_prefix(end + 1);
  }
}

std::optional<Step> BuildOutput::take(std::string_view line) {
  const auto space = line.find(' ');
  if (line.starts_with('@') && space != std::string_view::npos) {
    if (const auto percent = text::to_number<std::uint32_t>(line.substr(1, space - 1)); percent && *percent <= 100) {
      return Step{*percent / 100.0, text::printable(line.substr(space + 1), max_message_bytes)};
    }
  }
  tail_.append(line).append("\n");
  if (tail_.size() > 2 * kept_bytes) {
    tail_.erase(0, tail_.size() - kept_bytes);
  }
  return std::nullopt;
}

std::string BuildOutput::last_lines() const {
  std::vector<std::string_view> lines;
  const auto all = tail_ + line_;
  for (const auto line : text::split(all, '\n')) {
    if (const auto words = text::trim(line); !words.empty()) {
      lines.push_back(words);
    }
  }
  std::string told;
  for (auto i = lines.size() - std::min(lines.size(), told_lines); i < lines.size(); ++i) {
    told += (told.empty() ? "" : "; ") + std::string(lines[i]);
  }
  // What is said last says most.
  return text::printable(told.size() > max_told_bytes ? "…" + told.substr(told.size() - max_told_bytes) : told,
                         max_told_bytes + 3);
}

Result<Generations> read_generations(std::string_view text) {
  Generations generations;
  for (const auto line : text::split(text, '\n')) {
    const auto space = line.find(' ');
    if (line.empty()) {
      continue;
    }
    const auto name = line.substr(0, space);
    const auto generation = space == std::string_view::npos ? std::string_view() : line.substr(space + 1);
    const bool good = text::is_name(name) && !generation.empty() && generation.size() <= max_generation_bytes &&
                      text::is_name(generation) && generations.size() < max_images;
    if (!good) {
      return Error{Errc::protocol,
                   fmt::format("build.sh --print: \"{}\" is no image and its generation", text::printable(line, 80))};
    }
    generations.emplace(name, generation);
  }
  return generations;
}

}  // namespace hal::image
