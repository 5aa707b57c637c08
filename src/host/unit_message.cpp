#include "host/unit_message.hpp"

#include "base/text.hpp"
#include "host/unit_names.hpp"
#include "server/launcher.hpp"

#include <linux/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include <fmt/format.h>

namespace hal::host {

namespace {

constexpr std::uint64_t start_timeout_usec = 30'000'000;
constexpr std::uint64_t no_capabilities = 0;
/** To unpack packages of all owners, as apt does it: a part as a user of its own, a part in the tree. */
constexpr std::uint64_t builder_capabilities = 1U << CAP_CHOWN | 1U << CAP_DAC_OVERRIDE | 1U << CAP_FOWNER |
                                               1U << CAP_FSETID | 1U << CAP_KILL | 1U << CAP_SETGID | 1U << CAP_SETUID |
                                               1U << CAP_SYS_CHROOT;
/** Beside workers and servers, whom somebody waits for. */
constexpr std::uint64_t builder_cpu_weight = 20;
constexpr std::uint64_t no_namespaces = 0;
constexpr std::uint32_t umask_private = 0077;

/** Appends properties; remembers the first failure. */
class Properties {
 public:
  explicit Properties(sd_bus_message* message) : message_(message) {
    check(sd_bus_message_open_container(message, 'a', "(sv)"));
  }

  void text(const char* name, const std::string& value) {
    check(sd_bus_message_append(message_, "(sv)", name, "s", value.c_str()));
  }
  void flag(const char* name, bool value) { check(sd_bus_message_append(message_, "(sv)", name, "b", int{value})); }
  void number(const char* name, std::uint64_t value) {
    check(sd_bus_message_append(message_, "(sv)", name, "t", value));
  }
  void error_number(const char* name, int value) { check(sd_bus_message_append(message_, "(sv)", name, "i", value)); }
  void mode(const char* name, std::uint32_t value) { check(sd_bus_message_append(message_, "(sv)", name, "u", value)); }
  void descriptor(const char* name, int fd) { check(sd_bus_message_append(message_, "(sv)", name, "h", fd)); }
  void one_text(const char* name, const std::string& value) {
    check(sd_bus_message_append(message_, "(sv)", name, "as", 1, value.c_str()));
  }
  void file(const char* name, const std::string& path) {
    check(sd_bus_message_append(message_, "(sv)", name, "a(sb)", 1, path.c_str(), 0));
  }
  void filter(const char* name, bool allow, const std::vector<std::string>& values) {
    open(name, "(bas)");
    check(sd_bus_message_open_container(message_, 'r', "bas"));
    check(sd_bus_message_append(message_, "b", int{allow}));
    strings(values);
    check(sd_bus_message_close_container(message_));
    close();
  }
  void bytes(const char* name, const std::string& value) {
    open(name, "aay");
    check(sd_bus_message_open_container(message_, 'a', "ay"));
    check(sd_bus_message_append_array(message_, 'y', value.data(), value.size()));
    check(sd_bus_message_close_container(message_));
    close();
  }
  /** With the flag that keeps systemd from expanding $ in the words. */
  void command(const std::string& program, const std::vector<std::string>& argv) {
    open("ExecStartEx", "a(sasas)");
    check(sd_bus_message_open_container(message_, 'a', "(sasas)"));
    check(sd_bus_message_open_container(message_, 'r', "sasas"));
    check(sd_bus_message_append(message_, "s", program.c_str()));
    strings(argv);
    strings({"no-env-expand"});
    check(sd_bus_message_close_container(message_));
    check(sd_bus_message_close_container(message_));
    close();
  }

  int finish() {
    check(sd_bus_message_close_container(message_));
    return result_;
  }

 private:
  void open(const char* name, const char* type) {
    check(sd_bus_message_open_container(message_, 'r', "sv"));
    check(sd_bus_message_append(message_, "s", name));
    check(sd_bus_message_open_container(message_, 'v', type));
  }
  void close() {
    check(sd_bus_message_close_container(message_));
    check(sd_bus_message_close_container(message_));
  }
  void strings(const std::vector<std::string>& values) {
    check(sd_bus_message_open_container(message_, 'a', "s"));
    for (const auto& value : values) {
      check(sd_bus_message_append(message_, "s", value.c_str()));
    }
    check(sd_bus_message_close_container(message_));
  }
  void check(int result) {
    if (result < 0 && result_ >= 0) {
      result_ = result;
    }
  }

