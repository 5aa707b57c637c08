#include "install/recipe.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace hal::install {

namespace {

/** A package manager with a large tree; what it installs has the limits of its own entry. */
constexpr std::uint64_t memory_max = std::uint64_t{2} << 30;
constexpr std::uint64_t tasks_max = 512;
constexpr std::chrono::milliseconds stop_timeout{2000};
constexpr std::size_t max_told_bytes = 600;

/** All a package manager prints comes by one pipe, so that the message of a failure has it whoever runs it. */
constexpr const char script[] = "mkdir -p \"$HOME\" && exec \"$@\" 2>&1";

Step make_step(std::string message, const std::string& server, const std::string& folder,
               std::vector<std::string> words) {
  Step step;
  step.message = std::move(message);
  auto& config = step.config;
  config.name = server;
  config.argv = {"/bin/sh", "-c", script, "sh"};
  config.argv.insert(config.argv.end(), words.begin(), words.end());
  config.state_directory = folder;
  const auto scratch = scratch_folder(folder);
  config.env = {{"HOME", scratch}, {"TMPDIR", scratch}, {"npm_config_cache", scratch + "/npm"}};
  config.memory_max = memory_max;
  config.tasks_max = tasks_max;
  config.stop_timeout = stop_timeout;
  return step;
}

bool contains_any(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return text.find(word) != std::string_view::npos; });
}

/** The lines the package manager itself marks as the error; else the last ones. */
std::string told(std::string_view output) {
  constexpr std::array marks{"npm error", "npm ERR!", "ERROR:"};
  std::vector<std::string> marked;
  std::vector<std::string> all;
  for (const auto line : text::split(output, '\n')) {
    auto words = std::string(text::trim(line));
    if (words.empty() || contains_any(words, {"complete log of this run", "debug-0.log"})) {
      continue;
    }
    all.push_back(words);
    for (const std::string_view mark : marks) {
      if (words.starts_with(mark) && !text::trim(words.substr(mark.size())).empty()) {
        marked.emplace_back(text::trim(words.substr(mark.size())));
      }
    }
  }
  auto& lines = marked.empty() ? all : marked;
  std::string told;
  for (std::size_t i = lines.size() > 4 && marked.empty() ? lines.size() - 4 : 0; i < lines.size(); ++i) {
    told += (told.empty() ? "" : "; ") + lines[i];
  }
  return text::printable(told, max_told_bytes);
}

}  // namespace

std::string scratch_folder(const std::string& folder) {
  return folder + "/.scratch";
}

std::string pip_report(const std::string& folder) {
  return scratch_folder(folder) + "/report.json";
}

std::vector<Step> steps(const std::string& server, const Package& package, const std::string& folder, bool scripts) {
  if (package.registry == Registry::npm) {
    // Where it stands is told by a package.json: --prefix would also have it look for its settings below.
    std::vector<std::string> words = {"/bin/sh",
                                      "-c",
                                      "echo {} > package.json && exec \"$@\"",
                                      "sh",
                                      "npm",
                                      "install",
                                      "--omit=dev",
                                      "--no-audit",
                                      "--no-fund",
                                      "--loglevel=error",
                                      "--no-update-notifier",
                                      "--save-exact",
                                      "--fetch-retries=1"};
    if (!scripts) {
      words.emplace_back("--ignore-scripts");
    }
    words.insert(words.end(), {"--", package.requirement()});
    return {make_step(fmt::format("npm installs {}", package.requirement()), server, folder, std::move(words))};
  }
  std::vector<std::string> words = {folder + "/bin/python3",
                                    "-m",
                                    "pip",
                                    "install",
                                    "--no-input",
                                    "--disable-pip-version-check",
                                    "--no-cache-dir",
                                    "--progress-bar=off",
                                    "--retries=2",
                                    "--report=" + pip_report(folder)};
  if (!scripts) {
    words.emplace_back("--only-binary=:all:");
  }
  words.insert(words.end(), {"--", package.requirement()});
  return {make_step("python3 makes an environment", server, folder, {"python3", "-m", "venv", folder}),
          make_step(fmt::format("pip installs {}", package.requirement()), server, folder, std::move(words))};
}

Error failure(const Package& package, std::string_view output, std::string_view exit) {
  const auto reason = told(output);
  const auto message = [&](std::string_view what) {
    return fmt::format("{} {}: {}", package.text(), what, reason.empty() ? exit : reason);
  };
  if (contains_any(output, {"ENOSPC", "No space left on device"})) {
    return {Errc::limit, message("does not fit on the disk")};
  }
  if (contains_any(output, {"ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ENETUNREACH", "ETIMEDOUT",
                            "Failed to establish a new connection", "Temporary failure in name resolution",
                            "ConnectTimeoutError"})) {
    return {Errc::unavailable, message("cannot be fetched, the registry is not reachable")};
  }
  if (contains_any(output, {"E404", "ETARGET", "No matching distribution found"})) {
    return {Errc::not_found, message("does not exist, or not for this machine")};
  }
  return {Errc::unavailable, message(fmt::format("could not be installed ({})", exit))};
}

}  // namespace hal::install
