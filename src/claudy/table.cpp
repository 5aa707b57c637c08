#include "claudy/table.hpp"

#include "base/limits.hpp"
#include "base/text.hpp"

#include <wchar.h>

#include <algorithm>
#include <cassert>
#include <cwchar>
#include <utility>

namespace hal::claudy {

namespace {

constexpr std::size_t gap = 2;

void append_padded(std::string& out, const std::string& cell, std::size_t width) {
  out += cell;
  out.append(width - display_width(cell) + gap, ' ');
}

}  // namespace

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  std::mbstate_t state{};
  while (!text.empty()) {
    wchar_t character = 0;
    const auto bytes = std::mbrtowc(&character, text.data(), text.size(), &state);
    if (bytes == 0 || bytes > text.size()) {  // not decodable in this locale
      state = {};
      width += (static_cast<unsigned char>(text.front()) & 0xC0U) == 0x80U ? 0U : 1U;
      text.remove_prefix(1);
      continue;
    }
    const int columns = ::wcwidth(character);
    width += columns >= 0 ? static_cast<std::size_t>(columns) : 1;
    text.remove_prefix(bytes);
  }
  return width;
}

Table::Table(std::vector<std::string> header) : rows_{std::move(header)} {}

void Table::add(const std::vector<std::string>& cells) {
  assert(cells.size() == rows_.front().size());
  auto& row = rows_.emplace_back();
  for (const auto& cell : cells) {
    row.push_back(cell.empty() ? "-" : text::printable(cell, limits::path_bytes));
  }
}

std::string Table::text() const {
  std::vector<std::size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], display_width(row[i]));
    }
  }
  std::string out;
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i) {
      append_padded(out, row[i], widths[i]);
    }
    out += row.back();
    out += '\n';
  }
  return out;
}

std::string pairs(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::size_t width = 0;
  for (const auto& row : rows) {
    width = std::max(width, display_width(row.first) + 1);
  }
  std::string out;
  for (const auto& [key, value] : rows) {
    append_padded(out, key + ":", width);
    out += value.empty() ? "-" : text::printable(value, limits::path_bytes);
    out += '\n';
  }
  return out;
}

}  // namespace hal::claudy
