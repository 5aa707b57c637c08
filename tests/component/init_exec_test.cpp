#include "component/init_support.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include <gtest/gtest.h>

namespace hal::test {
namespace {

using init::Record;
using init::RecordKind;

/** A worker with a connected daemon. */
class InitExec : public ::testing::Test {
 protected:
  InitExec() : listener_(control_path(folder_)), init_(folder_), peer_(listener_.accept()) {
    const auto hello = peer_.next();
    EXPECT_TRUE(hello && hello->record == Record{}) << "hello comes first, and no main was started";
  }

  /** The next record if it is of that kind and id. */
  Received expect(RecordKind kind, std::uint64_t id) {
    auto received = peer_.next();
    if (!received) {
      ADD_FAILURE() << "no record of kind " << static_cast<int>(kind) << "; log: " << init_.log();
      return {};
    }
    EXPECT_EQ(received->record.kind, kind);
    EXPECT_EQ(received->record.id.value, id);
    return std::move(*received);
  }

  TempDir folder_;
  InitListener listener_;
  InitProcess init_;
  InitPeer peer_;
};

TEST_F(InitExec, runs_on_the_passed_descriptors) {
  Pipe in = make_pipe();
  Pipe out = make_pipe();
  Pipe err = make_pipe();
  ASSERT_TRUE(peer_.send(exec_request(1, "cat; echo $HAL_TEST $(env | wc -l) >&2; exit 7"),
                         {in.read.get(), out.write.get(), err.write.get()}));
  in.read.reset();
  out.write.reset();
  err.write.reset();
  ASSERT_EQ(::write(in.write.get(), "over", 4), 4);
  in.write.reset();
  EXPECT_EQ(read_all(out.read.get()), "over");
  // PATH, HAL_TEST, and what sh itself adds: PWD, and OLDPWD or _ in some shells.
  EXPECT_EQ(read_all(err.read.get()).substr(0, 4), "yes ");
  EXPECT_GT(expect(RecordKind::started, 1).record.pid, 0);
  EXPECT_EQ(expect(RecordKind::exited, 1).record.status, 7 << 8);
}

#ifdef __x86_64__
/** The calls of 32-bit programs have other numbers and go another way into the same kernel. */
TEST_F(InitExec, nor_does_a_32_bit_call) {
  Pipe out = make_pipe();
  auto request = exec_request(1, "");
  request.cwd = folder_.path();
  request.argv = {"python3", "-c", R"(
import ctypes, mmap
open("file", "w").close()
# A name in the low 4 GiB, and: push rbx; mov eax,edi; mov ebx,esi; mov ecx,edx; int 0x80; pop rbx; ret
MAP_32BIT = 0x40
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
page = libc.mmap(None, 4096, 7, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_32BIT, -1, 0)
ctypes.memmove(page, b"\x53\x89\xf8\x89\xf3\x89\xd1\xcd\x80\x5b\xc3", 11)
ctypes.memmove(page + 64, b"file\0", 5)
call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int)(page)
print(call(15, page + 64, 0o700), call(15, page + 64, 0o4755))
)"};
  ASSERT_TRUE(peer_.send(request, {0, out.write.get(), 2}));
  out.write.reset();
  const auto said = read_all(out.read.get());
  if (said.empty() || said.starts_with("-38 ")) {
    GTEST_SKIP() << "this kernel runs no 32-bit programs";
  }
  EXPECT_EQ(said, "0 -1\n");
}
#endif

TEST_F(InitExec, has_exactly_the_given_environment_and_directory) {
  Pipe out = make_pipe();
  auto request = exec_request(1, "");
  request.argv = {"cat", "/proc/self/environ", "/proc/self/cwd/marker"};
  request.cwd = folder_.path();
  (void)folder_.write("marker", "here");
  ASSERT_TRUE(peer_.send(request, {0, out.write.get(), 2}));
  out.write.reset();
  EXPECT_EQ(read_all(out.read.get()), std::string("PATH=/usr/bin:/bin\0HAL_TEST=yes\0here", 36));
}

TEST_F(InitExec, leaks_no_descriptor_and_no_signal_state) {
  Pipe out = make_pipe();
  const std::string script = "ls /proc/self/fd; grep -E 'SigBlk|SigIgn' /proc/self/status";
  ASSERT_TRUE(peer_.send(exec_request(1, script), {out.write.get(), out.write.get(), out.write.get()}));
  out.write.reset();
  // 3 is ls's own view of the folder.
  EXPECT_EQ(read_all(out.read.get()), "0\n1\n2\n3\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST_F(InitExec, gives_a_controlling_terminal_of_the_asked_size) {
  auto request = terminal_request(2, "tty; stty size; ps -o stat= -p $$ </dev/null; read line; echo got:$line; exit 3");
  request.rows = 33;
  request.columns = 101;
  ASSERT_TRUE(peer_.send(request));
  const auto started = expect(RecordKind::started, 2);
  ASSERT_TRUE(started.fd);
  const auto first = read_until(started.fd.get(), "+\r\n");
  EXPECT_NE(first.find("/dev/pts/"), std::string::npos) << first;
  EXPECT_NE(first.find("33 101\r\n"), std::string::npos) << first;
  EXPECT_NE(first.find("s+\r\n"), std::string::npos) << "leader of a session, in the foreground: " << first;
  ASSERT_EQ(::write(started.fd.get(), "hi\n", 3), 3);
  EXPECT_NE(read_until(started.fd.get(), "got:hi").find("got:hi"), std::string::npos);
  EXPECT_EQ(expect(RecordKind::exited, 2).record.status, 3 << 8);
  // With the program gone and init's copy of the slave closed, the master reports the end.
  char byte = 0;
  while (::read(started.fd.get(), &byte, 1) > 0) {
  }
  EXPECT_EQ(errno, EIO);
}

TEST_F(InitExec, a_resize_reaches_the_program) {
  ASSERT_TRUE(peer_.send(terminal_request(3, "trap 'stty size; exit 0' WINCH; echo ready; while :; do read x; done")));
  const auto started = expect(RecordKind::started, 3);
  ASSERT_TRUE(started.fd);
  (void)read_until(started.fd.get(), "ready");
  init::Request resize;
  resize.kind = init::RequestKind::resize;
  resize.id = ExecId{3};
  resize.rows = 44;
  resize.columns = 155;
  ASSERT_TRUE(peer_.send(resize));
  // dash runs the trap when read returns.
  ASSERT_EQ(::write(started.fd.get(), "\n", 1), 1);
  EXPECT_NE(read_until(started.fd.get(), "44 155").find("44 155"), std::string::npos);
}

TEST_F(InitExec, a_client_that_goes_hangs_up_the_program) {
  ASSERT_TRUE(peer_.send(terminal_request(4, "echo ready; exec sleep 1000")));
  auto started = expect(RecordKind::started, 4);
  (void)read_until(started.fd.get(), "ready");
  started.fd.reset();
  EXPECT_EQ(expect(RecordKind::exited, 4).record.status, SIGHUP);
}

TEST_F(InitExec, signals_reach_the_process_group) {
  Pipe out = make_pipe();
  ASSERT_TRUE(peer_.send(exec_request(5, "sleep 1000 & echo $!; wait; exit 1"), {0, out.write.get(), 2}));
  out.write.reset();
  (void)expect(RecordKind::started, 5);
  const pid_t child = std::stoi(read_line(out.read.get()));
  ASSERT_TRUE(peer_.send(signal_request(99, SIGKILL)));  // nobody has this id
  ASSERT_TRUE(peer_.send(signal_request(5, SIGTERM)));
  EXPECT_EQ(expect(RecordKind::exited, 5).record.status, SIGTERM);
  EXPECT_TRUE(wait_gone(child)) << "the background child is in the group too";
}

TEST_F(InitExec, failures_name_their_errno) {
  struct Case {
    const char* what;
    std::string program;
    std::string cwd;
    int error;
  };
  const std::string plain = folder_.write("plain", "text", 0644);
  const Case cases[] = {{"not in PATH", "no-such-program", "/", ENOENT},
                        {"no such path", "/no/such/program", "/", ENOENT},
                        {"not executable", plain, "/", EACCES},
                        {"no such directory", "true", "/no/such/directory", ENOENT},
                        {"directory is a file", "true", plain, ENOTDIR}};
  std::uint64_t id = 10;
  for (const auto& test : cases) {
    SCOPED_TRACE(test.what);
    for (const bool terminal : {false, true}) {
      auto request = terminal ? terminal_request(id, "") : exec_request(id, "");
      request.argv = {test.program};
      request.cwd = test.cwd;
      ASSERT_TRUE(peer_.send(request, terminal ? std::vector<int>{} : std::vector<int>{0, 1, 2}));
      EXPECT_EQ(expect(RecordKind::failed, id).record.error, test.error);
      ++id;
    }
  }
}

TEST_F(InitExec, an_id_in_use_is_refused) {
  ASSERT_TRUE(peer_.send(exec_request(1, "exec sleep 1000"), {0, 1, 2}));
  (void)expect(RecordKind::started, 1);
  ASSERT_TRUE(peer_.send(exec_request(1, "true"), {0, 1, 2}));
  EXPECT_EQ(expect(RecordKind::failed, 1).record.error, EEXIST);
}

TEST_F(InitExec, refuses_more_programs_than_the_limit_and_recovers) {
  for (std::uint64_t id = 1; id <= limits::execs_per_worker; ++id) {
    ASSERT_TRUE(peer_.send(exec_request(id, "exec sleep 1000"), {0, 1, 2}));
  }
  std::set<std::uint64_t> started;
  for (std::size_t i = 0; i < limits::execs_per_worker; ++i) {
    const auto received = peer_.next();
    ASSERT_TRUE(received && received->record.kind == RecordKind::started);
    started.insert(received->record.id.value);
  }
  EXPECT_EQ(started.size(), limits::execs_per_worker);
  ASSERT_TRUE(peer_.send(terminal_request(1000, "true")));
  EXPECT_EQ(expect(RecordKind::failed, 1000).record.error, EAGAIN);
  ASSERT_TRUE(peer_.send(signal_request(1, SIGKILL)));
  EXPECT_EQ(expect(RecordKind::exited, 1).record.status, SIGKILL);
  ASSERT_TRUE(peer_.send(exec_request(1001, "exit 0"), {0, 1, 2}));
  (void)expect(RecordKind::started, 1001);
  (void)expect(RecordKind::exited, 1001);
}

TEST_F(InitExec, reaps_orphans) {
  Pipe out = make_pipe();
  ASSERT_TRUE(peer_.send(exec_request(1, "(sh -c 'echo $$; exec sleep 1000' &)"), {0, out.write.get(), 2}));
  // The orphan ends when killed; a zombie would stay in /proc, so wait for its pid to be gone altogether.
  const pid_t orphan = std::stoi(read_line(out.read.get()));
  (void)expect(RecordKind::started, 1);
  (void)expect(RecordKind::exited, 1);
  ::kill(orphan, SIGKILL);
  ASSERT_TRUE(wait_gone(orphan));
  // Reaping and answering happen on one loop: after this answer it has been reaped.
  ASSERT_TRUE(peer_.send(exec_request(2, "exit 0"), {0, 1, 2}));
  (void)expect(RecordKind::started, 2);
  (void)expect(RecordKind::exited, 2);
  EXPECT_EQ(::kill(orphan, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST_F(InitExec, a_malformed_request_ends_the_connection_and_nothing_else) {
  ASSERT_TRUE(peer_.send(exec_request(1, "exec sleep 1000"), {0, 1, 2}));
  const auto pid = expect(RecordKind::started, 1).record.pid;
  const auto good = *init::encode(terminal_request(2, "true"));
  const std::vector<std::pair<std::string, std::vector<int>>> wrong = {
      {"garbage", {}},
      {good.substr(0, good.size() - 1), {}},
      {good, {0}},                                                                     // a descriptor too many
      {*init::encode(exec_request(2, "true")), {0, 1}},                                // and one too few
      {*init::encode(exec_request(2, "true")), {0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2}},  // more than ever allowed
      {std::string(limits::channel_message_bytes + 1, 'x'), {}},
      {"", {}},
  };
  for (const auto& [bytes, fds] : wrong) {
    SCOPED_TRACE(bytes.size());
    ASSERT_TRUE(peer_.send_bytes(bytes, fds));
    EXPECT_TRUE(peer_.ended());
    peer_ = listener_.accept();
    (void)expect(RecordKind::hello, 0);
    EXPECT_EQ(expect(RecordKind::running, 1).record.pid, pid);
  }
}

TEST_F(InitExec, a_restarted_daemon_learns_what_lives_and_what_ended) {
  Pipe in = make_pipe();
  ASSERT_TRUE(peer_.send(exec_request(1, "exec sleep 1000"), {0, 1, 2}));
  const auto first = expect(RecordKind::started, 1).record.pid;
  ASSERT_TRUE(peer_.send(terminal_request(2, "exec sleep 1000")));
  const auto second = expect(RecordKind::started, 2);
  ASSERT_TRUE(peer_.send(exec_request(3, "read x; exit 5"), {in.read.get(), 1, 2}));
  const auto third = expect(RecordKind::started, 3).record.pid;
  peer_.close();
  in.write.reset();
  ASSERT_TRUE(wait_gone(third));
  peer_ = listener_.accept();
  (void)expect(RecordKind::hello, 0);
  EXPECT_EQ(expect(RecordKind::running, 1).record.pid, first);
  const auto running = expect(RecordKind::running, 2);
  EXPECT_EQ(running.record.pid, second.record.pid);
  EXPECT_EQ(running.record.flags, init::record_terminal);
  // The third was a zombie when we looked; init may have reaped it before or after it said hello.
  auto last = peer_.next();
  if (last && last->record.kind == RecordKind::running && last->record.id.value == 3) {
    last = peer_.next();
  }
  ASSERT_TRUE(last);
  EXPECT_EQ(last->record.kind, RecordKind::exited);
  EXPECT_EQ(last->record.id.value, 3U);
  EXPECT_EQ(last->record.status, 5 << 8);
}

TEST(InitControl, connects_when_the_socket_appears_and_when_it_is_replaced) {
  TempDir folder;
  InitProcess init(folder);
  auto first = std::make_unique<InitListener>(control_path(folder));
  auto peer = first->accept();
  ASSERT_TRUE(peer.next());
  // The daemon is gone, its socket with it.
  first.reset();
  peer.close();
  auto second = std::make_unique<InitListener>(control_path(folder));
  auto again = second->accept();
  ASSERT_TRUE(again.next());
  // A new daemon takes the path over while the old connection still stands.
  InitListener third(control_path(folder));
  auto taken_over = third.accept();
  EXPECT_TRUE(taken_over.next());
  EXPECT_TRUE(again.ended());
}

TEST(InitControl, survives_a_daemon_that_hangs_up_at_once) {
  TempDir folder;
  InitListener listener(control_path(folder));
  InitProcess init(folder);
  for (int i = 0; i < 5; ++i) {
    auto peer = listener.accept();
    ASSERT_TRUE(peer.next());
  }
  auto peer = listener.accept();
  EXPECT_TRUE(peer.next());
}

}  // namespace
}  // namespace hal::test
