"""Images made by the daemon: by itself where they are missing, by claudy, and what comes of bad input."""

import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading

import pytest
from conftest import HERE, IMAGE_CACHE, ROOT, run, wait_until
from system import CLAUDY, fresh_system

sys.path.insert(0, str(ROOT / "tests/support"))
import small_image  # noqa: E402

SMALL = "test/small"
VERSION = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text()).group(1)


@pytest.fixture(scope="module")
def empty_engine(build_images):
    """An engine of our own that has no image; what the others' builds have fetched is in the cache."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hal9000-images-", dir="/var/tmp"))
    environment = {**os.environ, "HAL9000_ENGINE_DATA": str(folder / "data")}
    run(HERE / "engine.sh", "start", folder, env=environment)
    yield f"unix://{folder}/docker.sock"
    run(HERE / "engine.sh", "purge", folder, env=environment)


class Status:
    """What the daemon tells the service manager of itself."""

    def __init__(self, path):
        self.lines = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while text := self.socket.recv(65536).decode():
            self.lines += [line for line in text.splitlines() if line.startswith("STATUS=")]


@pytest.fixture(scope="module")
def system(empty_engine):
    """Began with no image at all; by now it has made what it needs."""
    with fresh_system(empty_engine, pool=(1, 1)) as system:
        shutil.copytree(ROOT / "docker", system.folder / "data/docker")
        assert IMAGE_CACHE.name == "images"
        system.environment |= {"CACHE_DIRECTORY": str(IMAGE_CACHE.parent), "NOTIFY_SOCKET": str(system.folder / "notify")}
        system.status = Status(system.folder / "notify")
        system.start()
        yield system


def images(system):
    return {one["image"]: one for one in json.loads(system.claudy("image", "ls", "--json"))}


def manager_state(system):
    return json.loads(system.claudy("status", "--json"))["state"]


def until_well(system):
    wait_until("a running system", lambda: manager_state(system) == "running" and system.pool()["warm"] == 1, 300)


def engine_images(system):
    """With their names; without one are only those that a container still runs on."""
    return sorted(system.docker("image", "ls", "--filter", "dangling=false", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines())


def jobs(system):
    return set(re.findall(r"/org/hal9000/job/\d+", run("busctl", "--system", "tree", "--list", "org.hal9000", env=system.environment)))


def leftovers():
    return sorted(path.name for path in IMAGE_CACHE.glob("work.*"))


@pytest.fixture
def project(tmp_path):
    os.chmod(tmp_path, 0o755)
    return tmp_path


def test_what_is_missing_at_the_start_is_built_and_all_comes_up(system):
    assert images(system)["hal9000/parent"]["state"] == "missing"
    assert manager_state(system) == "degraded"
    wait_until("the reason of the pool", lambda: "hal9000/worker-minimal is missing and being built" in system.pool()["reason"], 300)
    until_well(system)
    for name in ("hal9000/parent", "hal9000/worker-minimal"):
        image = images(system)[name]
        assert image["state"] == "current" and image["generation"] == image["wanted"] and image["size"] > 1e6, image
    assert images(system)["hal9000/worker-java"]["state"] == "missing", "nothing needs it"
    told = [line for line in system.status.lines if "images: missing hal9000/parent" in line]
    percent = [int(found.group(1)) for line in told if (found := re.search(r"(\d+) %", line))]
    assert len(set(percent)) > 2 and percent == sorted(percent), told
    assert "images:" not in system.status.lines[-1]


def test_an_image_deleted_under_the_pool_comes_back(system):
    until_well(system)
    system.docker("image", "rm", "--force", "hal9000/worker-minimal:latest", f"hal9000/worker-minimal:{VERSION}")
    wait_until("the loss to be seen", lambda: manager_state(system) == "degraded")
    until_well(system)
    assert images(system)["hal9000/worker-minimal"]["state"] == "current"
    assert system.pool()["reason"] == ""


def test_a_build_that_is_cancelled_leaves_nothing(system):
    until_well(system)
    before = engine_images(system)
    known = jobs(system)
    build = subprocess.Popen([CLAUDY, "image", "build", "--refresh", "worker-ultramin"], env=system.environment, stderr=subprocess.PIPE, text=True)
    job = wait_until("the job", lambda: jobs(system) - known).pop()
    message = ("busctl", "--system", "get-property", "org.hal9000", job, "org.hal9000.Job1", "Message")
    wait_until("its progress", lambda: "root" in run(*message, env=system.environment))
    code, error = system.claudy_fails("image", "build", "parent")
    assert code == 6 and "worked on" in error, (code, error)
    build.send_signal(signal.SIGINT)
    assert "cancelled" in build.communicate(timeout=60)[1]
    assert build.returncode != 0
    wait_until("the end of all it ran", lambda: not leftovers(), 60)
    assert all((roots / "git.tar").exists() for roots in IMAGE_CACHE.glob("worker-*")), "a part of what was there before"
    wait_until("what it had to be gone", lambda: engine_images(system) == before, 60)
    assert images(system)["hal9000/worker-ultramin"]["state"] == "missing"


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.fixture
def full_disk(tmp_path):
    run("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", tmp_path)
    yield tmp_path
    run("umount", "--lazy", tmp_path)


def fails_to_build(system, image, **environment):
    """What claudy says of a build by a daemon with this environment; nothing of the engine's images may change by it."""
    until_well(system)
    before = engine_images(system)
    system.end()
    kept, system.environment = system.environment, {**system.environment, **environment}
    try:
        system.start()
        wait_until("the scripts to be known", lambda: images(system)["hal9000/parent"]["wanted"])
        code, error = system.claudy_fails("image", "build", image, timeout=300)
        assert code == 1, (code, error)
        wait_until("what it had to be gone", lambda: engine_images(system) == before, 60)
        until_well(system)  # what was there still does
        return error
    finally:
        system.end()
        system.environment = kept
        system.start()


