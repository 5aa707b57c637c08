#include "daemon/toml_reader.hpp"

#include "base/text.hpp"
#include "base/unique_fd.hpp"
#include "server/units.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sstream>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

namespace hal::daemon {

namespace {

constexpr off_t max_file_bytes = off_t{1} << 20;

class Leaf final : public TomlValue {
 public:
  Leaf(const std::string& file, std::vector<std::string> path, const toml::node& node)
      : file_(file), path_(std::move(path)), node_(node) {}

  [[nodiscard]] const std::vector<std::string>& path() const override { return path_; }

  [[nodiscard]] Error error(std::string_view what) const override {
    return {Errc::invalid_argument,
            fmt::format("{}:{}: key {}: {}", file_, node_.source().begin.line, fmt::join(path_, "."), what)};
  }

  [[nodiscard]] Result<void> into(std::string& target) const override {
    const auto value = node_.value_exact<std::string>();
    if (!value) {
      return error("must be a string");
    }
    target = *value;
    return {};
  }

  [[nodiscard]] Result<void> into(double& target) const override {
    if (!node_.is_number()) {
      return error("must be a number");
    }
    target = node_.value_or(0.0);
    return {};
  }

  [[nodiscard]] Result<void> into(std::uint64_t& target) const override {
    const auto value = node_.value_exact<std::int64_t>();
    if (!value || *value < 0) {
      return error("must be a whole number, 0 or more");
    }
    target = static_cast<std::uint64_t>(*value);
    return {};
  }

  [[nodiscard]] Result<void> into(std::vector<std::string>& target) const override {
    const toml::array* array = node_.as_array();
    if (array == nullptr) {
      return error("must be an array of strings");
    }
    std::vector<std::string> values;
    for (const auto& element : *array) {
      const auto value = element.value_exact<std::string>();
      if (!value) {
        return error("must be an array of strings");
      }
      values.push_back(*value);
    }
    target = std::move(values);
    return {};
  }

  [[nodiscard]] Result<void> into(std::map<std::string, std::string>& target) const override {
    const toml::table* table = node_.as_table();
    if (table == nullptr) {
      return error("must be a table of strings");
    }
    for (const auto& [key, element] : *table) {
      const auto value = element.value_exact<std::string>();
      if (!value) {
        return error("must be a table of strings");
      }
      target[std::string(key.str())] = *value;
    }
    return {};
  }

  [[nodiscard]] Result<void> into_json(std::string& target) const override {
    std::ostringstream out;
    node_.visit([&out](const auto& value) { out << toml::json_formatter(value); });
    target = out.str();
    return {};
  }

  [[nodiscard]] std::string place() const override { return fmt::format("{}:{}", file_, node_.source().begin.line); }

  [[nodiscard]] Result<void> into_size(std::uint64_t& target) const override {
    if (node_.is_integer()) {
      return into(target);
    }
    const auto word = node_.value_exact<std::string>();
    const auto size = word ? server::parse_size(*word) : Error{Errc::invalid_argument, ""};
    if (!size) {
      return error("must be a number of bytes, or a text like \"512M\"");
    }
    target = *size;
    return {};
  }

 private:
  const std::string& file_;
  std::vector<std::string> path_;
  const toml::node& node_;
};

Result<void> walk(const std::string& file, const toml::table& table, const std::vector<std::string>& above,
                  const std::function<Result<void>(const TomlValue&)>& take) {
  for (const auto& [key, node] : table) {
    auto path = above;
    path.emplace_back(key.str());
    const bool leaf = !node.is_table() || path.back() == "env" || path.back() == "tools";
    const auto taken = leaf ? take(Leaf(file, path, node)) : walk(file, *node.as_table(), path, take);
    if (!taken) {
      return taken;
    }
  }
  return {};
}

}  // namespace

Result<void> parse_toml(std::string_view text, const std::string& file,
                        const std::function<Result<void>(const TomlValue&)>& take) {
  try {
    const toml::table document = toml::parse(text, file);
    return walk(file, document, {}, take);
  } catch (const toml::parse_error& error) {
    return Error{Errc::invalid_argument, fmt::format("{}:{}:{}: {}", file, error.source().begin.line,
                                                     error.source().begin.column, error.description())};
  }
}

Result<void> read_toml(const std::string& file, const std::function<Result<void>(const TomlValue&)>& take) {
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0) {
    return errno_error(file);
  }
  if (!S_ISREG(status.st_mode) || status.st_size > max_file_bytes) {
    return Error{Errc::invalid_argument, file + ": must be a regular file of at most 1 MiB"};
  }
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  const ssize_t bytes = ::read(fd.get(), text.data(), text.size());
  if (bytes < 0) {
    return errno_error(file);
  }
  text.resize(static_cast<std::size_t>(bytes));
  return parse_toml(text, file, take);
}

}  // namespace hal::daemon
