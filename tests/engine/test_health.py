"""What becomes of workers that fail, run into their limits, or are not used: on real containers and a real kernel."""

import json
import os
import signal
import subprocess
import uuid

import pytest
from conftest import run, wait_until
from system import fresh_system

PROFILES = """
[profile.idle]
image = "hal9000/worker-minimal"
command = ["claude"]
idle_timeout = 10

[profile.once]
image = "hal9000/worker-minimal"
command = ["sleep", "infinity"]
restart = "no"
"""


@pytest.fixture(scope="module")
def system(engine_host, build_images):
    with fresh_system(engine_host) as system:
        (system.config / "conf.d/profiles.toml").write_text(PROFILES)
        system.start()
        yield system


@pytest.fixture
def spawn(system, tmp_path):
    os.chmod(tmp_path, 0o755)
    names = []

    def make(*command, **options):
        name = f"w-{uuid.uuid4().hex[:8]}"
        words = [word for key, value in options.items() for word in (f"--{key}", value)]
        system.claudy("spawn", tmp_path, "--name", name, *words, "--", *command)
        names.append(name)
        return system.show(name)

    yield make
    for name in names:
        system.claudy("rm", name)


def until_replaced(system, before, times=1, seconds=40):
    """Until it runs as another container; it is the same worker in all else."""

    def replaced():
        now = system.show(before["id"])
        return now["state"] == "running" and now["restarts"] == before["restarts"] + times and now

    now = wait_until("its replacement", replaced, seconds)
    assert now["container_id"] != before["container_id"]
    for key in ("id", "name", "owner", "workspace", "profile", "image", "memory_max", "tasks_max"):
        assert now[key] == before[key], key
    assert "made anew" in now["reason"]
    return now


def kill_container(system, worker):
    system.docker("kill", system.show(worker["id"])["container_id"])


def test_a_killed_container_is_replaced_with_its_project(system, spawn, tmp_path):
    worker = spawn("sleep", "infinity", memory="256M", pids="50")
    (tmp_path / "file").write_text("of the project")
    kill_container(system, worker)
    until_replaced(system, worker)
    assert system.claudy("exec", worker["id"], "--", "cat", "/workspace/file") == "of the project"
    system.docker("rm", "--force", system.show(worker["id"])["container_id"])
    until_replaced(system, worker, times=2)


def test_what_is_meant_to_end_is_not_replaced(system, spawn):
    ends = spawn("sh", "-c", "read line; exit 3")
    system.claudy("send", ends["id"], "go")
    assert system.until_state(ends["id"], "exited")["exit_code"] == 3
    stopped, killed, once = spawn("sleep", "infinity"), spawn("sleep", "infinity"), spawn("sleep", "infinity", profile="once")
    system.claudy("stop", stopped["id"])
    system.claudy("kill", killed["id"])
    kill_container(system, once)
    for worker in (stopped, killed, once):
        assert system.until_state(worker["id"], "exited")["restarts"] == 0


def test_a_crash_loop_ends_as_failed(system, spawn):
    worker = spawn("sh", "-c", "sleep 0.2; kill -SEGV $$")
    failed = system.until_state(worker["id"], "failed", 60)
    assert "signal 11" in failed["reason"] and "made anew 4 times" in failed["reason"]
    assert failed["restarts"] == 4


def test_an_init_that_does_not_answer_is_replaced(system, spawn):
    worker = spawn("sleep", "infinity")
    os.kill(worker["pid"], signal.SIGSTOP)
    asked = subprocess.Popen(["busctl", "--system", "--timeout=60", "call", "org.hal9000", f"/org/hal9000/worker/{worker['id']}", "org.hal9000.Worker1", "Exec", "asa{sv}", "1", "true", "0"],
        env=system.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    now = until_replaced(system, worker)
    assert "does not answer" in now["reason"]
    assert asked.communicate(timeout=30)[1] and asked.returncode != 0
    assert system.claudy("exec", worker["id"], "--", "echo", "back") == "back\n"


class Signals:
    """What Worker1 signals meanwhile."""

    def __init__(self, system):
        self.monitor = subprocess.Popen(["busctl", "--system", "monitor", "--json=short", "org.hal9000"], env=system.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        os.set_blocking(self.monitor.stdout.fileno(), False)
        self.text = b""

    def limits_of(self, worker):
        self.text += self.monitor.stdout.read() or b""
        lines = [json.loads(line) for line in self.text.splitlines() if line.endswith(b"}")]
        return [line["payload"]["data"][0] for line in lines if line.get("member") == "LimitHit" and line["path"].endswith(worker["id"])]

    def close(self):
        self.monitor.terminate()
        self.monitor.communicate()


@pytest.fixture
def signals(system):
    signals = Signals(system)
    names = lambda: run("busctl", "--system", "list", "--json=short", env=system.environment)
    wait_until("the monitor", lambda: str(signals.monitor.pid) not in names())  # a monitor has no name
    yield signals
    signals.close()


def test_memory_names_its_victim(system, spawn, signals):
    worker = spawn("sh", "-c", "while read line; do tail -c 200M /dev/zero | tail; done", memory="64M")
    system.claudy("send", worker["id"], "go")
    wait_until("the signal", lambda: "memory" in signals.limits_of(worker))
    now = wait_until("the reason", lambda: (now := system.show(worker["id"]))["reason"] and now)
    assert now["state"] == "running" and "the kernel killed tail" in now["reason"], now
    assert "HAL9000_PROCESS=tail" in system.log.read_text()


def test_a_command_out_of_memory_is_replaced(system, spawn):
    once = "[ -e /workspace/again ] && exec sleep infinity; : > /workspace/again; exec tail /dev/zero"
    worker = spawn("sh", "-c", once, memory="64M")
    now = until_replaced(system, worker)
    assert "out of memory" in now["reason"], now


def test_pids_name_the_busiest_program(system, spawn, signals):
    worker = spawn("sh", "-c", "seq 60 | xargs -P 60 -I{} sleep 100", pids="40")  # a shell would give up
    wait_until("the signal", lambda: "pids" in signals.limits_of(worker))
    assert "limit of 40 tasks, most of them of sleep (" in system.show(worker["id"])["reason"]


def test_an_idle_worker_is_stopped_and_resumed(system, spawn):
    busy = spawn("sh", "-c", "while :; do echo busy; sleep 1; done", profile="idle")
    computes = spawn("sh", "-c", "while :; do timeout 0.2 sh -c 'while :; do :; done'; sleep 1; done > /dev/null", profile="idle")
    idle = spawn("sleep", "infinity", profile="idle")  # the last one: the others would have been due before
    stopped = system.until_state(idle["id"], "exited", 30)
    assert stopped["reason"].startswith("idle for 00:00:1"), stopped
    assert [system.show(one["id"])["state"] for one in (busy, computes)] == ["running", "running"]
    system.claudy("restart", idle["id"])
    assert system.until_state(idle["id"], "running")["restarts"] == 1
