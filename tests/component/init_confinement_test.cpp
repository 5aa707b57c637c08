#include "component/init_support.hpp"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string>

#include <gtest/gtest.h>

/**
 * What hal9000-init keeps its programs from. They are root with all capabilities here and no engine is around them, so
 * that whatever fails does so by init alone; a program that init has not started shows that it would work.
 */
namespace hal::test {
namespace {

/** For calls that a shell does not make, and by ctypes those that Python does not make either. */
constexpr const char prelude[] = R"(
import ctypes, errno, mmap, os, platform, socket, stat
libc = ctypes.CDLL(None, use_errno=True)
def shows(what, call, *arguments, **flags):
    try:
        result = call(*arguments, **flags)
        if isinstance(result, socket.socket):
            result.close()
        print(what, "done")
    except OSError as error:
        print(what, errno.errorcode[error.errno])
def raw(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
def named(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
)";

class InitConfinement : public ::testing::Test {
 protected:
  InitConfinement() : listener_(control_path(folder_)), init_(folder_), peer_(listener_.accept()) {
    EXPECT_TRUE(peer_.next()) << "hello";
  }

  /** What the Python program says that init starts. */
  std::string confined(const std::string& script) {
    Pipe out = make_pipe();
    auto request = exec_request(1, "");
    request.cwd = folder_.path();
    request.argv = {"python3", "-c", prelude + script};
    EXPECT_TRUE(peer_.send(request, {0, out.write.get(), 2}));
    out.write.reset();
    return read_all(out.read.get());
  }

  /** And where this test starts it. */
  std::string unconfined(const std::string& script) {
    Pipe out = make_pipe();
    const pid_t child = ::fork();
    if (child == 0) {
      ::dup2(out.write.get(), STDOUT_FILENO);
      ::execlp("python3", "python3", "-c", (prelude + script).c_str(), nullptr);
      ::_exit(127);
    }
    out.write.reset();
    auto said = read_all(out.read.get());
    ::waitpid(child, nullptr, 0);
    return said;
  }

  TempDir folder_;
  InitListener listener_;
  InitProcess init_;
  InitPeer peer_;
};

/** What an agent leaves in a project belongs, on the host, to the worker's owner: root, where root is that. */
TEST_F(InitConfinement, no_program_makes_a_set_id_file) {
  EXPECT_EQ(confined(R"(
open("file", "w").close()
os.mkdir("folder")
here = os.open(".", os.O_RDONLY)
file = os.open("file", os.O_RDONLY)
shows("chmod", os.chmod, "file", 0o4755)
shows("fchmod", os.fchmod, file, 0o4755)
shows("fchmodat", os.chmod, "file", 0o6755, dir_fd=here)
shows("fchmodat2", raw, 452, here, b"file", 0o4755, 0)
shows("open", os.open, "new", os.O_CREAT | os.O_WRONLY, 0o4755)
shows("tmpfile", os.open, ".", os.O_TMPFILE | os.O_WRONLY, 0o2755)
shows("mknod", os.mknod, "new", stat.S_IFREG | 0o4755)
shows("openat2", raw, 437, here, b"new", None, 0)
shows("io_uring", raw, 425, 1, None)
shows("plain", os.chmod, "file", 0o1777)
shows("read", os.open, "file", os.O_RDONLY, 0o4755)
shows("folder", os.chmod, "folder", 0o2775)
print(oct(os.stat("file").st_mode), os.path.exists("new"))
)"),
            "chmod EPERM\nfchmod EPERM\nfchmodat EPERM\nfchmodat2 EPERM\nopen EPERM\ntmpfile EPERM\nmknod EPERM\n"
            "openat2 ENOSYS\nio_uring ENOSYS\nplain done\nread done\nfolder done\n0o101777 False\n");
}

constexpr const char sockets[] = R"(
ROUTE, SOCK_DIAG, SCTP = 0, 4, 132
for family, kind, protocol in [
    (socket.AF_UNIX, socket.SOCK_SEQPACKET, 0), (socket.AF_INET, socket.SOCK_STREAM, 0), (socket.AF_INET6, socket.SOCK_DGRAM, 17),
    (socket.AF_NETLINK, socket.SOCK_RAW, ROUTE), (socket.AF_NETLINK, socket.SOCK_RAW, SOCK_DIAG),
    (socket.AF_INET, socket.SOCK_RAW, 1), (socket.AF_INET, socket.SOCK_STREAM, SCTP),
    (socket.AF_PACKET, socket.SOCK_RAW, 0), (socket.AF_ALG, socket.SOCK_SEQPACKET, 0)]:
    shows(f"{socket.AddressFamily(family).name[3:]} {int(kind)} {protocol}", socket.socket, family, kind, protocol)
shows("pair", socket.socketpair)
)";

TEST_F(InitConfinement, sockets_are_local_ones_and_those_of_tcp_and_udp) {
  EXPECT_EQ(confined(sockets),
            "UNIX 5 0 done\nINET 1 0 done\nINET6 2 17 done\nNETLINK 3 0 done\nNETLINK 3 4 EPROTONOSUPPORT\n"
            "INET 3 1 EPERM\nINET 1 132 EPROTONOSUPPORT\nPACKET 3 0 EAFNOSUPPORT\nALG 5 0 EAFNOSUPPORT\npair done\n");
  const auto open = unconfined(sockets);
  EXPECT_NE(open.find("INET 3 1 done\n"), std::string::npos) << open;
  EXPECT_NE(open.find("NETLINK 3 4 done\n"), std::string::npos) << open;
}

/** Wrong arguments all, so that the kernel's own answer is another than the filter's, and harmless. */
constexpr const char calls[] = R"(
NEWUSER, FS = 0x10000000, 0x200
clone = 56 if platform.machine() == "x86_64" else 220
for name, number, *arguments in [
    ("clone", clone, NEWUSER | FS, 0, 0, 0, 0), ("clone3", 435, None, 0), ("open_tree", 428, -1, b"", -1),
    ("fsopen", 430, b"", -1), ("open_tree_attr", 467, -1, b"", -1, None, 0), ("mount_setattr", 442, -1, b"", -1, None, 0),
    ("pidfd_getfd", 438, -1, -1, -1)]:
    shows(name, raw, number, *arguments)
for name, *arguments in [
    ("unshare", -1), ("setns", -1, -1), ("mount", b"", b"", None, 0, None), ("umount2", b"", -1), ("name_to_handle_at", -1, b"", None, None, -1),
    ("fanotify_init", -1, -1), ("swapoff", b""), ("acct", b"/nowhere/at/all")]:
    shows(name, named, name, *arguments)
)";

TEST_F(InitConfinement, calls_that_no_program_of_a_worker_needs_fail) {
  const auto closed = confined(calls);
  EXPECT_EQ(closed,
            "clone EPERM\nclone3 ENOSYS\nopen_tree EPERM\nfsopen EPERM\nopen_tree_attr EPERM\nmount_setattr EPERM\n"
            "pidfd_getfd EPERM\nunshare EPERM\nsetns EPERM\nmount EPERM\numount2 EPERM\nname_to_handle_at EPERM\n"
            "fanotify_init EPERM\nswapoff EPERM\nacct EPERM\n");
  const auto open = unconfined(calls);
  EXPECT_NE(open.find("clone EINVAL\nclone3 EINVAL\n"), std::string::npos) << open;
  EXPECT_NE(open.find("setns EBADF\nmount E"), std::string::npos) << open;
  EXPECT_NE(open.find("umount2 EINVAL\n"), std::string::npos) << open;
}

TEST_F(InitConfinement, what_programs_do_every_day_works) {
  EXPECT_EQ(confined(R"(
import subprocess, threading
print(subprocess.run(["echo", "child"], capture_output=True, text=True).stdout, end="")
threading.Thread(target=print, args=("thread",)).start()
child = os.fork()
if child == 0:
    libc.ptrace(0, 0, None, None)
    os.kill(os.getpid(), 19)
    os._exit(3)
print("traced", os.WSTOPSIG(os.waitpid(child, 0)[1]))
libc.ptrace(7, child, None, None)
print("ended", os.WEXITSTATUS(os.waitpid(child, 0)[1]))
print(socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)[0][4][1])
)"),
            "child\nthread\ntraced 19\nended 3\n1\n");
}

