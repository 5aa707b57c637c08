#include "host/kernel_log.hpp"
#include "host/slice.hpp"
#include "host/terminals.hpp"
#include "host/unit_message.hpp"
#include "host/unit_names.hpp"
#include "host/usage.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>

#include <gtest/gtest.h>

namespace hal::host {
namespace {

TEST(UnitNames, come_back_from_a_name) {
  for (const auto* server : {"memory", "a-b-c", "x.y_z", "0"}) {
    const auto name = unit_name(server, InstanceId{0x0123456789abcdef});
    EXPECT_EQ(name, std::string("hal9000-mcp-") + server + "-0123456789abcdef.service");
    const auto parsed = parse_unit_name(name);
    ASSERT_TRUE(parsed) << name;
    EXPECT_EQ(parsed->server, server);
    EXPECT_EQ(parsed->instance, InstanceId{0x0123456789abcdef});
  }
}

TEST(UnitNames, of_others_are_not_ours) {
  for (const auto* name :
       {"", "hal9000-mcp-.service", "hal9000-mcp-0123456789abcdef.service", "hal9000-mcp--0123456789abcdef.service",
        "hal9000-mcp-a-0123456789abcdeg.service", "hal9000-mcp-a-0123456789ABCDEF.service",
        "hal9000-mcp-a-0123456789abcdef.slice", "hal9000-mcp-a b-0123456789abcdef.service", "hal9000-mcp-.service",
        "hal9000.service", "hal9000-mcp-a-0123.service"}) {
    EXPECT_FALSE(parse_unit_name(name)) << name;
  }
}

TEST(UnitNames, descriptions_carry_the_fingerprint) {
  EXPECT_EQ(parse_unit_description(unit_description("memory", "0123456789abcdef")), "0123456789abcdef");
  EXPECT_EQ(parse_unit_description(unit_description("a, configuration b", "ff")), "ff");
  EXPECT_EQ(parse_unit_description("hal9000-mcp-a-0123456789abcdef.service"), "");
  EXPECT_EQ(parse_unit_description("HAL-9000 MCP server a, configuration ../x"), "");
}

TEST(EnvironmentFile, quotes_what_systemd_would_read_otherwise) {
  EXPECT_EQ(environment_file({"A=plain", "B=", "C=a=b", "D=q\"b\\d$e`f\nnext"}),
            "A=\"plain\"\nB=\"\"\nC=\"a=b\"\nD=\"q\\\"b\\\\d\\$e\\`f\nnext\"\n");
}

TEST(FindProgram, searches_the_path_of_the_environment_only) {
  EXPECT_EQ(find_program("sh", "/", {"A=1", "PATH=/nowhere:relative::/bin"}).value_or(""), "/bin/sh");
  EXPECT_FALSE(find_program("sh", "/", {"PATH=/nowhere"}));
  EXPECT_FALSE(find_program("sh", "/", {}));
  EXPECT_EQ(find_program("/bin/sh", "/x", {}).value_or(""), "/bin/sh");
  EXPECT_EQ(find_program("./sh", "/bin", {}).value_or(""), "/bin/./sh");
  EXPECT_FALSE(find_program("/bin", "/", {}));
  EXPECT_FALSE(find_program("/etc/passwd", "/", {}));
}

constexpr auto hybrid =
    "24 1 0:21 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n"
    "25 24 0:22 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"
    "26 24 0:23 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n"
    "27 24 0:24 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "broken line\n";

std::string folder(std::string_view mountinfo, std::string_view cgroup, std::string_view controller) {
  bool version_1 = false;
  const auto path = cgroup_folder(parse_cgroup_mounts(mountinfo), cgroup, controller, version_1);
  return (version_1 ? "1:" : "2:") + path;
}

TEST(Cgroups, version_1_where_it_has_the_controller) {
  const auto* const groups = "12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n0::/slice/unit\n";
  EXPECT_EQ(folder(hybrid, groups, "memory"), "1:/sys/fs/cgroup/memory/docker/abc");
  EXPECT_EQ(folder(hybrid, groups, "cpuacct"), "1:/sys/fs/cgroup/cpu,cpuacct/docker/abc");
  EXPECT_EQ(folder(hybrid, groups, "pids"), "2:/sys/fs/cgroup/unified/slice/unit");
}

TEST(Cgroups, version_2_alone) {
  const auto* const mounts = "25 24 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(folder(mounts, "0::/\n", "memory"), "2:/sys/fs/cgroup");
  EXPECT_EQ(folder(mounts, "0::/a/b\n", "memory"), "2:/sys/fs/cgroup/a/b");
  EXPECT_EQ(folder(mounts, "", "memory"), "2:");
  EXPECT_EQ(folder("", "0::/a\n", "memory"), "2:");
}

TEST(Cgroups, a_mount_that_shows_a_part) {
  const auto* const mounts = "25 24 0:22 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
  EXPECT_EQ(folder(mounts, "0::/docker/abc/inner\n", "memory"), "2:/sys/fs/cgroup/inner");
}

TEST(Slice, is_the_one_the_process_is_in) {
  EXPECT_EQ(slice_path("0::/hal9000.slice/hal9000.service\n"), "/hal9000.slice");
  EXPECT_EQ(slice_path("4:memory:/\n1:name=systemd:/docker/abc/hal9000.slice/hal9000.service\n0::/\n"),
            "/docker/abc/hal9000.slice");
  for (const auto* elsewhere : {"", "0::/\n", "0::/user.slice/x.scope\n", "1:cpu\n", "0::/a/hal9000.slice\n",
                                "0::/hal9000.slicer/x\n", "::::\n"}) {
    EXPECT_EQ(slice_path(elsewhere), "/hal9000.slice") << elsewhere;
  }
}

TEST(Usage, of_this_process_is_not_nothing_and_of_none_is) {
  const UsageReader reader;
  const auto nobody = reader.read(0);
  EXPECT_EQ(nobody.memory_bytes + nobody.cpu_nanoseconds + nobody.tasks, 0U);
  if (std::filesystem::is_empty("/sys/fs/cgroup")) {
    GTEST_SKIP() << "no control groups here";
  }
  EXPECT_GT(reader.read(::getpid()).cpu_nanoseconds, 0U);
}

std::string oom_line(const std::string& container, const std::string& task) {
  return "<6>[22374.525353] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=" + container +
         ",mems_allowed=0,oom_memcg=/docker/" + container + ",task_memcg=/docker/" + container + ",task=" + task +
         ",pid=9895,uid=1000\n<3>[22374.525375] Memory cgroup out of memory: Killed process 9895 (" + task + ")\n";
}

TEST(KernelLog, NamesTheLastVictimOfAContainer) {
  const struct {
    const char* what;
    std::string log;
    std::string victim;
  } cases[] = {
      {"nothing", "", ""},
      {"one", oom_line("c1", "tail"), "tail"},
      {"the last of many", oom_line("c1", "tail") + oom_line("c1", "node") + oom_line("c2", "cat"), "node"},
      {"another's", oom_line("c2", "tail"), ""},
      {"with a comma", oom_line("c1", "a,b"), "a,b"},
      {"like the kernel's words", oom_line("c1", ",pid=1,task="), ",pid=1,task="},
      {"not to be printed", oom_line("c1", "a\033[2J"), "a\\x1b[2J"},
      {"cut off before", oom_line("c1", "tail").substr(150), ""},
      {"cut off behind", oom_line("c1", "tail").substr(0, oom_line("c1", "tail").find(",pid=")), ""},
      {"of the whole host", "oom-kill:constraint=CONSTRAINT_NONE,global_oom,task_memcg=/docker/c1,task=x,pid=1,uid=0",
       "x"},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(memory_victim(one.log, "c1"), one.victim) << one.what;
  }
  EXPECT_EQ(memory_victim(oom_line("c1", "tail"), ""), "");
}

TEST(Terminals, TellWhenTheyWereUsed) {
  const auto before = static_cast<std::uint64_t>(::time(nullptr) - 9) * 1'000'000;  // they are told to 8 s
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(master, 0);
  ASSERT_EQ(::grantpt(master), 0);
  ASSERT_EQ(::unlockpt(master), 0);
  EXPECT_GE(last_terminal_activity(::getpid()), before);
  ::close(master);
  EXPECT_EQ(last_terminal_activity(0), 0U);
}

TEST(UsageReader, NamesTheProgramWithTheMostTasks) {
  const UsageReader reader;
  EXPECT_NE(reader.busiest_program(::getpid()), "");
  EXPECT_EQ(reader.busiest_program(0), "");
}

}  // namespace
}  // namespace hal::host
