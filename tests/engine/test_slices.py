"""Limits and figures of workers on real control groups: the slice that holds them all, limits changed live, pauses."""

import os
import pathlib
import uuid

import pytest
from conftest import wait_until
from system import fresh_system

BUSY = 6
# Keeps what it is told to by its first line in memory, then sleeps.
KEEPS_MEMORY = "read bytes; kept=$(head -c $bytes /dev/zero | tr '\\0' x); echo it has ${#kept}; read line"


@pytest.fixture(scope="module")
def system(engine_host, build_images):
    with fresh_system(engine_host) as system:
        system.start()
        system.until_parent_runs()
        yield system


@pytest.fixture
def worker(system, tmp_path):
    os.chmod(tmp_path, 0o755)
    name = f"w-{uuid.uuid4().hex[:8]}"
    system.claudy("spawn", tmp_path, "--name", name, "--memory", "512M", "--", "bash", "-c", KEEPS_MEMORY)
    yield name
    system.claudy("rm", name)


class Group:
    """The control groups of a process; the kernel's files by the names that version 2 has for them."""

    FILES = {
        "memory.current": ("memory", "memory.usage_in_bytes"),
        "memory.max": ("memory", "memory.limit_in_bytes"),
        "pids.current": ("pids", "pids.current"),
        "pids.max": ("pids", "pids.max"),
        "cgroup.freeze": ("freezer", "freezer.state"),
        "cpu.max": ("cpu", "cpu.cfs_quota_us"),
        "cpu.stat": ("cpuacct", "cpuacct.usage"),
    }

    def __init__(self, pid):
        self.paths = {}
        for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            self.paths.update({one: path for one in controllers.split(",")})
        self.mounts = {}
        for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
            front, back = line.split(" - ")
            kind, _, options = back.split()[:3]
            for one in options.split(",") if kind == "cgroup" else [""] if kind == "cgroup2" else []:
                self.mounts[one] = front.split()[4]

    def path(self, name, up=0):
        controller, file = self.FILES[name]
        if controller not in self.paths:
            controller, file = "", name
        folder = pathlib.Path(self.mounts[controller] + self.paths[controller])
        for _ in range(up):
            folder = folder.parent
        return folder / file

    def read(self, name, up=0):
        return self.path(name, up).read_text().strip()

    def number(self, name):
        return int(self.read(name).split()[0])

    def cpus(self):
        words = self.read("cpu.max").split()
        period = int(words[1]) if len(words) > 1 else int(self.path("cpu.max").with_name("cpu.cfs_period_us").read_text())
        return int(words[0]) / period

    def frozen(self):
        return self.read("cgroup.freeze") in ("1", "FROZEN")


def group_of(system, worker):
    return Group(system.show(worker)["pid"])


def holds(system, worker, size):
    """The worker's command takes so much memory."""
    system.claudy("send", worker, str(size))
    wait_until("the memory to be taken", lambda: f"it has {size}" in system.claudy("capture", worker))


# --- the slice ---------------------------------------------------------------------------------------------------------


def test_all_containers_are_in_the_slice_that_bounds_them(system, worker):
    pids = {"worker": [system.show(worker)["pid"]]}
    for role in ("parent", "chroma"):
        pids.setdefault("parent", []).append(int(system.docker("inspect", "--format", "{{.State.Pid}}", *system.containers(role)).strip()))
    slices = {"worker": ("/hal9000.slice/worker/", "/hal9000-worker.slice/"), "parent": ("/hal9000.slice/parent/", "/hal9000-parent.slice/")}
    for part, processes in pids.items():
        for pid in processes:
            group = Group(pid)
            for name in ("memory.max", "pids.max", "cpu.stat"):
                assert any(slice in str(group.path(name)) for slice in slices[part]), group.path(name)


def test_a_limit_of_the_slice_binds_what_a_worker_may_use_by_its_own(system, worker):
    group = group_of(system, worker)
    bound = group.path("pids.max", up=1)
    before = bound.read_text()
    assert system.show(worker)["tasks_max"] == 100
    bound.write_text(bound.with_name("pids.current").read_text())
    try:
        code, error = system.claudy_fails("exec", worker, "--", "true")
        assert "temporarily unavailable" in error or "resources" in error.lower(), (code, error)
    finally:
        bound.write_text(before)
    assert system.claudy("exec", worker, "--", "echo", "again") == "again\n"


def test_the_figures_are_those_of_the_control_groups(system, worker):
    holds(system, worker, 30_000_000)
    group = group_of(system, worker)
    shown = system.show(worker)
    assert shown["memory_current"] >= 30_000_000 and abs(shown["memory_current"] - group.number("memory.current")) < 8 << 20
    assert shown["tasks_current"] == group.number("pids.current") > 0
    assert shown["cpu_usage_nsec"] > 0
    assert (shown["memory_max"], shown["tasks_max"], shown["cpu_max"]) == (512 << 20, 100, 2)


# --- limits ------------------------------------------------------------------------------------------------------------


def check_limits(system, worker):
    shown, group = system.show(worker), group_of(system, worker)
    assert (shown["memory_max"], shown["tasks_max"], shown["cpu_max"]) == (256 << 20, 42, 0.5)
    assert (group.number("memory.max"), group.number("pids.max"), group.cpus()) == (256 << 20, 42, 0.5)


def test_limits_change_while_it_runs_and_stay(system, worker):
    pid = system.show(worker)["pid"]
    system.claudy("limits", worker, "--memory", "256M", "--cpus", "0.5", "--pids", "42")
    assert system.show(worker)["pid"] == pid
    check_limits(system, worker)
    system.claudy("restart", worker)
    check_limits(system, worker)
    system.crash()
    system.start()
    system.until_state(worker, "running")
    check_limits(system, worker)


def test_less_memory_than_is_in_use_is_refused_and_nothing_dies(system, worker):
    holds(system, worker, 60_000_000)
    code, error = system.claudy_fails("limits", worker, "--memory", "32M")
    assert code == BUSY and worker in error and "memory" in error, (code, error)
    shown = system.show(worker)
    assert (shown["state"], shown["memory_max"]) == ("running", 512 << 20)
    assert "it has 60000000" in system.claudy("capture", worker)
    system.claudy("limits", worker, "--memory", "128M")
    assert group_of(system, worker).number("memory.max") == 128 << 20


# --- pauses ------------------------------------------------------------------------------------------------------------


def test_a_paused_worker_stands_still_and_says_so(system, worker):
    group = group_of(system, worker)
    system.claudy("pause", worker)
    paused = wait_until("the reason", lambda: (one := system.show(worker))["reason"] == "paused" and one)
    assert paused["state"] == "running" and group.frozen()
    code, error = system.claudy_fails("exec", worker, "--", "true")
    assert code == BUSY and "paused" in error, (code, error)
    system.claudy("resume", worker)
    wait_until("the reason to go", lambda: system.show(worker)["reason"] == "")
    assert not group.frozen()
    assert system.claudy("exec", worker, "--", "echo", "awake") == "awake\n"


def test_a_paused_worker_can_be_restarted(system, worker):
    system.claudy("pause", worker)
    wait_until("the reason", lambda: system.show(worker)["reason"] == "paused")
    system.claudy("restart", worker)
    shown = system.show(worker)
    assert (shown["state"], shown["reason"], shown["restarts"]) == ("running", "", 1)
