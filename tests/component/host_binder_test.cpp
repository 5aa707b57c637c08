#include "host/binder.hpp"
#include "host/mounts.hpp"
#include "host/pidfd.hpp"
#include "support/component.hpp"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace hal::host {
namespace {

using namespace test;
using worker::Binder;
using worker::DetachedMount;

/** A uid without an entry in the user database; its group is the one of the same number. */
constexpr uid_t owner = 1234;
constexpr uid_t stranger = 2345;

/** Runs `function` in a forked child and returns what it says. */
std::string in_child(const std::function<std::string()>& function) {
  const auto pipe = make_pipe();
  const pid_t pid = ::fork();
  if (pid == 0) {
    const auto text = function();
    (void)!::write(pipe.write.get(), text.data(), text.size());
    ::_exit(0);
  }
  int status = 0;
  (void)::waitpid(pid, &status, 0);
  char buffer[4096];
  ::fcntl(pipe.read.get(), F_SETFL, O_NONBLOCK);
  const ssize_t bytes = ::read(pipe.read.get(), buffer, sizeof buffer);
  return {buffer, bytes > 0 ? static_cast<std::size_t>(bytes) : 0};
}

void become(uid_t uid) {
  if (::setgroups(0, nullptr) != 0 || ::setgid(uid) != 0 || ::setuid(uid) != 0) {
    ::_exit(1);
  }
}

std::string stat_text(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    return fmt::format("errno {}", errno);
  }
  return fmt::format("{}:{}", status.st_uid, status.st_gid);
}

std::string create_text(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_CREAT | O_WRONLY | O_EXCL | O_CLOEXEC, 0644));
  return fd ? "created" : fmt::format("errno {}", errno);
}

/** A process with a mount namespace and a root directory of its own, as the first one of a container has. */
class FakeContainer {
 public:
  explicit FakeContainer(const std::string& root) {
    const auto ready = make_pipe();
    pid_ = ::fork();
    if (pid_ == 0) {
      (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          ::mount("tmpfs", root.c_str(), "tmpfs", 0, "mode=755") != 0 || ::chroot(root.c_str()) != 0 ||
          ::chdir("/") != 0 || ::mkdir("/workspace", 0755) != 0 || ::mkdir("/home", 0755) != 0 ||
          ::symlink("/home", "/link") != 0 || ::mkdir("/real", 0755) != 0 || ::mkdir("/real/sub", 0755) != 0 ||
          ::symlink("real", "/half") != 0 || !std::ofstream("/file")) {
        ::_exit(1);
      }
      (void)!::write(ready.write.get(), "x", 1);
      for (;;) {
        ::pause();
      }
    }
    char byte = 0;
    EXPECT_EQ(::read(ready.read.get(), &byte, 1), 1);
  }
  ~FakeContainer() { end(); }
  FakeContainer(const FakeContainer&) = delete;
  FakeContainer& operator=(const FakeContainer&) = delete;

  void end() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      (void)::waitpid(pid_, nullptr, 0);
      pid_ = -1;
    }
  }

  [[nodiscard]] pid_t pid() const { return pid_; }

  [[nodiscard]] std::string run_as(uid_t uid, const std::function<std::string()>& function) const {
    return in_child([&] {
      const UniqueFd pidfd = open_pidfd(pid_);
      if (auto entered = enter_container(pid_, pidfd.get()); !entered) {
        return entered.error().message;
      }
      become(uid);
      return function();
    });
  }

 private:
  pid_t pid_ = -1;
};

class BinderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      GTEST_SKIP() << "needs root";
    }
    // What tests mount is seen by nobody else and goes with this process.
    static const bool alone =
        ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    if (!alone) {
      GTEST_SKIP() << "needs a mount namespace";
    }
    ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
    project_ = folder_ / "project";
    make_directory("project", owner);
    make_directory("root", 0);
    std::ofstream(project_ + "/old") << "text";
    ASSERT_EQ(::chown((project_ + "/old").c_str(), owner, owner), 0);
  }

  /** Ended tasks are reaped by the loop, a little after their answers. */
  void TearDown() override {
    EXPECT_TRUE(run_until(loop_, [] { return children().empty(); }));
  }

  void make_directory(std::string_view name, uid_t uid, mode_t mode = 0755) const {
    const auto path = folder_ / name;
    ASSERT_EQ(::mkdir(path.c_str(), mode), 0) << path;
    ASSERT_EQ(::chown(path.c_str(), uid, uid), 0);
  }

  Result<DetachedMount> open(Binder::OpenRequest request) {
    auto mounts = open(std::vector<Binder::OpenRequest>{std::move(request)});
    if (!mounts) {
      return mounts.error();
    }
    return std::move(mounts->at(0));
  }
  Result<std::vector<DetachedMount>> open(std::vector<Binder::OpenRequest> requests) {
    std::optional<Result<std::vector<DetachedMount>>> result;
    binder_.open(std::move(requests),
                 [&](Result<std::vector<DetachedMount>> mounts) { result.emplace(std::move(mounts)); });
    EXPECT_FALSE(result) << "answered from inside the call";
    EXPECT_TRUE(run_until(loop_, [&] { return result.has_value(); }));
    return result ? std::move(*result) : Error{Errc::internal, "no answer"};
  }
  Result<DetachedMount> open(const std::string& path, uid_t user = owner, bool read_only = false) {
    return open(Binder::OpenRequest{"", user, path, -1, read_only});
  }

  Result<void> place(pid_t pid, UniqueFd tree, const std::string& target = "/workspace") {
    std::vector<Binder::Placement> placements;
    placements.push_back({std::move(tree), target});
    return place(pid, std::move(placements));
  }
  Result<void> place(pid_t pid, std::vector<Binder::Placement> placements) {
    std::optional<Result<void>> result;
    binder_.place(pid, std::move(placements), [&](Result<void> done) { result.emplace(std::move(done)); });
    EXPECT_FALSE(result) << "answered from inside the call";
    EXPECT_TRUE(run_until(loop_, [&] { return result.has_value(); }));
    return result ? std::move(*result) : Error{Errc::internal, "no answer"};
  }

  Errc code_of(const std::string& path, uid_t user = owner) {
    auto result = open(path, user);
    EXPECT_FALSE(result) << path;
    if (result) {
      return Errc::internal;
    }
    EXPECT_NE(result.error().message.find(path), std::string::npos) << result.error().message;
    return result.error().code;
  }

  event::Loop loop_;
  MountBinder binder_{loop_};
  TempDir folder_;
  std::string project_;
};

TEST_F(BinderTest, owners_files_are_the_workers_in_the_container_and_stay_the_owners_outside) {
  const FakeContainer container(folder_ / "root");
  auto mount = open(project_);
  ASSERT_TRUE(mount) << mount.error().message;
  EXPECT_TRUE(mount->mapped);
  EXPECT_EQ(mount->real_path, project_);
  const auto placed = place(container.pid(), std::move(mount->tree));
  ASSERT_TRUE(placed) << placed.error().message;
  EXPECT_EQ(container.run_as(1000, [] { return stat_text("/workspace/old"); }), "1000:1000");
  EXPECT_EQ(container.run_as(1000, [] { return create_text("/workspace/new"); }), "created");
  EXPECT_EQ(stat_text(project_ + "/new"), "1234:1234");
}

TEST_F(BinderTest, files_of_others_stay_unreachable) {
  make_directory("project/secret", stranger, 0700);
  const FakeContainer container(folder_ / "root");
  auto mount = open(project_);
  ASSERT_TRUE(mount) << mount.error().message;
  ASSERT_TRUE(place(container.pid(), std::move(mount->tree)));
  EXPECT_EQ(container.run_as(1000, [] { return create_text("/workspace/secret/new"); }), "errno 13");
  EXPECT_EQ(container.run_as(1000, [] { return stat_text("/workspace/secret"); }), "65534:65534");
}

TEST_F(BinderTest, read_only_is_kept) {
  const FakeContainer container(folder_ / "root");
  auto mount = open(project_, owner, true);
  ASSERT_TRUE(mount) << mount.error().message;
  ASSERT_TRUE(place(container.pid(), std::move(mount->tree)));
  EXPECT_EQ(container.run_as(1000, [] { return create_text("/workspace/new"); }), "errno 30");
}

