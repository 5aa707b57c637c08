#include "init/tmux_environment.hpp"

#include <algorithm>
#include <cstring>

namespace hal::init {

namespace {

/** In tmux's double quotes: its special characters, and all control characters, by their octal numbers. */
std::string tmux_string(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < ' ' || std::strchr("\"\\$#~;{}", c) != nullptr) {
      out += '\\';
      for (const int shift : {6, 3, 0}) {
        out += static_cast<char>('0' + ((byte >> shift) & 7));
      }
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string name_of(const std::string& entry) {
  return entry.substr(0, entry.find('='));
}

}  // namespace

std::string environment_commands(const std::vector<std::string>& from, const std::vector<std::string>& to) {
  std::string commands;
  for (const auto& entry : from) {
    const auto same_name = [name = name_of(entry)](const std::string& other) { return name_of(other) == name; };
    if (std::none_of(to.begin(), to.end(), same_name)) {
      commands += "set-environment -gu " + tmux_string(name_of(entry)) + "\n";
    }
  }
  for (const auto& entry : to) {
    if (std::find(from.begin(), from.end(), entry) == from.end()) {
      const auto name = name_of(entry);
      commands += "set-environment -g " + tmux_string(name) + " " + tmux_string(entry.substr(name.size() + 1)) + "\n";
    }
  }
  return commands;
}

}  // namespace hal::init