def test_a_mirror_that_refuses_is_named(system, tmp_path):
    error = fails_to_build(system, "worker-ultramin", CACHE_DIRECTORY=str(tmp_path), HAL9000_DEBIAN_MIRROR="http://127.0.0.1:9/debian",
                           NOTIFY_SOCKET="")  # fmt: skip
    assert "127.0.0.1:9" in error and "cannot make a root of Debian" in error, error
    assert list((tmp_path / "images").glob("work.*")) == []


def test_a_registry_that_refuses_is_named(system, tmp_path):
    error = fails_to_build(system, "worker-ultramin", CACHE_DIRECTORY=str(tmp_path), npm_config_registry="http://127.0.0.1:9/")
    assert "npm cannot fetch @anthropic-ai/claude-code" in error and "127.0.0.1:9" in error, error


def test_a_full_disk_is_named(system, full_disk):
    error = fails_to_build(system, "worker-ultramin", CACHE_DIRECTORY=str(full_disk))
    assert "no space left" in error.lower() or "is full" in error, error
    assert list((full_disk / "images").glob("work.*")) == []


def test_a_wrong_checksum_is_named(system):
    pin = system.folder / "data/docker/parent/requirements.txt"
    good = pin.read_text()
    pin.write_text(re.sub("sha256:[0-9a-f]{8}", "sha256:00000000", good))
    try:
        error = fails_to_build(system, "parent")
    finally:
        pin.write_text(good)
        system.end()
        system.start()
    assert "00000000" in error and "hash" in error.lower(), error


def test_while_nothing_can_be_built_the_pool_is_degraded_and_says_why(system, tmp_path):
    until_well(system)
    system.end()
    kept, system.environment = system.environment, {**system.environment, "CACHE_DIRECTORY": str(tmp_path), "HAL9000_DEBIAN_MIRROR": "http://127.0.0.1:9/debian"}
    try:
        system.start()
        until_well(system)
        system.docker("tag", "hal9000/worker-minimal", "hal9000/kept:1")
        system.docker("image", "rm", "hal9000/worker-minimal:latest", f"hal9000/worker-minimal:{VERSION}")
        pool = wait_until("the pool to be degraded", lambda: "No such image" in (pool := system.pool())["reason"] and pool, 300)
        assert "hal9000/worker-minimal" in pool["reason"] and manager_state(system) == "degraded", pool
        assert pool["warm"] == 1, "what is there can be claimed"
        system.docker("tag", "hal9000/kept:1", "hal9000/worker-minimal:latest")
        until_well(system)
        assert system.pool()["reason"] == ""
        system.docker("tag", "hal9000/kept:1", f"hal9000/worker-minimal:{VERSION}")
        system.docker("image", "rm", "hal9000/kept:1")
    finally:
        system.end()
        system.environment = kept
        system.start()


