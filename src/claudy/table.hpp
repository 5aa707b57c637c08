#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace hal::claudy {

/** Columns of text for people. Cells are made printable; widths are those on the terminal, also of wide characters. */
class Table {
 public:
  explicit Table(std::vector<std::string> header);
  /** As many cells as the header has. An empty cell shows as "-". */
  void add(const std::vector<std::string>& cells);
  /** Lines that each end in a newline; the last column is not padded. */
  [[nodiscard]] std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/** "key: value" lines with the values below each other. */
[[nodiscard]] std::string pairs(const std::vector<std::pair<std::string, std::string>>& rows);

/** Columns a printable UTF-8 text takes on a terminal; bytes that are none take one. */
[[nodiscard]] std::size_t display_width(std::string_view text);

}  // namespace hal::claudy
