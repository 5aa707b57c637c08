#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace hal::guard {

/** Arguments as getopt sees them: options may stand anywhere before "--". */
struct Arguments {
  /** Letters of all short options, "-rf" being two. An option's value that is glued to it counts as letters too. */
  std::string letters;
  /** With "--", and without "=VALUE". */
  std::vector<std::string_view> long_options;
  std::vector<std::string_view> operands;

  [[nodiscard]] bool has(char letter) const { return letters.find(letter) != std::string::npos; }
  /** Long options may be cut to what is still unique; four characters and the dashes are always enough here. */
  [[nodiscard]] bool has(std::string_view option) const {
    return std::any_of(long_options.begin(), long_options.end(), [option](std::string_view given) {
      return given == option || (given.size() >= 5 && option.starts_with(given));
    });
  }
  /** Only as it is written. */
  [[nodiscard]] bool has_exactly(std::string_view option) const {
    return std::find(long_options.begin(), long_options.end(), option) != long_options.end();
  }
};

[[nodiscard]] inline Arguments arguments_of(const std::vector<std::string>& words, std::size_t first) {
  Arguments arguments;
  bool options = true;
  for (std::size_t i = first; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (options && word == "--") {
      options = false;
    } else if (options && word.starts_with("--")) {
      arguments.long_options.push_back(word.substr(0, word.find('=')));
    } else if (options && word.size() > 1 && word[0] == '-') {
      arguments.letters += word.substr(1);
    } else {
      arguments.operands.push_back(word);
    }
  }
  return arguments;
}

}  // namespace hal::guard