TEST_F(BinderTest, the_workers_own_uid_needs_no_mapping) {
  make_directory("same", 1000);
  const FakeContainer container(folder_ / "root");
  auto mount = open(folder_ / "same", 1000);
  ASSERT_TRUE(mount) << mount.error().message;
  EXPECT_TRUE(mount->mapped);
  ASSERT_TRUE(place(container.pid(), std::move(mount->tree)));
  EXPECT_EQ(container.run_as(1000, [] { return create_text("/workspace/new"); }), "created");
  EXPECT_EQ(stat_text(folder_ / "same/new"), "1000:1000");
}

TEST_F(BinderTest, roots_directories_are_mapped_as_well) {
  make_directory("of-root", 0, 0700);
  const FakeContainer container(folder_ / "root");
  auto mount = open(folder_ / "of-root", 0);
  ASSERT_TRUE(mount) << mount.error().message;
  ASSERT_TRUE(place(container.pid(), std::move(mount->tree)));
  EXPECT_EQ(container.run_as(1000, [] { return create_text("/workspace/new"); }), "created");
  EXPECT_EQ(stat_text(folder_ / "of-root/new"), "0:0");
}

TEST_F(BinderTest, in_a_directory_of_somebody_root_makes_files_of_theirs) {
  const FakeContainer container(folder_ / "root");
  auto mount = open(project_, 0);
  ASSERT_TRUE(mount) << mount.error().message;
  EXPECT_TRUE(mount->mapped);
  ASSERT_TRUE(place(container.pid(), std::move(mount->tree)));
  EXPECT_EQ(container.run_as(1000, [] { return stat_text("/workspace/old"); }), "1000:1000");
  EXPECT_EQ(container.run_as(1000, [] { return create_text("/workspace/new"); }), "created");
  EXPECT_EQ(stat_text(project_ + "/new"), "1234:1234");
}

TEST_F(BinderTest, set_uid_programs_and_devices_have_no_power) {
  const FakeContainer container(folder_ / "root");
  auto mount = open(project_);
  ASSERT_TRUE(mount) << mount.error().message;
  ASSERT_TRUE(place(container.pid(), std::move(mount->tree)));
  const auto flags = container.run_as(1000, [] {
    struct statvfs status {};
    return ::statvfs("/workspace", &status) == 0 ? fmt::format("{}", status.f_flag & (ST_NOSUID | ST_NODEV)) : "";
  });
  EXPECT_EQ(flags, fmt::format("{}", ST_NOSUID | ST_NODEV));
}

TEST_F(BinderTest, tmpfs_is_mapped_or_says_that_it_is_not) {
  ASSERT_EQ(::mount("tmpfs", project_.c_str(), "tmpfs", 0, "uid=1234,gid=1234,mode=755"), 0);
  const FakeContainer container(folder_ / "root");
  auto mount = open(project_);
  ASSERT_TRUE(mount) << mount.error().message;
  const bool mapped = mount->mapped;
  ASSERT_TRUE(place(container.pid(), std::move(mount->tree)));
  // Unmapped, the worker's programs run as the owner.
  EXPECT_EQ(container.run_as(mapped ? 1000 : owner, [] { return create_text("/workspace/new"); }), "created");
  EXPECT_EQ(stat_text(project_ + "/new"), "1234:1234");
}

TEST_F(BinderTest, overlay_is_mapped_or_says_that_it_is_not) {
  ASSERT_EQ(::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, "mode=755"), 0);
  for (const auto* name : {"lower", "upper", "work", "merged", "root"}) {
    make_directory(name, owner);
  }
  const auto options = fmt::format("lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work", folder_.path());
  const auto merged = folder_ / "merged";
  ASSERT_EQ(::mount("overlay", merged.c_str(), "overlay", 0, options.c_str()), 0);
  const FakeContainer container(folder_ / "root");
  auto mount = open(merged);
  ASSERT_TRUE(mount) << mount.error().message;
  const bool mapped = mount->mapped;
  ASSERT_TRUE(place(container.pid(), std::move(mount->tree)));
  EXPECT_EQ(container.run_as(mapped ? 1000 : owner, [] { return create_text("/workspace/new"); }), "created");
  EXPECT_EQ(stat_text(merged + "/new"), "1234:1234");
}

