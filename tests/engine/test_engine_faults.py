"""The engine is absent, comes without our images, dies and returns: the daemon stays, says so, and recovers."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import uuid

import pytest
from conftest import HERE, run, wait_until
from system import System


@pytest.fixture
def folder():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hal9000-faults-", dir="/var/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def second_engine(folder):
    """An engine of the test's own that can be ended; not running yet."""
    environment = {**os.environ, "HAL9000_ENGINE_DATA": str(folder / "engine-data")}

    def script(verb):
        run(HERE / "engine.sh", verb, folder / "engine", env=environment)

    yield script
    script("purge")


def test_the_daemon_outlives_its_engine(folder, second_engine):
    system = System(folder / "system", f"unix://{folder}/engine/docker.sock", f"test-{uuid.uuid4().hex[:6]}", {})
    try:
        system.start()
        status = json.loads(system.claudy("status", "--json"))
        assert status["state"] == "degraded" and not status["engine"]["available"]
        code, error = system.claudy_fails("spawn", folder)
        assert code == 3 and "engine" in error, (code, error)

        second_engine("start")
        wait_until("the engine to be found", lambda: json.loads(system.claudy("status", "--json"))["engine"]["available"])
        wait_until(
            "the missing image", lambda: "hal9000/parent" in json.loads(system.claudy("parent", "status", "--json"))["reason"]
        )
        code, error = system.claudy_fails("spawn", folder)
        assert code == 3 and "parent" in error, (code, error)

        second_engine("stop")
        wait_until("its loss to be seen", lambda: not json.loads(system.claudy("status", "--json"))["engine"]["available"])
        second_engine("start")
        wait_until("its return", lambda: json.loads(system.claudy("status", "--json"))["engine"]["available"])
        assert system.daemon.poll() is None
    finally:
        second_engine("start")
        system.close()


def test_a_configuration_with_a_mistake_is_told_at_the_start(folder):
    system = System(folder / "system", f"unix://{folder}/no.sock", "test", {})
    try:
        system.settings("[engine]\nsocket = 7\n")
        done = subprocess.run(
            [system.program("hal9000d")], env=system.environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 78
        assert "test.toml:2: key engine.socket: must be a string" in done.stderr
    finally:
        system.bus.terminate()
        system.bus.wait(10)
