#include "guard/shell.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace hal::guard {

namespace {

constexpr std::array<std::string_view, 15> reserved = {
    "if", "then", "elif", "else", "while", "until", "do", "time", "coproc", "{", "!", "fi", "done", "}", "esac"};

bool is_reserved(std::string_view word) {
  return std::find(reserved.begin(), reserved.end(), word) != reserved.end();
}

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/** NAME=… or NAME+=…, which before a command sets its environment. */
bool is_assignment(std::string_view word) {
  const auto end = word.find('=');
  if (end == std::string_view::npos || end == 0 || (word[0] >= '0' && word[0] <= '9')) {
    return false;
  }
  const auto name = word.substr(0, word[end - 1] == '+' ? end - 1 : end);
  return !name.empty() && std::all_of(name.begin(), name.end(), is_name_character);
}

class Reader {
 public:
  explicit Reader(std::string_view script) : rest_(script) {}

  Result<std::vector<Command>> read() && {
    read_list('\0');
    if (too_deep_) {
      return Error{Errc::limit, "the command has too many substitutions within each other"};
    }
    return std::move(commands_);
  }

 private:
  /** What is being read: a command, and the word at its end. */
  struct Open {
    Command command;
    std::string word;
    bool has_word = false;
    /** The next word is where a redirection goes, or the end of a here-document. */
    bool redirects = false;
    bool here = false;
    bool here_tabs = false;
  };

  [[nodiscard]] char peek(std::size_t at = 0) const { return at < rest_.size() ? rest_[at] : '\0'; }
  void skip(std::size_t count) { rest_.remove_prefix(std::min(count, rest_.size())); }

  bool take(std::string_view text) {
    if (!rest_.starts_with(text)) {
      return false;
    }
    skip(text.size());
    return true;
  }

  void end_word(Open& open) {
    if (!open.has_word) {
      return;
    }
    if (open.here) {
      here_ends_.emplace_back(std::move(open.word), open.here_tabs);
    } else if (open.redirects) {
      open.command.redirections.push_back(std::move(open.word));
    } else if (!open.command.words.empty() || !(is_reserved(open.word) || is_assignment(open.word))) {
      open.command.words.push_back(std::move(open.word));
    }
    open.word.clear();
    open.has_word = open.redirects = open.here = false;
  }

  void end_command(Open& open) {
    end_word(open);
    if (!open.command.words.empty() || !open.command.redirections.empty()) {
      commands_.push_back(std::move(open.command));
    }
    open = {};
  }

  /** Commands until `end`, which is taken; of the whole script if that is none. */
  void read_list(char end) {
    if (++depth_ > max_script_depth) {
      too_deep_ = true;
      rest_ = {};
    }
    Open open;
    while (!rest_.empty()) {
      if (end != '\0' && peek() == end) {
        skip(1);
        break;
      }
      read_piece(open);
    }
    end_command(open);
    --depth_;
  }

  /** After its "(". In what another one follows, and in groups within, << is a shift and begins no here-document. */
  void read_group(bool within_arithmetic = false) {
    const bool outside = std::exchange(arithmetic_, within_arithmetic || peek() == '(');
    read_list(')');
    arithmetic_ = outside;
  }

  void read_piece(Open& open) {
    const char c = peek();
    switch (c) {
      case ' ':
      case '\t':
      case '\r':
        skip(1);
        return end_word(open);
      case '\n':
        skip(1);
        end_command(open);
        return skip_here_documents();
      case '#':
        if (!open.has_word) {
          return skip(std::min(rest_.find('\n'), rest_.size()));
        }
        break;
      case ';':
      case '|':
      case ')':
        skip(1);
        return end_command(open);
      case '(':
        skip(1);
        end_command(open);
        return read_group(arithmetic_);
      case '&':
        if (peek(1) == '>') {
          skip(1);
          end_word(open);
          return read_redirection(open);
        }
        skip(1);
        return end_command(open);
      case '<':
      case '>':
        if (!arithmetic_) {
          return read_redirection(open);
        }
        break;
      default:
        break;
    }
    open.has_word = true;
    read_part(open.word);
  }

