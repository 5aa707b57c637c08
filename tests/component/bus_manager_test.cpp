#include "bus_support.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace hal::test {
namespace {

class BusManager : public ::testing::Test, public BusTest {
 protected:
  Client root{loop, daemon.address(), 0};
  static constexpr const char* path = "/org/hal9000";

  static ino_t inode(int fd) {
    struct stat status {};
    return ::fstat(fd, &status) == 0 ? status.st_ino : 0;
  }
};

TEST_F(BusManager, shows_the_daemon) {
  EXPECT_EQ(root.property(path, manager, "Version"), "1.2.3");
  EXPECT_EQ(root.property(path, manager, "State"), "running");
  EXPECT_EQ(root.property(path, manager, "NWorkers"), "1");
  EXPECT_EQ(root.property(path, manager, "Features"), "idmap ");
}

TEST_F(BusManager, spawns_a_worker_for_its_caller) {
  root.record();
  const auto answer = root.call(path, manager, "Spawn", "sa{sv}", "/srv/p", 3, "name", "s", "w-1", "memory", "t",
                                std::uint64_t{8} << 20, "env", "a{ss}", 1, "A", "b");
  EXPECT_EQ(answer.text(), "/org/hal9000/worker/000000000001");
  ASSERT_TRUE(registry.last_spawn.has_value());
  EXPECT_EQ(registry.last_spawn->owner, 0U);
  EXPECT_EQ(registry.last_spawn->workspace, "/srv/p");
  EXPECT_EQ(registry.last_spawn->name, "w-1");
  EXPECT_EQ(registry.last_spawn->memory_bytes, std::uint64_t{8} << 20);
  EXPECT_EQ(registry.last_spawn->env.at("A"), "b");
  ASSERT_TRUE(root.wait_signal(path, "InterfacesAdded"));
  EXPECT_EQ(root.signals.front().words.count("/org/hal9000/worker/000000000001"), 1U);
  EXPECT_EQ(root.signals.front().words.count(worker1), 1U);
  ASSERT_TRUE(root.wait_signal(path, "PropertiesChanged"));
  EXPECT_EQ(root.property(path, manager, "NWorkers"), "2");
}

TEST_F(BusManager, spawns_by_descriptor) {
  const TempDir folder;
  const UniqueFd fd(::open(folder.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const auto answer = root.call(path, manager, "SpawnAt", "ha{sv}", fd.get(), 0);
  EXPECT_EQ(answer.text(), "/org/hal9000/worker/000000000001");
  ASSERT_TRUE(registry.last_spawn.has_value());
  EXPECT_EQ(inode(registry.last_spawn->directory.get()), inode(fd.get()));
  EXPECT_NE(::fcntl(registry.last_spawn->directory.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(BusManager, refuses_what_it_cannot_read_without_asking_anyone) {
  const auto unknown = root.call(path, manager, "Spawn", "sa{sv}", "/srv", 1, "colour", "s", "red");
  EXPECT_EQ(unknown.error(), "org.hal9000.Error.InvalidArgument");
  EXPECT_EQ(unknown.error_message(), "there is no option \"colour\" here");
  const auto wrong = root.call(path, manager, "Spawn", "sa{sv}", "/srv", 1, "memory", "s", "4G");
  EXPECT_EQ(wrong.error(), "org.hal9000.Error.InvalidArgument");
  EXPECT_EQ(wrong.error_message(), "option \"memory\" must be of type \"t\", not \"s\"");
  const auto nested = root.call(path, manager, "Spawn", "sa{sv}", "/srv", 1, "name", "(ii)", 1, 2);
  EXPECT_EQ(nested.error_message(), "option \"name\" must be of type \"s\", not \"(ii)\"");
  const auto relative = root.call(path, manager, "Spawn", "sa{sv}", "srv", 0);
  EXPECT_EQ(relative.error(), "org.hal9000.Error.InvalidArgument");
  EXPECT_NE(relative.error_message().find("workspace"), std::string::npos);
  const auto claim = root.call(path, manager, "Spawn", "sa{sv}", "/srv", 1, "claim", "s", "maybe");
  EXPECT_EQ(claim.error(), "org.hal9000.Error.InvalidArgument");
  EXPECT_TRUE(registry.calls.empty());
}

TEST_F(BusManager, passes_every_error_on_with_its_name_and_message) {
  const std::pair<Errc, const char*> names[] = {{Errc::invalid_argument, "org.hal9000.Error.InvalidArgument"},
                                                {Errc::not_found, "org.hal9000.Error.NotFound"},
                                                {Errc::already_exists, "org.hal9000.Error.AlreadyExists"},
                                                {Errc::busy, "org.hal9000.Error.Busy"},
                                                {Errc::limit, "org.hal9000.Error.LimitExceeded"},
                                                {Errc::denied, "org.freedesktop.DBus.Error.AccessDenied"},
                                                {Errc::timed_out, "org.hal9000.Error.TimedOut"},
                                                {Errc::cancelled, "org.hal9000.Error.Cancelled"},
                                                {Errc::disconnected, "org.hal9000.Error.Disconnected"},
                                                {Errc::unavailable, "org.hal9000.Error.Unavailable"},
                                                {Errc::protocol, "org.hal9000.Error.Protocol"},
                                                {Errc::internal, "org.hal9000.Error.Internal"}};
  ASSERT_EQ(std::size(names), std::size(all_errcs));
  for (const auto& [code, name] : names) {
    registry.next_error = Error{code, "because of \xff"};
    const auto answer = root.call(path, manager, "Spawn", "sa{sv}", "/srv", 0);
    EXPECT_EQ(answer.error(), name);
    EXPECT_EQ(answer.error_message(), "because of \\xff");
  }
}

TEST_F(BusManager, bounds_the_spawns_of_a_user) {
  registry.hold = true;
  std::vector<Client::Pending> pending;
  for (int i = 0; i < 17; ++i) {
    pending.push_back(root.start(path, manager, "Spawn", "sa{sv}", "/srv", 0));
  }
  EXPECT_EQ(root.wait(pending.back()).error(), "org.hal9000.Error.LimitExceeded");
  EXPECT_EQ(pending.front()->get(), nullptr);
  registry.release();
  for (std::size_t i = 0; i < 16; ++i) {
    EXPECT_TRUE(root.wait(pending[i]).ok());
  }
  EXPECT_TRUE(root.call(path, manager, "Spawn", "sa{sv}", "/srv", 0).ok());
}

TEST_F(BusManager, answers_a_call_it_gives_up) {
  registry.hold = true;
  const auto pending = root.start(path, manager, "Spawn", "sa{sv}", "/srv", 0);
  ASSERT_TRUE(run_until(loop, [&] { return !registry.calls.empty(); }));
  registry.give_up();
  EXPECT_EQ(root.wait(pending).error(), "org.hal9000.Error.Cancelled");
}

TEST_F(BusManager, lets_the_answers_it_owes_outlive_it) {
  registry.hold = true;
  const auto pending = root.start(path, manager, "Spawn", "sa{sv}", "/srv", 0);
  ASSERT_TRUE(run_until(loop, [&] { return !registry.calls.empty(); }));
  service.reset();
  connection.reset();
  registry.give_up();
  EXPECT_EQ(root.wait(pending).error(), "org.hal9000.Error.Cancelled");
}

TEST_F(BusManager, survives_a_bug_of_ours) {
  registry.throw_next = true;
  const auto answer = root.call(path, manager, "Spawn", "sa{sv}", "/srv", 0);
  EXPECT_EQ(answer.error(), "org.hal9000.Error.Internal");
  EXPECT_EQ(answer.error_message().find("secret"), std::string::npos);
  EXPECT_TRUE(root.call(path, manager, "Spawn", "sa{sv}", "/srv", 0).ok());
}

TEST_F(BusManager, finds_workers_by_id_and_by_the_callers_name) {
  add_worker("0b", 0).name = "first";
  EXPECT_EQ(root.call(path, manager, "GetWorker", "s", "0a").text(), path_of("0a"));
  EXPECT_EQ(root.call(path, manager, "GetWorker", "s", "first").text(), path_of("0b"));
  EXPECT_EQ(root.call(path, manager, "GetWorker", "s", "nobody").error(), "org.hal9000.Error.NotFound");

  Client owner(loop, daemon.address(), alice);
  EXPECT_EQ(owner.call(path, manager, "GetWorker", "s", "first").text(), path_of("0a"));
  Client other(loop, daemon.address(), bob);
  EXPECT_EQ(other.call(path, manager, "GetWorker", "s", "first").error(), "org.hal9000.Error.NotFound");
  EXPECT_EQ(other.call(path, manager, "GetWorker", "s", "0a").text(), path_of("0a"));
}

TEST_F(BusManager, finds_any_users_worker_for_root_if_the_name_is_clear) {
  EXPECT_EQ(root.call(path, manager, "GetWorker", "s", "first").text(), path_of("0a"));
  add_worker("0b", bob).name = "first";
  EXPECT_EQ(root.call(path, manager, "GetWorker", "s", "first").error(), "org.hal9000.Error.Busy");
}

TEST_F(BusManager, lists_workers_oldest_first) {
  add_worker("00", bob).created_usec = 30;
  add_worker("0c", 0).created_usec = 10;
  const auto answer = root.call(path, manager, "ListWorkers");
  ASSERT_TRUE(answer.ok()) << answer.error();
  ASSERT_GT(sd_bus_message_enter_container(answer.get(), 'a', "(sssuxo)"), 0);
  std::vector<std::string> rows;
  const char *id = nullptr, *name = nullptr, *state = nullptr, *object = nullptr;
  std::uint32_t owner = 0;
  std::int64_t created = 0;
  while (sd_bus_message_read(answer.get(), "(sssuxo)", &id, &name, &state, &owner, &created, &object) > 0) {
    rows.push_back(std::string(id) + " " + name + " " + state + " " + std::to_string(owner) + " " +
                   std::to_string(created) + " " + object);
  }
  EXPECT_EQ(rows, (std::vector<std::string>{"0c w0c running 0 10 /org/hal9000/worker/0c",
                                            "0a first running 1 20 /org/hal9000/worker/0a",
                                            "00 w00 running 2 30 /org/hal9000/worker/00"}));
}

TEST_F(BusManager, reloads) {
  EXPECT_TRUE(root.call(path, manager, "Reload").ok());
  control.reload_error = Error{Errc::invalid_argument, "hal9000.toml:3: unknown key"};
  const auto answer = root.call(path, manager, "Reload");
  EXPECT_EQ(answer.error(), "org.hal9000.Error.InvalidArgument");
  EXPECT_EQ(answer.error_message(), "hal9000.toml:3: unknown key");
  EXPECT_EQ(control.reloads, 2);
}

TEST_F(BusManager, stops_all_in_a_job) {
  root.record();
  const auto job = root.call(path, manager, "StopAll", "u", 500).text();
  EXPECT_EQ(job, "/org/hal9000/job/1");
  EXPECT_EQ(control.timeout, 500ms);
  ASSERT_TRUE(root.wait_signal(path, "JobNew"));
  EXPECT_EQ(root.property(job, job1, "State"), "running");
  EXPECT_EQ(root.property(job, job1, "Kind"), "stop-all");
  EXPECT_EQ(root.property(job, job1, "Result"), "");

  control.progress(0.5, "worker 0a");
  ASSERT_TRUE(root.wait_signal(job, "PropertiesChanged"));
  EXPECT_EQ(root.signals.back().words, (std::set<std::string>{"Progress", "Message"}));
  EXPECT_EQ(root.property(job, job1, "Progress"), "0.5");
  EXPECT_EQ(root.property(job, job1, "Message"), "worker 0a");

  control.done({});
  ASSERT_TRUE(root.wait_signal(path, "JobRemoved"));
  EXPECT_EQ(root.signals_of(path, "JobRemoved").front().words, (std::set<std::string>{job, "done"}));
  EXPECT_EQ(root.property(job, job1, "Result"), "done");
  EXPECT_EQ(root.property(job, job1, "Progress"), "1");
  EXPECT_EQ(root.call(job, job1, "Cancel").error(), "org.hal9000.Error.Busy");
}

TEST_F(BusManager, cancels_a_job) {
  const auto job = root.call(path, manager, "StopAll", "u", 0).text();
  EXPECT_EQ(control.timeout, 10s);
  EXPECT_TRUE(root.call(job, job1, "Cancel").ok());
  EXPECT_TRUE(control.cancelled);
  EXPECT_EQ(root.property(job, job1, "Result"), "cancelled");
  EXPECT_EQ(root.property(job, job1, "State"), "finished");
}

TEST_F(BusManager, shows_why_a_job_failed) {
  const auto job = root.call(path, manager, "StopAll", "u", 0).text();
  control.done(Error{Errc::timed_out, "worker 0a does not end"});
  EXPECT_EQ(root.property(job, job1, "Result"), "timed_out");
  EXPECT_EQ(root.property(job, job1, "Message"), "worker 0a does not end");
}

TEST_F(BusManager, adds_and_removes_servers) {
  EXPECT_TRUE(root.call(path, manager, "AddServers", "sa{sv}", "{}", 1, "replace", "b", 1).ok());
  EXPECT_TRUE(root.call(path, manager, "AddServers", "sa{sv}", "{}", 1, "dry_run", "b", 1).ok());
  EXPECT_TRUE(root.call(path, manager, "RemoveServer", "s", "a").ok());
  EXPECT_EQ(editor.calls, (std::vector<std::string>{"add {} r-", "add {} -d", "remove a"}));
  editor.next_error = Error{Errc::already_exists, "a stands in mcp.json"};
  const auto answer = root.call(path, manager, "AddServers", "sa{sv}", "{}", 0);
  EXPECT_EQ(answer.error(), "org.hal9000.Error.AlreadyExists");
  EXPECT_EQ(answer.error_message(), "a stands in mcp.json");
  EXPECT_EQ(root.call(path, manager, "AddServers", "sa{sv}", "{}", 1, "force", "b", 1).error(),
            "org.hal9000.Error.InvalidArgument");
}

TEST_F(BusManager, installs_a_server_in_a_job) {
  const auto job = root.call(path, manager, "InstallServer", "ssa{sv}", "a", "npm:b", 3, "args", "as", 1, "-x", "mode",
                             "s", "session", "scripts", "b", 1)
                       .text();
  EXPECT_EQ(root.property(job, job1, "Kind"), "install-server");
  ASSERT_TRUE(editor.last_install);
  EXPECT_EQ(editor.last_install->package, "npm:b");
  EXPECT_EQ(editor.last_install->args, std::vector<std::string>{"-x"});
  EXPECT_FALSE(editor.last_install->env) << "what is not given stays as it was";
  EXPECT_TRUE(editor.last_install->scripts && editor.last_install->mode == "session");
  EXPECT_TRUE(root.call(job, job1, "Cancel").ok());
  EXPECT_TRUE(editor.cancelled);
  editor.next_error = Error{Errc::busy, "a is being installed"};
  EXPECT_EQ(root.call(path, manager, "InstallServer", "ssa{sv}", "a", "npm:b", 0).error(), "org.hal9000.Error.Busy");
}

TEST_F(BusManager, lists_images) {
  images.images = {{"hal9000/parent", "stale", "sha256:1", 91'000'000, "old", "new"},
                   {"busybox", "foreign", "", 0, "", ""}};
  const auto listed = root.call(path, manager, "ListImages");
  ASSERT_TRUE(listed.ok()) << listed.error();
  ASSERT_GT(sd_bus_message_enter_container(listed.get(), 'a', "(sstsss)"), 0);
  const char* name = nullptr;
  const char* state = nullptr;
  std::uint64_t size = 0;
  const char* generation = nullptr;
  const char* wanted = nullptr;
  const char* id = nullptr;
  ASSERT_GT(sd_bus_message_read(listed.get(), "(sstsss)", &name, &state, &size, &generation, &wanted, &id), 0);
  EXPECT_EQ(fmt::format("{} {} {} {} {} {}", name, state, size, generation, wanted, id),
            "hal9000/parent stale 91000000 old new sha256:1");
  ASSERT_GT(sd_bus_message_read(listed.get(), "(sstsss)", &name, &state, &size, &generation, &wanted, &id), 0);
  EXPECT_STREQ(state, "foreign");
}

TEST_F(BusManager, builds_and_loads_images_in_jobs) {
  const auto job =
      root.call(path, manager, "BuildImages", "asa{sv}", 2, "parent", "worker-node", 1, "refresh", "b", 1).text();
  EXPECT_EQ(images.job, "build parent,worker-node r");
  EXPECT_EQ(root.property(job, job1, "Kind"), "build-images");
  images.progress(0.25, "fetches Claude Code");
  EXPECT_EQ(root.property(job, job1, "Message"), "fetches Claude Code");
  EXPECT_FALSE(images.cancelled);
  EXPECT_TRUE(root.call(job, job1, "Cancel").ok());
  EXPECT_TRUE(images.cancelled);
  const UniqueFd archive(::memfd_create("archive", MFD_CLOEXEC));
  ASSERT_EQ(::write(archive.get(), "twelve bytes", 12), 12);
  const auto load = root.call(path, manager, "LoadImages", "h", archive.get()).text();
  EXPECT_EQ(images.job, "load 12 bytes");
  images.done(Error{Errc::unavailable, "the archive is refused: there is no image in it"});
  EXPECT_EQ(root.property(load, job1, "Result"), "failed");
  EXPECT_EQ(root.property(load, job1, "Message"), "the archive is refused: there is no image in it");
  images.next_error = Error{Errc::busy, "images are worked on"};
  EXPECT_EQ(root.call(path, manager, "BuildImages", "asa{sv}", 0, 0).error(), "org.hal9000.Error.Busy");
  EXPECT_EQ(root.call(path, manager, "LoadImages", "h", archive.get()).error(), "org.hal9000.Error.Busy");
  EXPECT_EQ(root.call(path, manager, "BuildImages", "asa{sv}", 0, 1, "force", "b", 1).error(),
            "org.hal9000.Error.InvalidArgument");
}

TEST_F(BusManager, the_daemon_has_jobs_of_its_own) {
  const auto id = service->start_job("build-images", [this](auto on_progress, auto over) {
    return images.build({{"parent"}, false}, std::move(on_progress), std::move(over));
  });
  ASSERT_TRUE(id);
  const auto job = fmt::format("/org/hal9000/job/{}", *id);
  EXPECT_EQ(root.property(job, job1, "Kind"), "build-images");
  images.done({});
  EXPECT_EQ(root.property(job, job1, "Result"), "done");
}

TEST_F(BusManager, tells_of_the_engine_once) {
  root.record();
  control.engine_now = {.available = false, .reason = "gone", .info = {}};
  control.state_now = "degraded";
  service->on_daemon_changed();
  service->on_daemon_changed();
  ASSERT_TRUE(root.wait_signal(path, "PropertiesChanged"));
  EXPECT_EQ(root.signals.back().words, (std::set<std::string>{"State", "Engine"}));
  service->on_daemon_changed();  // nothing has changed
  EXPECT_EQ(root.property(path, manager, "State"), "degraded");
  EXPECT_EQ(root.signals_of(path, "PropertiesChanged").size(), 1U);
}

TEST_F(BusManager, manages_all_objects) {
  servers.add("a b");
  service->on_server_added("a b");
  const auto answer = root.call(path, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects");
  ASSERT_TRUE(answer.ok()) << answer.error_message();
  std::set<std::string> paths;
  ASSERT_GT(sd_bus_message_enter_container(answer.get(), 'a', "{oa{sa{sv}}}"), 0);
  while (sd_bus_message_enter_container(answer.get(), 'e', "oa{sa{sv}}") > 0) {
    const char* object = nullptr;
    (void)sd_bus_message_read(answer.get(), "o", &object);
    paths.insert(object);
    (void)sd_bus_message_skip(answer.get(), "a{sa{sv}}");
    (void)sd_bus_message_exit_container(answer.get());
  }
  EXPECT_EQ(paths, (std::set<std::string>{"/org/hal9000/parent", "/org/hal9000/pool", "/org/hal9000/server/a_20b",
                                          "/org/hal9000/server/memory_2dbank", "/org/hal9000/worker/0a"}));
}

}  // namespace
}  // namespace hal::test