TEST_F(BinderTest, mounts_below_are_taken_along) {
  make_directory("project/below", owner);
  make_directory("elsewhere", owner);
  std::ofstream(folder_ / "elsewhere/inside") << "x";
  ASSERT_EQ(::chown((folder_ / "elsewhere/inside").c_str(), owner, owner), 0);
  ASSERT_EQ(::mount((folder_ / "elsewhere").c_str(), (project_ + "/below").c_str(), nullptr, MS_BIND, nullptr), 0);
  const FakeContainer container(folder_ / "root");
  auto mount = open(project_);
  ASSERT_TRUE(mount) << mount.error().message;
  EXPECT_TRUE(mount->mapped);
  ASSERT_TRUE(place(container.pid(), std::move(mount->tree)));
  EXPECT_EQ(container.run_as(1000, [] { return stat_text("/workspace/below/inside"); }), "1000:1000");
}

TEST_F(BinderTest, the_kernels_file_systems_are_left_out) {
  make_directory("project/proc", owner);
  ASSERT_EQ(::mount("proc", (project_ + "/proc").c_str(), "proc", 0, nullptr), 0);
  const FakeContainer container(folder_ / "root");
  auto mount = open(project_);
  ASSERT_TRUE(mount) << mount.error().message;
  EXPECT_TRUE(mount->mapped);
  ASSERT_TRUE(place(container.pid(), std::move(mount->tree)));
  EXPECT_EQ(container.run_as(1000, [] { return stat_text("/workspace/proc/1"); }), "errno 2");
  EXPECT_EQ(code_of(project_ + "/proc"), Errc::invalid_argument);
}

TEST_F(BinderTest, a_mount_without_mapping_below_does_not_spoil_the_rest) {
  make_directory("project/below", owner);
  // ramfs has no id mapping.
  ASSERT_EQ(::mount("ramfs", (project_ + "/below").c_str(), "ramfs", 0, nullptr), 0);
  std::ofstream(project_ + "/below/inside") << "x";
  const FakeContainer container(folder_ / "root");
  auto mount = open(project_);
  ASSERT_TRUE(mount) << mount.error().message;
  EXPECT_TRUE(mount->mapped);
  ASSERT_TRUE(place(container.pid(), std::move(mount->tree)));
  EXPECT_EQ(container.run_as(1000, [] { return stat_text("/workspace/old"); }), "1000:1000");
}

TEST_F(BinderTest, a_file_system_without_mapping_is_reported_unmapped) {
  ASSERT_EQ(::mount("ramfs", project_.c_str(), "ramfs", 0, nullptr), 0);
  ASSERT_EQ(::chown(project_.c_str(), owner, owner), 0);
  const FakeContainer container(folder_ / "root");
  auto mount = open(project_);
  ASSERT_TRUE(mount) << mount.error().message;
  EXPECT_FALSE(mount->mapped);
  ASSERT_TRUE(place(container.pid(), std::move(mount->tree)));
  EXPECT_EQ(container.run_as(owner, [] { return create_text("/workspace/new"); }), "created");
}