  void read_redirection(Open& open) {
    // A number just before it is that of a descriptor.
    if (open.has_word && std::all_of(open.word.begin(), open.word.end(), [](char c) { return c >= '0' && c <= '9'; })) {
      open.word.clear();
      open.has_word = false;
    }
    end_word(open);
    if (take("<(") || take(">(")) {
      read_group();
      open.has_word = true;
      return;
    }
    if (take("<<<")) {
      return;  // its word is text, as an argument is
    }
    if (take("<<")) {
      open.here_tabs = take("-");
      open.here = true;
      return;
    }
    if (!take(">>") && !take("<>") && !take(">|")) {
      skip(1);
    }
    if (peek() == '&') {
      skip(1);
    }
    open.redirects = true;
  }

  /** A character of a word, or what is quoted or substituted as a whole. */
  void read_part(std::string& word) {
    const char c = peek();
    if (c == '\\') {
      if (peek(1) != '\n') {
        word += rest_.substr(1, 1);
      }
      skip(2);
    } else if (c == '\'') {
      skip(1);
      read_until_quote(word);
    } else if (c == '"') {
      skip(1);
      read_double_quotes(word);
    } else if (take("$'")) {
      read_escapes(word);
    } else if (c == '$' || c == '`') {
      read_expansion(word);
    } else {
      word += c;
      skip(1);
    }
  }

  void read_until_quote(std::string& word) {
    const auto end = std::min(rest_.find('\''), rest_.size());
    word += rest_.substr(0, end);
    skip(end + 1);
  }

  void read_double_quotes(std::string& word) {
    while (!rest_.empty() && !take("\"")) {
      const char c = peek();
      if (c == '\\') {
        const char next = peek(1);
        if (next != '"' && next != '\\' && next != '$' && next != '`' && next != '\n') {
          word += c;
        }
        if (next != '\n') {
          word += rest_.substr(1, 1);
        }
        skip(2);
      } else if (c == '$' || c == '`') {
        read_expansion(word);
      } else {
        word += c;
        skip(1);
      }
    }
  }

  /** Of $'…'. What its escapes mean matters to nobody here but for the quote. */
  void read_escapes(std::string& word) {
    while (!rest_.empty() && !take("'")) {
      if (peek() == '\\') {
        skip(1);
      }
      word += rest_.substr(0, 1);
      skip(1);
    }
  }

  void read_expansion(std::string& word) {
    if (take("`")) {
      return read_backquotes();
    }
    if (take("$(")) {
      return read_group();
    }
    word += '$';
    skip(1);
    if (peek() == '{') {
      const auto end = std::min(rest_.find('}'), rest_.size());
      word += rest_.substr(0, end + 1);
      skip(end + 1);
    }
  }

  /** Their inside is a script with one more level of backslashes. */
  void read_backquotes() {
    std::string inside;
    while (!rest_.empty() && !take("`")) {
      if (peek() == '\\' && (peek(1) == '`' || peek(1) == '\\' || peek(1) == '$')) {
        skip(1);
      }
      inside += rest_.substr(0, 1);
      skip(1);
    }
    const auto outside = std::exchange(rest_, inside);
    read_list('\0');
    rest_ = outside;
  }

  void skip_here_documents() {
    for (const auto& [end, tabs] : std::exchange(here_ends_, {})) {
      while (!rest_.empty()) {
        const auto length = std::min(rest_.find('\n'), rest_.size());
        auto line = rest_.substr(0, length);
        skip(length + 1);
        if (tabs) {
          line.remove_prefix(std::min(line.find_first_not_of('\t'), line.size()));
        }
        if (line == end) {
          break;
        }
      }
    }
  }

  std::string_view rest_;
  std::vector<Command> commands_;
  std::vector<std::pair<std::string, bool>> here_ends_;
  int depth_ = 0;
  bool arithmetic_ = false;
  bool too_deep_ = false;
};

}  // namespace

Result<std::vector<Command>> commands_of(std::string_view script) {
  if (script.size() > max_script_bytes) {
    return Error{Errc::limit, "the command is longer than 128 KiB"};
  }
  return Reader(script).read();
}

}  // namespace hal::guard
