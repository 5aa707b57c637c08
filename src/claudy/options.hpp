#pragma once

#include "claudy/detach_keys.hpp"
#include "claudy/output.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

/** What the command line says, verb by verb; already checked for its form. */
namespace hal::claudy {

struct Global {
  /** The session bus instead of the system bus. */
  bool user = false;
};

struct LimitOptions {
  std::optional<std::uint64_t> memory;
  std::optional<double> cpus;
  std::optional<std::uint64_t> pids;
};

struct OpenOptions {
  std::string directory = ".";
  std::vector<std::string> claude_arguments;
  DetachKeys keys;
};

struct SpawnOptions {
  std::string directory = ".";
  std::string name;
  std::string profile;
  std::string image;
  std::string network;
  std::string request_id;
  std::string claim;
  std::map<std::string, std::string> env;
  LimitOptions limits;
  bool read_only = false;
  std::optional<std::vector<std::string>> servers;
  std::vector<std::string> command;
  bool no_wait = false;
  bool json = false;
};

struct WorkerListOptions : ListOptions {
  bool all = false;
};

struct ShowOptions : ListOptions {
  std::string name;
};

struct AttachOptions {
  std::string worker;
  DetachKeys keys;
};

struct ExecOptions {
  std::string worker;
  std::vector<std::string> command;
  /** Unset: on a terminal if standard input and output are one. */
  std::optional<bool> terminal;
  std::map<std::string, std::string> env;
  std::string directory;
};

struct LogsOptions {
  std::string worker;
  bool follow = false;
  bool timestamps = false;
  std::optional<std::uint32_t> lines;
};

/** Verbs that do one thing to each of several workers. */
struct WorkersOptions {
  std::vector<std::string> workers;
};

struct StopOptions : WorkersOptions {
  /** Unset: the daemon's default. */
  std::optional<std::chrono::milliseconds> timeout;
};

struct KillOptions : WorkersOptions {
  std::string signal = "SIGKILL";
};

struct WorkerLimitsOptions {
  std::string worker;
  LimitOptions limits;
};

struct SendOptions {
  std::string worker;
  std::string text;
  bool no_enter = false;
};

struct CaptureOptions {
  std::string worker;
  std::uint32_t lines = 0;
};

struct PoolScaleOptions {
  std::optional<std::uint32_t> min;
  std::optional<std::uint32_t> max;
  std::optional<std::chrono::milliseconds> idle_timeout;
};

struct PoolWarmOptions {
  /** Unset: the pool's max. */
  std::optional<std::uint32_t> count;
};

struct ServerCallOptions {
  std::string name;
  std::string tool;
  std::string arguments;
  bool json = false;
};

struct ServerLogsOptions {
  std::string name;
  bool follow = false;
  bool json = false;
  std::optional<std::uint32_t> lines;
};

struct ImageBuildOptions {
  /** None: those of the parent and the default profile. */
  std::vector<std::string> names;
  bool refresh = false;
};

struct ServerInstallOptions {
  std::string name;
  std::string package;
  std::vector<std::string> args;
  std::map<std::string, std::string> env;
  std::string mode;
  std::string bin;
  bool scripts = false;
  bool replace = false;
  bool json = false;
};

struct ServerImportOptions {
  /** Empty: the usual places, or that of `from`. */
  std::string file;
  /** claude-desktop, claude-code, mcp-json, or empty. */
  std::string from;
  std::vector<std::string> only;
  bool dry_run = false;
  bool replace = false;
  bool install = false;
  bool yes = false;
  bool json = false;
};

struct ServerTraceOptions {
  std::string name;
  std::string worker;
  bool payloads = false;
  bool json = false;
};

}  // namespace hal::claudy