TEST_F(BinderTest, an_open_directory_serves_as_well_as_a_path) {
  const UniqueFd directory(::open(project_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  auto mount = open(Binder::OpenRequest{"", owner, "", directory.get(), false});
  ASSERT_TRUE(mount) << mount.error().message;
  EXPECT_EQ(mount->real_path, project_);
}

TEST_F(BinderTest, an_open_file_is_no_directory) {
  const UniqueFd file(::open((project_ + "/old").c_str(), O_RDONLY | O_CLOEXEC));
  const auto result = open(Binder::OpenRequest{"", owner, "", file.get(), false});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::invalid_argument);
}

TEST_F(BinderTest, an_open_directory_gives_no_rights_its_holder_does_not_have) {
  make_directory("private", stranger, 0700);
  const UniqueFd directory(::open((folder_ / "private").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const auto result = open(Binder::OpenRequest{"", owner, "", directory.get(), false});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::denied);
}

TEST_F(BinderTest, a_removed_directory_is_not_found) {
  make_directory("gone", owner);
  const UniqueFd directory(::open((folder_ / "gone").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(::rmdir((folder_ / "gone").c_str()), 0);
  const auto result = open(Binder::OpenRequest{"", owner, "", directory.get(), false});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::not_found);
}

TEST_F(BinderTest, errors_name_the_path_and_the_cause) {
  make_directory("private", stranger, 0700);
  make_directory("private/inside", owner);
  make_directory("no-reading", owner, 0311);
  ASSERT_EQ(::chmod((folder_ / "no-reading").c_str(), 0311), 0);
  ASSERT_EQ(::symlink("loop", (folder_ / "loop").c_str()), 0);
  EXPECT_EQ(code_of(folder_ / "missing"), Errc::not_found);
  EXPECT_EQ(code_of(project_ + "/old"), Errc::invalid_argument);
  EXPECT_EQ(code_of(project_ + "/old/below"), Errc::invalid_argument);
  EXPECT_EQ(code_of(folder_ / "private"), Errc::denied);
  EXPECT_EQ(code_of(folder_ / "private/inside"), Errc::denied);
  EXPECT_EQ(code_of(folder_ / "no-reading"), Errc::denied);
  EXPECT_EQ(code_of(folder_ / "loop"), Errc::invalid_argument);
  EXPECT_EQ(code_of("relative"), Errc::invalid_argument);
  EXPECT_EQ(code_of("/proc"), Errc::invalid_argument);
  EXPECT_EQ(code_of("/sys"), Errc::invalid_argument);
}

TEST_F(BinderTest, a_symbolic_link_is_followed_once_and_what_was_found_is_used) {
  make_directory("other", owner);
  const auto link = folder_ / "link";
  ASSERT_EQ(::symlink(project_.c_str(), link.c_str()), 0);
  const FakeContainer container(folder_ / "root");
  auto mount = open(link);
  ASSERT_TRUE(mount) << mount.error().message;
  EXPECT_EQ(mount->real_path, project_);
  ASSERT_EQ(::unlink(link.c_str()), 0);
  ASSERT_EQ(::symlink((folder_ / "other").c_str(), link.c_str()), 0);
  ASSERT_TRUE(place(container.pid(), std::move(mount->tree)));
  EXPECT_EQ(container.run_as(1000, [] { return stat_text("/workspace/old"); }), "1000:1000");
}

TEST_F(BinderTest, targets_that_the_worker_could_have_redirected_are_refused) {
  const FakeContainer container(folder_ / "root");
  for (const auto* target : {"/link", "/half/sub", "/file", "/missing", "/link/../workspace"}) {
    auto mount = open(project_);
    ASSERT_TRUE(mount);
    const auto placed = place(container.pid(), std::move(mount->tree), target);
    ASSERT_FALSE(placed) << target;
    EXPECT_NE(placed.error().message.find(target), std::string::npos) << placed.error().message;
  }
  EXPECT_EQ(container.run_as(0, [] { return stat_text("/home/old"); }), "errno 2");
}

TEST_F(BinderTest, a_target_cannot_leave_the_containers_root) {
  make_directory("outside", owner);
  const FakeContainer container(folder_ / "root");
  auto mount = open(project_);
  ASSERT_TRUE(mount);
  EXPECT_FALSE(place(container.pid(), std::move(mount->tree), "/../../../.." + (folder_ / "outside")));
}

TEST_F(BinderTest, of_several_placements_all_or_none_stay) {
  const FakeContainer container(folder_ / "root");
  auto first = open(project_);
  auto second = open(project_);
  ASSERT_TRUE(first && second);
  std::vector<Binder::Placement> placements;
  placements.push_back({std::move(first->tree), "/workspace"});
  placements.push_back({std::move(second->tree), "/missing"});
  EXPECT_FALSE(place(container.pid(), std::move(placements)));
  EXPECT_EQ(container.run_as(1000, [] { return stat_text("/workspace/old"); }), "errno 2");
}

TEST_F(BinderTest, several_placements_in_one_call) {
  const FakeContainer container(folder_ / "root");
  make_directory("home", owner);
  auto first = open(project_);
  auto second = open(folder_ / "home");
  ASSERT_TRUE(first && second);
  std::vector<Binder::Placement> placements;
  placements.push_back({std::move(first->tree), "/workspace"});
  placements.push_back({std::move(second->tree), "/home"});
  ASSERT_TRUE(place(container.pid(), std::move(placements)));
  EXPECT_EQ(container.run_as(1000, [] { return create_text("/home/new"); }), "created");
  EXPECT_EQ(stat_text(folder_ / "home/new"), "1234:1234");
}

TEST_F(BinderTest, a_container_that_has_ended_is_unavailable) {
  FakeContainer container(folder_ / "root");
  const auto pid = container.pid();
  container.end();
  auto mount = open(project_);
  ASSERT_TRUE(mount);
  const auto placed = place(pid, std::move(mount->tree));
  ASSERT_FALSE(placed);
  EXPECT_EQ(placed.error().code, Errc::unavailable);
  auto again = open(project_);
  ASSERT_TRUE(again);
  EXPECT_FALSE(place(0, std::move(again->tree)));
}

TEST_F(BinderTest, several_directories_are_opened_together_or_not_at_all) {
  make_directory("second", owner);
  const auto second = folder_ / "second";
  const auto both = open({Binder::OpenRequest{"first", owner, project_}, Binder::OpenRequest{"second", owner, second}});
  ASSERT_TRUE(both) << both.error().message;
  ASSERT_EQ(both->size(), 2U);
  EXPECT_EQ(both->at(0).real_path, project_);
  EXPECT_EQ(both->at(1).real_path, second);
  EXPECT_TRUE(both->at(0).tree && both->at(1).tree);
  ASSERT_TRUE(run_until(loop_, [] { return children().empty(); }));
  const auto fds = open_fds();
  const auto failed = open(
      {Binder::OpenRequest{"first", owner, project_}, Binder::OpenRequest{"the other", owner, folder_ / "missing"}});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::not_found);
  EXPECT_EQ(failed.error().message.find("the other: " + (folder_ / "missing")), 0U) << failed.error().message;
  ASSERT_TRUE(run_until(loop_, [] { return children().empty(); }));
  EXPECT_EQ(open_fds(), fds);
}

TEST_F(BinderTest, what_is_not_placed_vanishes) {
  ASSERT_TRUE(open(project_));  // now the loop has all descriptors it makes when they are first needed
  ASSERT_TRUE(run_until(loop_, [] { return children().empty(); }));
  const auto before = open_fds();
  {
    const auto mount = open(project_);
    ASSERT_TRUE(mount);
    ASSERT_TRUE(run_until(loop_, [] { return children().empty(); }));
    EXPECT_EQ(open_fds(), before + 1);
  }
  EXPECT_EQ(open_fds(), before);
  EXPECT_EQ(read_file("/proc/self/mountinfo").find(project_), std::string::npos);
}

TEST_F(BinderTest, too_many_at_once_are_refused_and_the_others_served) {
  std::size_t served = 0;
  std::size_t refused = 0;
  const std::size_t count = Tasks::max_tasks + 3;
  for (std::size_t i = 0; i < count; ++i) {
    binder_.open({Binder::OpenRequest{"", owner, project_, -1, false}},
                 [&](const Result<std::vector<DetachedMount>>& mounts) {
                   ++(mounts ? served : refused);
                   if (!mounts) {
                     EXPECT_EQ(mounts.error().code, Errc::busy) << mounts.error().message;
                   }
                 });
  }
  EXPECT_TRUE(run_until(
      loop_, [&] { return served + refused == count; }, 30s));
  EXPECT_EQ(refused, 3U);
}

}  // namespace
}  // namespace hal::host
