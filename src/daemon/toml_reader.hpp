#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

/** TOML files by their leaves; the only user of the TOML library. */
namespace hal::daemon {

/** One value of a file and where it stands. */
class TomlValue {
 public:
  /** The keys that lead to it, outermost first. */
  [[nodiscard]] virtual const std::vector<std::string>& path() const = 0;
  /** "FILE:LINE: key PATH: what" as Errc::invalid_argument. */
  [[nodiscard]] virtual Error error(std::string_view what) const = 0;

  /** Copy the value, or tell which type it must have. */
  [[nodiscard]] virtual Result<void> into(std::string& target) const = 0;
  [[nodiscard]] virtual Result<void> into(double& target) const = 0;
  [[nodiscard]] virtual Result<void> into(std::uint64_t& target) const = 0;
  [[nodiscard]] virtual Result<void> into(std::vector<std::string>& target) const = 0;
  /** A table of strings. */
  [[nodiscard]] virtual Result<void> into(std::map<std::string, std::string>& target) const = 0;
  /** The value as JSON text, for what has a reader of its own. */
  [[nodiscard]] virtual Result<void> into_json(std::string& target) const = 0;
  /** "FILE:LINE" */
  [[nodiscard]] virtual std::string place() const = 0;
  /** Bytes: a number, or a text like "512M". */
  [[nodiscard]] virtual Result<void> into_size(std::uint64_t& target) const = 0;

 protected:
  ~TomlValue() = default;
};

/**
 * Hands every leaf of a file to `take`, in the file's order: values, arrays, and the tables called "env" and "tools".
 * The first error ends it, as does a file that cannot be read, is larger than 1 MiB or is no TOML (with line and
 * column).
 */
[[nodiscard]] Result<void> read_toml(const std::string& file,
                                     const std::function<Result<void>(const TomlValue&)>& take);
/** The same for text; `file` is only for messages. */
[[nodiscard]] Result<void> parse_toml(std::string_view text, const std::string& file,
                                      const std::function<Result<void>(const TomlValue&)>& take);

}  // namespace hal::daemon
