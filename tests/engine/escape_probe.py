"""Attempts to leave a container, each in a process of its own: escape_probe.py PLACES prints {attempt: outcome} as JSON.

PLACES is a JSON object with what the caller knows of the host: "sockets", "files" and "names" (of abstract sockets) to
reach, by what to call them, and "pids" to trace. An outcome is "done" or the error's name. Nothing is changed for good
where an attempt succeeds: files that rule the machine are opened and not written.
"""

import ctypes
import errno
import fcntl
import json
import os
import platform
import signal
import socket
import stat
import sys

libc = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUSER, FS = 0x20000, 0x10000000, 0x200
TRACE_ATTACH, TRACE_DETACH = 16, 17
ON_X86 = platform.machine() == "x86_64"


def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def raw(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), f"call {number}")


def by_number(x86, other, *arguments):
    return lambda: raw(x86 if ON_X86 else other, *arguments)


def trace(pid):
    call("ptrace", TRACE_ATTACH, pid, None, None)
    os.waitpid(pid, 0x40000000)  # __WALL
    call("ptrace", TRACE_DETACH, pid, None, None)


def trace_a_child():
    ready, tell = os.pipe()
    if (child := os.fork()) == 0:
        os.write(tell, b"x")
        signal.pause()
    os.read(ready, 1)
    trace(child)
    os.kill(child, 9)
    os.waitpid(child, 0)


def opened(path, flags=os.O_RDONLY):
    return lambda: os.close(os.open(path, flags))


def written(path):
    return opened(path, os.O_WRONLY)


def made(path):
    def make():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        os.unlink(path)

    return make


def connected(address):
    def connect():
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(address)

    return connect


