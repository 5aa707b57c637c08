#pragma once

#include "base/text.hpp"
#include "claudy/options.hpp"
#include "claudy/text_values.hpp"

#include <cstdlib>
#include <map>
#include <string>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

/** Options that several verbs have. For cli.cpp alone: CLI11 is compiled once. */
namespace hal::claudy::cli {

/** A value that is checked and converted; the error is CLI11's, so that it names the option. */
template <class Type, class Parse>
void add_parsed(CLI::App* verb, const std::string& name, Type& target, Parse parse, const std::string& help,
                const std::string& kind) {
  verb->add_option_function<std::string>(
          name,
          [&target, parse, name](const std::string& text) {
            auto value = parse(text);
            if (!value) {
              throw CLI::ValidationError(name, value.error().message);
            }
            target = std::move(*value);
          },
          help)
      ->type_name(kind);
}

template <class Number>
Result<Number> parse_number(const std::string& text) {
  const auto number = text::to_number<Number>(text);
  return number
             ? Result<Number>(*number)
             : Result<Number>(Error{Errc::invalid_argument, fmt::format("'{}' is no number", text::printable(text))});
}

/** "NAME=VALUE", or "NAME" for the value it has here. */
inline void add_variable(std::map<std::string, std::string>& variables, const std::string& word) {
  const auto equals = word.find('=');
  const auto name = word.substr(0, equals);
  if (name.empty()) {
    throw CLI::ValidationError("--env", "must be NAME=VALUE");
  }
  if (equals != std::string::npos) {
    variables[name] = word.substr(equals + 1);
    return;
  }
  const char* value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): there is one thread
  if (value == nullptr) {
    throw CLI::ValidationError("--env", fmt::format("{} is not set here: write {}=VALUE", name, name));
  }
  variables[name] = value;
}

inline void add_listing_flags(CLI::App* verb, ListOptions& options) {
  verb->add_flag("--json", options.json, "Print one JSON document");
  verb->add_flag("--watch", options.watch, "Print again after each change, until Ctrl-C");
}

inline void add_limits(CLI::App* verb, LimitOptions& limits) {
  add_parsed(verb, "--memory", limits.memory, parse_size, "Memory limit: 512M, 4G", "SIZE");
  add_parsed(verb, "--cpus", limits.cpus, parse_cpus, "CPU limit: 0.5, 2", "N");
  add_parsed(verb, "--pids", limits.pids, parse_number<std::uint64_t>, "Limit of processes and threads", "N");
}

inline void add_keys(CLI::App* verb, DetachKeys& keys) {
  keys = *DetachKeys::parse(DetachKeys::default_spec);
  add_parsed(verb, "--detach-keys", keys, DetachKeys::parse,
             fmt::format("Keys that detach, or none (default: {})", DetachKeys::default_spec), "KEYS");
}

inline void add_env(CLI::App* verb, std::map<std::string, std::string>& variables) {
  verb->add_option_function<std::vector<std::string>>(
          "-e,--env",
          [&variables](const std::vector<std::string>& words) {
            for (const auto& word : words) {
              add_variable(variables, word);
            }
          },
          "Environment variable NAME=VALUE, or NAME for its value here; may be repeated")
      ->type_name("NAME[=VALUE]")
      ->allow_extra_args(false);
}

inline void add_worker(CLI::App* verb, std::string& worker) {
  verb->add_option("WORKER", worker, "Name or id")->required();
}

inline void add_workers(CLI::App* verb, std::vector<std::string>& workers) {
  verb->add_option("WORKER", workers, "Names or ids")->required();
}

inline void add_scale(CLI::App* verb, PoolScaleOptions& options) {
  add_parsed(verb, "--min,MIN", options.min, parse_number<std::uint32_t>, "Always so many", "N");
  add_parsed(verb, "--max,MAX", options.max, parse_number<std::uint32_t>, "Demand may raise it to so many", "N");
  add_parsed(verb, "--idle-timeout", options.idle_timeout, parse_duration,
             "Keep more than are needed for so long: 90s, 5m", "TIME");
  verb->footer("The settings outlive the daemon and go before its configuration:  claudy pool scale 2 8");
}

}  // namespace hal::claudy::cli
