"""The images: what they hold, and that they work the way hal9000d runs them."""

import hashlib
import json
import re
import subprocess
import tarfile
import time

import pytest

from conftest import HARDENED, IMAGE_CACHE, ROOT, in_network, run

IMAGES = ["worker-ultramin", "worker-minimal", "parent"]
WORKERS = ["worker-ultramin", "worker-minimal"]
VERSION = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text()).group(1)
CLAUDE = re.search(r"^version=(.+)$", (ROOT / "docker/worker/claude-code.pin").read_text(), re.M).group(1)
COLLECTIONS = "tenants/default_tenant/databases/default_database/collections"


def in_worker(engine, image, script, *options):
    home = "--tmpfs=/home/claude:uid=1000,gid=1000,mode=700,exec"
    return engine.docker(
        "run", "--rm", "--network=none", home, *HARDENED, *options, "--entrypoint=/bin/bash", f"hal9000/{image}", "-c", script
    )


@pytest.mark.parametrize("image", IMAGES)
def test_image_says_what_it_is_and_what_it_was_made_from(engine, build_images, image):
    generations = dict(line.split() for line in build_images("--print").splitlines())
    by_version = engine.inspect(f"hal9000/{image}:{VERSION}")
    assert by_version["Id"] == engine.inspect(f"hal9000/{image}:latest")["Id"]
    labels = by_version["Config"]["Labels"]
    assert labels["org.hal9000.image"] == image
    assert labels["org.hal9000.generation"] == generations[image]
    inside = json.loads(engine.docker("run", "--rm", "--network=none", "--entrypoint=cat", f"hal9000/{image}", "/usr/share/hal9000/manifest.json"))
    assert inside == json.loads(labels["org.hal9000.manifest"])
    assert (inside["image"], inside["generation"]) == (image, generations[image])
    for package in inside["packages"]:
        assert package["version"] and re.fullmatch("[0-9a-f]{64}", package["sha256"]), package
    assert {"bash", "tmux"} <= {package["name"] for package in inside["packages"]} or image == "parent"
    wanted = ("chromadb", "sha256:") if image == "parent" else ("claude-code", "sha512-")
    assert all(wanted[0] in one["name"] and one["integrity"].startswith(wanted[1]) for one in inside["downloads"]) and inside["downloads"]


def test_building_again_changes_nothing_and_takes_no_time(engine, build_images):
    before = [engine.inspect(f"hal9000/{image}")["Id"] for image in IMAGES]
    start = time.monotonic()
    said = build_images()
    assert time.monotonic() - start < 5
    assert said.count("is up to date") == len(IMAGES)
    assert [engine.inspect(f"hal9000/{image}")["Id"] for image in IMAGES] == before


def tree(engine, image):
    """Every file of an image with all that belongs to it, but what the engine itself puts into a container."""
    container = engine.docker("create", image).strip()
    try:
        entries = set()
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE, env=engine.environment) as export:
            with tarfile.open(fileobj=export.stdout, mode="r|") as archive:
                for entry in archive:
                    content = hashlib.file_digest(archive.extractfile(entry), "sha256").hexdigest() if entry.isreg() else ""
                    entries.add((entry.name, entry.mode, entry.uid, entry.gid, entry.size, entry.mtime, entry.linkname, content))
    finally:
        engine.docker("rm", container)
    made_by_the_engine = {".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab", "etc", "proc", "sys"}
    return {entry for entry in entries if entry[0] not in made_by_the_engine and entry[0].split("/")[0] != "dev"}


def test_the_same_inputs_make_the_same_tree(engine, build_images, tmp_path):
    """The whole way once more, from packages on; only what was downloaded with a checksum is taken from the cache."""
    images = ["worker-minimal", "parent"]
    before = {image: tree(engine, f"hal9000/{image}") for image in images}
    for kept in [*IMAGE_CACHE.glob("claude-*"), *IMAGE_CACHE.glob("chroma-*")]:
        subprocess.run(["cp", "--recursive", "--link", "--preserve=mode", kept, tmp_path], check=True)
    build_images("--cache", tmp_path, "--refresh")
    for image in images:
        after = tree(engine, f"hal9000/{image}")
        assert {entry[0] for entry in before[image] ^ after} == set()


def test_the_workers_share_their_layers(engine):
    small, larger = (engine.inspect(f"hal9000/{image}")["RootFS"]["Layers"] for image in WORKERS)
    assert larger[: len(small)] == small


@pytest.mark.parametrize("image", WORKERS)
def test_claude_runs_in_a_read_only_worker(engine, image):
    assert in_worker(engine, image, "claude --version").startswith(CLAUDE + " ")
    assert "No MCP servers configured" in in_worker(engine, image, "claude mcp list")


@pytest.mark.parametrize("image", WORKERS)
def test_a_worker_has_no_rights(engine, image):
    status = in_worker(engine, image, "id -u; id -g; cat /proc/self/status; touch /etc/x /usr/local/bin/x 2>&1; true")
    assert status.splitlines()[:2] == ["1000", "1000"]
    for kind in ("Prm", "Eff", "Bnd", "Amb"):
        assert f"Cap{kind}:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert status.count("Read-only file system") == 2
    assert in_worker(engine, image, "find / -xdev -perm /6000 2>/dev/null; true") == ""