def refused_by_the_daemon():
    """The daemon closes connections of all but PID 1."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as one:
        one.settimeout(20)
        one.connect("/run/hal9000/control.sock")
        if not one.recv(64):
            raise OSError(errno.ECONNREFUSED, "closed")


def new_socket(*kind):
    return lambda: socket.socket(*kind).close()


def made_node(kind):
    def make():
        os.mknod("/tmp/node", kind | 0o600, os.makedev(1, 3))
        os.unlink("/tmp/node")

    return make


def made_set_user_id():
    os.close(os.open("/tmp/program", os.O_CREAT | os.O_WRONLY, 0o755))
    try:
        os.chmod("/tmp/program", 0o4755)
    finally:
        os.unlink("/tmp/program")


def attempts(places):
    yield "mount", lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None)
    yield "umount", lambda: call("umount2", b"/run", 2)
    yield "remount the root", lambda: call("mount", None, b"/", None, 32 | 4096, None)
    yield "pivot_root", by_number(155, 41, b"/", b"/")  # of no effect even where it is allowed
    yield "chroot", lambda: os.chroot("/")
    yield "fsopen", lambda: raw(430, b"tmpfs", 0)
    yield "open_tree", lambda: raw(428, -100, b"/", 1)
    yield "unshare mounts", lambda: call("unshare", NEWNS)
    yield "unshare users", lambda: call("unshare", NEWUSER)
    yield "clone users", by_number(56, 220, NEWUSER | FS, 0, 0, 0, 0)
    yield "clone3", lambda: raw(435, None, 0)
    yield "setns", lambda: call("setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0)

    yield "trace PID 1", lambda: trace(1)
    yield "memory of PID 1", opened("/proc/1/mem")
    yield "environment of PID 1", opened("/proc/1/environ")
    yield "root of PID 1", opened("/proc/1/root/etc/passwd")
    yield "descriptors of PID 1", lambda: os.listdir("/proc/1/fd")
    yield "trace a child", trace_a_child
    for what, pid in places["pids"].items():
        yield f"trace {what}", lambda pid=pid: trace(pid)
        yield f"signal {what}", lambda pid=pid: os.kill(pid, 0)
        yield f"namespaces of {what}", opened(f"/proc/{pid}/ns/mnt")
        yield f"root of {what}", opened(f"/proc/{pid}/root/")
        yield f"environment of {what}", opened(f"/proc/{pid}/environ")

    yield "raw socket", new_socket(socket.AF_INET, socket.SOCK_RAW, 1)
    yield "packet socket", new_socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    yield "vsock", new_socket(40, socket.SOCK_STREAM, 0)
    yield "crypto socket", new_socket(socket.AF_ALG, socket.SOCK_SEQPACKET, 0)
    yield "netlink of sockets", new_socket(socket.AF_NETLINK, socket.SOCK_RAW, 4)
    yield "netlink of the firewall", new_socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    yield "netlink of routes", new_socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)

    for path in "/etc/passwd", "/usr/local/bin/hal9000-init", "/usr/local/bin/hal9000-mcp", "/run/hal9000/token", "/run/hal9000/mcp.json":
        yield f"write {path}", written(path)
    for path in "/new", "/usr/bin/new", "/etc/new", "/run/hal9000/new", "/sys/fs/cgroup/new", "/proc/new", "/dev/new":
        yield f"make {path}", made(path)
    for path in "kernel/core_pattern", "kernel/modprobe", "vm/drop_caches", "net/ipv4/ip_forward":
        yield f"write /proc/sys/{path}", written(f"/proc/sys/{path}")
    yield "write /proc/sysrq-trigger", written("/proc/sysrq-trigger")
    yield "make a file in /tmp", made("/tmp/new")
    yield "make a file in /workspace", made("/workspace/new")

    yield "device node", made_node(stat.S_IFCHR)
    yield "block node", made_node(stat.S_IFBLK)
    yield "set-user-id", made_set_user_id
    yield "become root", lambda: os.setuid(0) or os.setgid(0) or os.setgroups([0])
    yield "give a file to root", lambda: os.chown(os.open("/tmp", os.O_TMPFILE | os.O_RDWR), 0, 12345)
    yield "file by handle", by_number(304, 265, -100, bytes(128), 0)
    yield "handle of a file", by_number(303, 264, -100, b"/tmp", (ctypes.c_int * 40)(128), ctypes.byref(ctypes.c_int()), 0)

    yield "load a module", by_number(175, 105, b"", 0, b"")
    yield "load a module's file", by_number(313, 273, -1, b"", 0)
    yield "bpf", by_number(321, 280, 0, (ctypes.c_uint32 * 32)(2, 4, 4, 1), 128)
    yield "perf_event_open", by_number(298, 241, (ctypes.c_uint32 * 32)(1, 128), 0, -1, -1, 0)
    yield "keyctl", by_number(250, 219, 0, -3, 1)
    yield "add_key", by_number(248, 217, b"user", b"hal", b"x", 1, -3)
    yield "userfaultfd", by_number(323, 282, 0)
    yield "io_uring", lambda: raw(425, 1, (ctypes.c_uint32 * 30)())
    yield "kernel log", lambda: call("klogctl", 10, None, 0)
    yield "hostname", lambda: socket.sethostname(socket.gethostname())
    yield "terminal of another", lambda: fcntl.ioctl(os.open("/dev/console", os.O_RDWR), 0x5412, b"x")

    for what, path in places["files"].items():
        yield f"read {what}", opened(path)
    for what, path in places["sockets"].items():
        yield f"connect to {what}", connected(path)
    for what, name in places["names"].items():
        yield f"connect to {what}", connected("\0" + name)
    yield "speak as PID 1", refused_by_the_daemon


def outcome_of(attempt):
    try:
        attempt()
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]


def in_a_process_of_its_own(attempt):
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(theirs, outcome_of(attempt).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        said = pipe.read().decode()
    status = os.waitpid(child, 0)[1]
    return said or f"ended with {status}"


if __name__ == "__main__":
    print(json.dumps({what: in_a_process_of_its_own(attempt) for what, attempt in attempts(json.loads(sys.argv[1]))}))
