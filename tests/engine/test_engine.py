"""engine.sh: what it starts, it stops, also after the engine was killed."""

import os
import pathlib
import signal
import subprocess
import time

import pytest

from conftest import HERE, TEST_DIR, Engine, run

SCRIPT = HERE / "engine.sh"


@pytest.fixture
def folder():
    path = TEST_DIR / "second engine"
    run(SCRIPT, "purge", path)
    yield path
    run(SCRIPT, "purge", path)


def traces(folder):
    """Processes and mounts that belong to an engine in this folder."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if entry.parent.name != str(os.getpid()) and str(folder).encode() + b"/" in entry.read_bytes():
                found.append(entry.read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            pass
    escaped = str(folder).replace(" ", "\\040")
    return found + [line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if f" {escaped}/" in line]


def pid_of(folder):
    return int((folder / "dockerd.pid").read_text())


def test_start_is_idempotent_and_stop_leaves_nothing(folder):
    assert subprocess.run([SCRIPT, "status", folder], check=False).returncode != 0
    run(SCRIPT, "start", folder)
    first = pid_of(folder)
    run(SCRIPT, "start", folder)
    assert pid_of(folder) == first
    assert run(SCRIPT, "env", folder) == f"DOCKER_HOST='unix://{folder}/docker.sock'; export DOCKER_HOST\n"
    run(SCRIPT, "stop", folder)
    assert not (folder / "docker.sock").exists()
    assert traces(folder) == []
    run(SCRIPT, "stop", folder)


def test_starts_at_the_same_moment_give_one_engine(folder):
    starts = [subprocess.Popen([SCRIPT, "start", folder]) for _ in range(3)]
    assert [start.wait(120) for start in starts] == [0, 0, 0]
    assert len([line for line in traces(folder) if line.startswith("dockerd ")]) == 1


@pytest.mark.parametrize("ending", ["stopped", "killed"])
def test_containers_do_not_outlive_the_engine(engine, folder, ending, tmp_path):
    engine.docker("save", "--output", tmp_path / "image.tar", "hal9000/parent")
    run(SCRIPT, "start", folder)
    second = Engine(f"unix://{folder}/docker.sock")
    second.docker("load", "--input", tmp_path / "image.tar")
    container = second.start("--network=none", "hal9000/parent", "sleep", "infinity")
    pid = second.inspect(container)["State"]["Pid"]
    if ending == "killed":
        os.kill(pid_of(folder), signal.SIGKILL)
    run(SCRIPT, "stop", folder)
    assert not pathlib.Path(f"/proc/{pid}").exists()
    assert traces(folder) == []
    run(SCRIPT, "start", folder)
    assert "hal9000/parent" in second.docker("image", "ls")
    second.remove_containers()


def test_a_start_that_fails_says_why_and_leaves_nothing(folder):
    folder.mkdir(parents=True)
    (folder / "data").write_text("no folder")
    done = subprocess.run([SCRIPT, "start", folder], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "not a directory" in done.stderr.lower() or "file exists" in done.stderr.lower()
    assert traces(folder) == []


def test_the_engine_ends_within_its_time(folder):
    run(SCRIPT, "start", folder)
    start = time.monotonic()
    run(SCRIPT, "stop", folder)
    assert time.monotonic() - start < 30