def test_a_worker_has_its_places_and_settings(engine):
    image = engine.inspect("hal9000/worker-ultramin")["Config"]
    assert image["User"] == "1000:1000"
    assert image["Entrypoint"] == ["/usr/local/bin/hal9000-init"]
    assert image["WorkingDir"] == "/workspace"
    environment = dict(pair.split("=", 1) for pair in image["Env"])
    assert environment["DISABLE_AUTOUPDATER"] == "1"
    assert environment["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] == "1"
    assert environment["LANG"] == "C.UTF-8"
    places = in_worker(engine, "worker-ultramin", "stat -c '%n %a %u' /workspace /usr/local/bin/hal9000-*; locale")
    assert "/workspace 755 1000\n" in places
    assert "/usr/local/bin/hal9000-init 755 0\n" in places
    assert "/usr/local/bin/hal9000-mcp 755 0\n" in places
    assert "LC_CTYPE=\"C.UTF-8\"" in places


def test_the_host_can_bind_its_programs_and_folder_into_a_read_only_worker(engine, tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho started with $#; cat /run/hal9000/token\n")
    program.chmod(0o755)
    folder = tmp_path / "worker"
    folder.mkdir()
    (folder / "token").write_text("from the host")
    said = engine.docker(
        "run", "--rm", "--network=none", *HARDENED, f"--volume={program}:/usr/local/bin/hal9000-init:ro",
        f"--volume={program}:/usr/local/bin/hal9000-mcp:ro", f"--volume={folder}:/run/hal9000:ro", "hal9000/worker-minimal", "a", "b",
    )  # fmt: skip
    assert said == "started with 2\nfrom the host"


def test_tmux_leaves_the_keys_to_the_program(engine):
    script = """
        tmux="tmux -L main -f /etc/hal9000/tmux.conf"
        $tmux new-session -d -s main -x 80 -y 24 'tmux -L main wait-for -S ready; dd bs=1 count=3 2>/dev/null | od -An -tx1; sleep 60'
        $tmux wait-for ready
        $tmux send-keys C-b d x Enter
        until $tmux capture-pane -p | grep -q '02 64 78'; do :; done
        $tmux capture-pane -p
        $tmux show -gv status; $tmux show -gv history-limit; $tmux show -gv default-terminal; $tmux show -sv escape-time
    """
    said = in_worker(engine, "worker-ultramin", script).split()
    assert said[-4:] == ["off", "20000", "tmux-256color", "10"]


@pytest.mark.parametrize("terminal", ["xterm-256color", "tmux-256color", "screen-256color", "linux", "alacritty", "xterm-kitty", "foot"])
def test_terminals_are_known(engine, terminal):
    assert in_worker(engine, "worker-ultramin", f"TERM={terminal} tput cols && TERM={terminal} tput clear | od -c | head -1")


def test_only_minimal_has_git(engine):
    commit = "cd /tmp && git init -q p && cd p && git -c user.name=a -c user.email=b commit -q --allow-empty -m first && git log --format=%s"
    assert in_worker(engine, "worker-minimal", commit) == "first\n"
    assert in_worker(engine, "worker-ultramin", "command -v git || echo none") == "none\n"


@pytest.mark.parametrize("image", WORKERS)
def test_no_program_lacks_a_library(engine, image):
    check = "find /usr -type f -perm -1 -size -100000k | xargs ldd 2>/dev/null | grep 'not found' || echo complete"
    assert in_worker(engine, image, check) == "complete\n"


def test_the_holder_ends_at_once(engine):
    holder = engine.start("--network=none", *HARDENED, "hal9000/parent")
    start = time.monotonic()
    engine.docker("stop", "--time", "20", holder)
    assert time.monotonic() - start < 5
    assert engine.inspect(holder)["State"]["ExitCode"] == 0


def test_chroma_listens_inside_the_holder_only_and_keeps_its_data(engine, database):
    listening = run("nsenter", "-n", "-t", database, "cat", "/proc/net/tcp")
    assert "0100007F:1F40" in listening and "00000000:1F40" not in listening
    created = json.loads(in_network(database, "POST", COLLECTIONS, {"name": "kept"}))
    start = time.monotonic()
    engine.docker("stop", "--time", "20", engine.chroma)
    assert time.monotonic() - start < 5
    assert engine.inspect(engine.chroma)["State"]["ExitCode"] == 0
    engine.docker("start", engine.chroma)
    deadline = time.monotonic() + 20
    while "heartbeat" not in in_network(database, "GET", "heartbeat"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert json.loads(in_network(database, "GET", f"{COLLECTIONS}/kept"))["id"] == created["id"]


def test_client_and_server_of_chroma_have_one_version():
    pins = [re.search(r"^chromadb==(\S+)", (ROOT / path).read_text(), re.M).group(1)
            for path in ("docker/parent/requirements.txt", "packaging/mcp/chroma/requirements.txt")]  # fmt: skip
    assert pins[0] == pins[1]