  sd_bus_message* message_;
  int result_ = 0;
};

void add_process(Properties& properties, const UnitSpec& spec) {
  const auto& config = *spec.config;
  properties.text("Type", "exec");  // the start fails if the program cannot be executed
  auto argv = config.argv;
  properties.command(spec.program, argv);
  properties.text("User", spec.user);
  properties.text("WorkingDirectory", config.cwd.empty() ? config.state_directory : config.cwd);
  properties.file("EnvironmentFiles", spec.environment_file);
  properties.mode("UMask", umask_private);
  properties.descriptor("StandardInputFileDescriptor", spec.stdin_fd);
  properties.descriptor("StandardOutputFileDescriptor", spec.stdout_fd);
  // The descriptor wins; but were both the journal, stderr would be a copy of stdout and end up in the messages.
  properties.text("StandardOutput", "null");
  properties.text("StandardError", "journal");
  properties.text("SyslogIdentifier", "hal9000-mcp-" + config.name);
  properties.bytes("LogExtraFields", "HAL9000_SERVER=" + config.name);
}

void add_life(Properties& properties, const UnitSpec& spec) {
  const auto& config = *spec.config;
  properties.text("CollectMode", "inactive-or-failed");
  properties.flag("AddRef", true);  // kept until we have read how it ended
  // A script acts on the signal when the program it waits for has ended of the same.
  properties.text("KillMode", spec.sandbox == Sandbox::builder ? "control-group" : "mixed");
  properties.number("TimeoutStartUSec", start_timeout_usec);
  properties.number("TimeoutStopUSec",
                    static_cast<std::uint64_t>(std::chrono::microseconds(config.stop_timeout).count()));
  properties.text("Slice", spec.slice);
  properties.text("OOMPolicy", "kill");
  if (config.memory_max > 0) {
    properties.number("MemoryMax", config.memory_max);
    properties.number("MemorySwapMax", 0);
  }
  if (config.tasks_max > 0) {
    properties.number("TasksMax", config.tasks_max);
  }
  properties.number("LimitCORE", 0);
}

/** Not MemoryDenyWriteExecute: it ends every program that compiles while it runs, node first. */
void add_sandbox(Properties& properties, const UnitSpec& spec) {
  for (const auto* name : {"NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectKernelTunables",
                           "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "ProtectClock",
                           "ProtectHostname", "RestrictRealtime", "LockPersonality"}) {
    properties.flag(name, true);
  }
  const bool builder = spec.sandbox == Sandbox::builder;
  properties.flag("RestrictSUIDSGID", !builder);  // packages have such files, until they are unpacked
  properties.text("ProtectSystem", "strict");
  properties.text("ProtectHome", "yes");
  properties.text("ProtectProc", "invisible");
  properties.one_text("ReadWritePaths", spec.config->state_directory);
  properties.number("CapabilityBoundingSet", builder ? builder_capabilities : no_capabilities);
  properties.number("RestrictNamespaces", no_namespaces);
  properties.filter("RestrictAddressFamilies", true, {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"});
  properties.one_text("SystemCallArchitectures", "native");
  // @pkey: node guards its compiled code with memory protection keys.
  properties.filter("SystemCallFilter", true, {"@system-service", "@pkey"});
  if (!builder) {
    properties.filter("SystemCallFilter", false, {"@privileged"});
  } else {
    properties.filter("SystemCallFilter", true, {"chroot"});
    properties.number("CPUWeight", builder_cpu_weight);
  }
  properties.error_number("SystemCallErrorNumber",
                          EPERM);  // programs ask what they may; to be killed for it is no answer
}

void add_network(Properties& properties, const UnitSpec& spec) {
  if (spec.config->network == server::Network::none) {
    properties.flag("PrivateNetwork", true);
  } else if (spec.config->network == server::Network::parent) {
    properties.text("NetworkNamespacePath", spec.network_namespace);
  }
}

bool is_program(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 0111U) != 0;
}

}  // namespace

Result<void> fill_start_transient_unit(sd_bus_message* message, const UnitSpec& spec) {
  if (const int result = sd_bus_message_append(message, "ss", spec.name.c_str(), "fail"); result < 0) {
    return errno_error("StartTransientUnit", -result);
  }
  Properties properties(message);
  properties.text("Description", unit_description(spec.config->name, server::fingerprint(*spec.config)));
  add_process(properties, spec);
  add_life(properties, spec);
  add_sandbox(properties, spec);
  add_network(properties, spec);
  int result = properties.finish();
  if (result >= 0) {
    result = sd_bus_message_append(message, "a(sa(sv))", 0);
  }
  return result < 0 ? Result<void>(errno_error("StartTransientUnit", -result)) : Result<void>();
}

std::string environment_file(const std::vector<std::string>& entries) {
  std::string text;
  for (const auto& entry : entries) {
    const auto equals = entry.find('=');
    text += entry.substr(0, equals) + "=\"";
    for (const char c : std::string_view(entry).substr(equals + 1)) {
      if (c == '"' || c == '\\' || c == '`' || c == '$') {
        text += '\\';
      }
      text += c;
    }
    text += "\"\n";
  }
  return text;
}

Result<std::string> find_program(const std::string& program, const std::string& cwd,
                                 const std::vector<std::string>& env) {
  const Error missing{Errc::not_found, fmt::format("{}: there is no such program", text::printable(program))};
  if (program.find('/') != std::string::npos) {
    auto path = program.front() == '/' ? program : fmt::format("{}/{}", cwd, program);
    return is_program(path) ? Result<std::string>(std::move(path)) : missing;
  }
  for (const auto& entry : env) {
    if (!entry.starts_with("PATH=")) {
      continue;
    }
    for (const auto folder : text::split(std::string_view(entry).substr(5), ':')) {
      if (auto path = fmt::format("{}/{}", folder, program); folder.starts_with('/') && is_program(path)) {
        return path;
      }
    }
  }
  return missing;
}

}  // namespace hal::host
