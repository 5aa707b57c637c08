"""A worker tries to get out, into another worker and at the machine; tests/engine/escape_probe.py has the attempts.

The same attempts succeed in a container of root's with capabilities and without filters: else a probe that is wrong
would look like a wall.
"""

import ctypes
import json
import os
import shutil
import uuid

import pytest
from conftest import HERE, run
from system import fresh_system, mountinfo

PROFILE = "python"
NO_WAY = {"EPERM"}
NOT_THERE = {"ENOENT", "ESRCH"}
READ_ONLY = {"EROFS", "EACCES"}

# What a worker gets to hear.
REFUSED = {
    **dict.fromkeys(("mount", "umount", "remount the root", "pivot_root", "chroot", "fsopen", "open_tree"), NO_WAY),
    **dict.fromkeys(("unshare mounts", "unshare users", "clone users", "setns", "trace PID 1"), NO_WAY),
    "clone3": {"ENOSYS"},
    **dict.fromkeys(("memory of PID 1", "environment of PID 1", "root of PID 1", "descriptors of PID 1"), {"EACCES"}),
    **{f"{how} {whom}": NOT_THERE for whom in ("the other worker", "the daemon") for how in ("trace", "signal", "namespaces of", "root of", "environment of")},
    "raw socket": NO_WAY,
    **dict.fromkeys(("packet socket", "vsock", "crypto socket"), {"EAFNOSUPPORT"}),
    **dict.fromkeys(("netlink of sockets", "netlink of the firewall"), {"EPROTONOSUPPORT"}),
    **dict.fromkeys(("write /etc/passwd", "write /usr/local/bin/hal9000-init", "write /usr/local/bin/hal9000-mcp"), READ_ONLY),
    **dict.fromkeys(("write /run/hal9000/token", "write /run/hal9000/mcp.json", "make /run/hal9000/new"), READ_ONLY),
    **dict.fromkeys(("make /new", "make /usr/bin/new", "make /etc/new", "make /dev/new"), READ_ONLY),
    **dict.fromkeys(("make /sys/fs/cgroup/new", "make /proc/new"), READ_ONLY | {"ENOENT"}),
    **{f"write /proc/sys/{path}": READ_ONLY for path in ("kernel/core_pattern", "vm/drop_caches", "net/ipv4/ip_forward")},
    **dict.fromkeys(("write /proc/sys/kernel/modprobe", "write /proc/sysrq-trigger"), READ_ONLY | {"ENOENT"}),  # as the kernel was built
    **dict.fromkeys(("device node", "block node", "set-user-id", "become root", "give a file to root", "file by handle", "handle of a file"), NO_WAY),
    **dict.fromkeys(("load a module", "load a module's file", "bpf", "perf_event_open", "keyctl", "add_key", "userfaultfd", "kernel log", "hostname"), NO_WAY),
    "io_uring": {"ENOSYS"},
    "terminal of another": {"ENOENT", "EACCES", "ENXIO", "EPERM", "EIO"},
    **{f"read {what}": NOT_THERE for what in ("the other's token", "the other's project", "the other's record", "the memory of the machine")},
    **{f"connect to {what}": NOT_THERE for what in ("the other's gateway", "the other's init", "the bus of the host", "the daemon's bus", "the engine")},
    "speak as PID 1": {"ECONNREFUSED"},
}  # fmt: skip
# What it may do, so that the ways to ask are seen to work in the very place where the others fail.
ALLOWED = {"trace a child", "netlink of routes", "make a file in /tmp", "make a file in /workspace", "read its own token", "connect to its own gateway"}
UNCONFINED = ["--user=0:0", "--cap-add=SYS_ADMIN", "--cap-add=SYS_PTRACE", "--cap-add=NET_ADMIN", "--cap-add=DAC_READ_SEARCH",
              "--security-opt=seccomp=unconfined", "--security-opt=systempaths=unconfined"]  # fmt: skip
# What gets done there.
SUCCEED_ELSEWHERE = {
    "mount", "umount", "chroot", "fsopen", "open_tree", "unshare mounts", "unshare users", "setns", "trace PID 1", "memory of PID 1",
    "environment of PID 1", "root of PID 1", "descriptors of PID 1", "raw socket", "packet socket", "netlink of sockets",
    "write /etc/passwd", "make /new", "make /usr/bin/new", "make /dev/new", "write /proc/sys/kernel/core_pattern",
    "device node", "set-user-id", "become root", "handle of a file", "bpf", "hostname",
}  # fmt: skip

LANDLOCK_CREATE_RULESET, ASK_FOR_VERSION, VERSION_WITH_SCOPES = 444, 1, 6


@pytest.fixture(scope="module")
def system(engine_host, build_images):
    build_images("--only", f"worker-{PROFILE}")
    with fresh_system(engine_host) as system:
        system.start()
        system.until_parent_runs()
        yield system


@pytest.fixture(scope="module")
def workers(system, tmp_path_factory):
    """Who tries, and another one of the same owner, who listens on an abstract socket."""
    names = {}
    for role in "prisoner", "other":
        folder = tmp_path_factory.mktemp(role)
        os.chmod(folder, 0o755)
        (folder / "secret").write_text("of this project\n")
        shutil.copy(HERE / "escape_probe.py", folder)
        listen = f"import signal, socket; s = socket.socket(socket.AF_UNIX); s.bind('\\0{role}'); s.listen(); signal.pause()"
        names[role] = f"{role}-{uuid.uuid4().hex[:8]}"
        system.claudy("spawn", folder, "--name", names[role], "--profile", PROFILE, "--", "python3", "-c", listen)
    yield names
    system.claudy("rm", *names.values())