# --- archives, and images of others ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(system, tmp_path_factory):
    until_well(system)
    path = tmp_path_factory.mktemp("archive") / "images.tar"
    system.docker("save", "--output", path, f"hal9000/parent:{VERSION}")
    return path


def test_an_archive_is_loaded(system, archive):
    until_well(system)
    system.docker("image", "rm", f"hal9000/parent:{VERSION}")
    assert "hal9000/parent" in system.claudy("image", "load", archive)
    assert f"hal9000/parent:{VERSION}" in system.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()


def rewritten(archive, path, change):
    """The archive with members as `change` gives them."""
    with tarfile.open(archive) as source, tarfile.open(path, "w") as target:
        for entry in source:
            content = source.extractfile(entry).read() if entry.isreg() else b""
            content = change(entry.name, content)
            entry.size = len(content) if entry.isreg() else 0
            target.addfile(entry, io.BytesIO(content))
    return path


def test_an_archive_that_is_not_ours_or_not_whole_is_refused(system, archive, tmp_path):
    until_well(system)
    before = engine_images(system)
    small_image.build("test/foreign", system.environment)
    foreign, cut, text = tmp_path / "foreign.tar", tmp_path / "cut.tar", tmp_path / "text"
    system.docker("save", "--output", foreign, "test/foreign")
    system.docker("image", "rm", "test/foreign")
    cut.write_bytes(archive.read_bytes()[:1_000_000])
    text.write_text("no archive")
    config = json.loads(tarfile.open(archive).extractfile("manifest.json").read())[0]["Config"]
    other = rewritten(archive, tmp_path / "config.tar", lambda name, content: content.replace(b"65534", b"00000") if name == config else content)
    stolen = rewritten(archive, tmp_path / "name.tar", lambda name, content: content.replace(b"hal9000/parent:", b"hal9000/worker:") if name == "manifest.json" else content)
    for path, said in ((foreign, "no label org.hal9000.image"), (cut, "refused"), (text, "cannot be read"), (other, "checksum"), (stolen, "says that it is hal9000/parent")):
        code, error = system.claudy_fails("image", "load", path)
        assert code == 1 and said in error, (path, code, error)
    code, error = system.claudy_fails("image", "load", tmp_path / "absent")
    assert code != 0 and "absent" in error
    assert engine_images(system) == before


def test_an_image_without_our_label_is_refused_unless_the_profile_names_it(system, project):
    until_well(system)
    small_image.build(SMALL, system.environment)
    command = ("spawn", project, "--image", SMALL, "--name", "foreign", "--", "sleep", "infinity")
    code, error = system.claudy_fails(*command)
    assert code == 4 and SMALL in error and "foreign_images" in error and "profile base" in error, (code, error)
    assert system.workers() == system.warm_workers()
    (system.config / "conf.d/zz.toml").write_text('[profile.base]\nforeign_images = ["test/*"]\n')
    run("busctl", "--system", "call", "org.hal9000", "/org/hal9000", "org.hal9000.Manager1", "Reload", env=system.environment)
    system.claudy(*command)
    assert system.show("foreign")["state"] == "running"
    system.claudy("rm", "foreign")


def test_who_may_not_manage_the_daemon_builds_and_loads_nothing(system, archive):
    assert system.claudy_fails("image", "build", user=65534)[0] == 4
    code, error = system.claudy_fails("image", "build", "no-such-image")
    assert code == 5 and "worker-minimal" in error, (code, error)
    assert "hal9000/parent" in run(CLAUDY, "image", "ls", env=system.environment, user=65534)