#if defined(__x86_64__)
/** int 0x80 of a 64-bit program is a 32-bit one's call, with other numbers. */
constexpr const char through_i386[] = R"(
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("53 89f8 89f3 4989c8 89d1 4489c2 cd80 5b c3"))
call = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_int] * 4)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
def old(*arguments):
    if (result := call(*arguments)) < 0:
        raise OSError(-result, "")
shows("getpid", old, 20, 0, 0, 0)
shows("socket", old, 359, socket.AF_INET, socket.SOCK_STREAM, 0)
for name, *arguments in [
    ("fchmod", 94, 0, 0o4755, 0), ("packet", 359, socket.AF_PACKET, socket.SOCK_RAW, 0), ("socketcall", 102, 1, 0, 0),
    ("clone", 120, 0x10000000, 0, 0), ("unshare", 310, -1, 0, 0), ("keyctl", 288, -1, 0, 0), ("modify_ldt", 123, -1, 0, 0)]:
    shows(name, old, *arguments)
)";

TEST_F(InitConfinement, the_second_abi_is_no_way_around) {
  EXPECT_EQ(confined(through_i386),
            "getpid done\nsocket done\nfchmod EPERM\npacket EAFNOSUPPORT\nsocketcall ENOSYS\nclone EPERM\n"
            "unshare EPERM\nkeyctl EPERM\nmodify_ldt ENOSYS\n");
}
#endif

/** The network namespace, which workers share, is also that of abstract names. */
TEST_F(InitConfinement, abstract_sockets_of_others_cannot_be_reached) {
  const std::string name = "hal9000-test-" + std::to_string(::getpid());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), length), 0);
  ASSERT_EQ(::listen(listener.get(), 4), 0);
  const auto script = "theirs, ours = \"\\0" + name + R"(", "\0" + str(os.getpid()) + "-ours"
server = socket.socket(socket.AF_UNIX)
server.bind(ours)
server.listen()
for what in theirs, ours:
    shows("theirs" if what == theirs else "ours", socket.socket(socket.AF_UNIX).connect, what)
)";
  constexpr unsigned ask_for_version = 1;
  const bool scoped = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, ask_for_version) >= 6;
  EXPECT_EQ(confined(script), scoped ? "theirs EPERM\nours done\n" : "theirs done\nours done\n");
  EXPECT_EQ(unconfined(script), "theirs done\nours done\n");
}

}  // namespace
}  // namespace hal::test