def places_of(system, other):
    folder = system.run_dir / "worker" / other["id"]
    return {
        "pids": {"the other worker": other["pid"], "the daemon": system.daemon.pid},
        "files": {
            "its own token": "/run/hal9000/token",
            "the other's token": str(folder / "token"),
            "the other's project": f"{other['workspace']}/secret",
            "the other's record": str(system.state / "worker" / f"{other['id']}.json"),
            "the memory of the machine": "/dev/mem",
        },
        "sockets": {
            "its own gateway": "/run/hal9000/mcp.sock",
            "the other's gateway": str(folder / "mcp.sock"),
            "the other's init": str(folder / "control.sock"),
            "the bus of the host": "/run/dbus/system_bus_socket",
            "the daemon's bus": str(system.folder / "bus.sock"),
            "the engine": system.engine_host.removeprefix("unix://"),
        },
        "names": {"the other's abstract socket": "other"},
    }


def test_every_attempt_is_refused(system, workers):
    places = places_of(system, system.show(workers["other"]))
    for path in places["files"].values():
        assert path.startswith(("/run/hal9000", "/dev")) or os.path.exists(path), f"{path} is not there at all"
    outcomes = json.loads(system.claudy("exec", workers["prisoner"], "--", "python3", "/workspace/escape_probe.py", json.dumps(places)))
    wrong = {what: outcome for what, outcome in outcomes.items() if what in REFUSED and outcome not in REFUSED[what]}
    assert not wrong, wrong
    assert {what for what, outcome in outcomes.items() if outcome == "done"} - {"connect to the other's abstract socket"} == ALLOWED
    assert outcomes.keys() == REFUSED.keys() | ALLOWED | {"connect to the other's abstract socket"}


def test_the_attempts_succeed_without_the_walls(system, tmp_path):
    shutil.copy(HERE / "escape_probe.py", tmp_path)
    nothing = json.dumps(dict.fromkeys(("pids", "files", "sockets", "names"), {}))
    outcomes = json.loads(
        system.docker(
            "run", "--rm", *UNCONFINED, "--network=none", "--tmpfs=/tmp:dev", "--tmpfs=/run",
            f"--volume={tmp_path}:/workspace", "--entrypoint=sh", f"hal9000/worker-{PROFILE}", "-c", 'python3 /workspace/escape_probe.py "$0"; exit $?', nothing,
        )
    )  # fmt: skip
    failed = {what: outcomes[what] for what in SUCCEED_ELSEWHERE if outcomes[what] != "done"}
    assert not failed, failed


def abstract_sockets(system, worker):
    table = system.claudy("exec", worker, "--", "cat", "/proc/net/unix")
    return {line.split()[7][1:] for line in table.splitlines()[1:] if len(line.split()) > 7 and line.split()[7].startswith("@")}


def test_abstract_sockets_are_the_workers_own(system, workers):
    """They belong to the network namespace, which the parent and its workers share."""
    assert abstract_sockets(system, workers["prisoner"]) == {"prisoner", "other"}, "nothing of ours, ChromaDB's or the host's has such a name"
    connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect('\\0' + sys.argv[1])"
    run_in = ("exec", workers["prisoner"], "--", "python3", "-c", connect)
    system.claudy(*run_in, "prisoner")
    if ctypes.CDLL(None).syscall(LANDLOCK_CREATE_RULESET, None, 0, ASK_FOR_VERSION) >= VERSION_WITH_SCOPES:
        code, said = system.claudy_fails(*run_in, "other")
        assert (code, "Operation not permitted" in said) == (1, True), said
    else:
        system.claudy(*run_in, "other")  # docs/SECURITY.md says so


def test_the_walls_are_where_they_were_promised(system, workers):
    worker = system.show(workers["prisoner"])
    host = json.loads(system.docker("inspect", worker["container_id"]))[0]["HostConfig"]
    assert not host["Privileged"] and host["CapDrop"] == ["ALL"] and not host["CapAdd"] and not host["Devices"]
    assert host["SecurityOpt"] == ["no-new-privileges"], "and so the engine's own seccomp profile"
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware"} <= set(host["MaskedPaths"])
    assert {"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"} <= set(host["ReadonlyPaths"])

    mounts = {line.split()[4]: line for line in mountinfo(worker["pid"]).splitlines()}
    options = {target: set(line.split()[5].split(",")) for target, line in mounts.items()}
    for target in "/", "/sys", "/proc/sys", "/proc/irq", "/proc/bus", "/run/hal9000", "/usr/local/bin/hal9000-init", "/usr/local/bin/hal9000-mcp":
        assert "ro" in options[target], mounts[target]
    assert {"nosuid", "nodev"} <= options["/tmp"] and "size=1048576k" in mounts["/tmp"]
    assert {"nosuid", "nodev", "noexec"} <= options["/run"] and "size=16384k" in mounts["/run"]
    for target in "/workspace", "/home/claude":
        assert {"nosuid", "nodev"} <= options[target], mounts[target]
    for masked in filter(os.path.exists, host["MaskedPaths"]):
        assert masked in mounts, f"{masked} is not masked"

    status = dict(line.split(":\t", 1) for line in system.claudy("exec", workers["prisoner"], "--", "cat", "/proc/self/status").splitlines())
    assert {name: status[name].split()[0] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0" * 16)
    assert (status["NoNewPrivs"], status["Seccomp"], status["Seccomp_filters"]) == ("1", "2", "2"), "the engine's filter and ours"
    found = run("nsenter", "-m", "-t", worker["pid"], "find", "/", "-xdev", "-perm", "/6000", "-type", "f")
    assert found == "", "no set-id program in the image"
