"""What the engine suite shares: an engine, the images, the MCP servers. Nothing is skipped: what is missing is an error.

HAL9000_TEST_DIR      where the engine and the servers live (default /var/tmp/hal9000-test); kept between runs
HAL9000_IMAGE_CACHE   downloads and roots for the images (default: below HAL9000_TEST_DIR)
HAL9000_MCP_PREFIX    where the MCP servers are installed (default: below HAL9000_TEST_DIR)
DOCKER_HOST           an engine to use instead of one of our own
"""

import json
import os
import pathlib
import subprocess
import time
import uuid

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TEST_DIR = pathlib.Path(os.environ.get("HAL9000_TEST_DIR", "/var/tmp/hal9000-test"))
IMAGE_CACHE = pathlib.Path(os.environ.get("HAL9000_IMAGE_CACHE", TEST_DIR / "images"))
MCP_PREFIX = pathlib.Path(os.environ.get("HAL9000_MCP_PREFIX", TEST_DIR / "mcp"))

# As hal9000d runs its containers.
HARDENED = [
    "--read-only",
    "--tmpfs=/tmp",
    "--tmpfs=/run",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--pids-limit=100",
    "--memory=4g",
    "--cpus=2",
]


def run(*command, timeout=120, check=True, **options):
    """Runs a command, returns its stdout; what it said stands in the failure's text."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=timeout, **options)
    if check and done.returncode:
        raise AssertionError(f"{command} gave {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def wait_until(what, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return value


class Engine:
    def __init__(self, host):
        self.environment = {**os.environ, "DOCKER_HOST": host}
        self.containers = []

    def docker(self, *arguments, **options):
        return run("docker", *arguments, env=self.environment, **options)

    def inspect(self, name):
        return json.loads(self.docker("inspect", name))[0]

    def start(self, *arguments):
        """Starts a container in the background and returns its id; it is removed after the test."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.containers.append(name)
        self.docker("run", "--detach", "--name", name, *arguments)
        return name

    def remove_containers(self):
        if self.containers:
            self.docker("rm", "--force", *self.containers)
            self.containers = []


@pytest.fixture(scope="session")
def engine_host():
    if "DOCKER_HOST" in os.environ:
        yield os.environ["DOCKER_HOST"]
        return
    script, folder = HERE / "engine.sh", TEST_DIR / "engine"
    was_running = subprocess.run([script, "status", folder], check=False).returncode == 0
    run(script, "start", folder)
    yield f"unix://{folder}/docker.sock"
    if not was_running:
        run(script, "stop", folder)


@pytest.fixture(scope="session")
def build_images(engine_host):
    """Brings the images up to date; returns a function that does it again."""

    def build(*arguments):
        return run(
            ROOT / "docker/build.sh", "--cache", IMAGE_CACHE, *arguments, env={**os.environ, "DOCKER_HOST": engine_host}, timeout=900
        )

    build()
    return build


@pytest.fixture
def engine(engine_host, build_images):
    engine = Engine(engine_host)
    yield engine
    engine.remove_containers()


@pytest.fixture(scope="session")
def mcp_servers():
    """The servers' configuration, with the paths of the place where they are installed."""
    run(ROOT / "packaging/mcp/install.sh", "--prefix", MCP_PREFIX, timeout=900)
    return json.loads((MCP_PREFIX / "mcp.json").read_text())["mcpServers"]


@pytest.fixture
def database(engine, tmp_path_factory):
    """A namespace holder and ChromaDB in its network, as the daemon makes them; gives the holder's process id."""
    data = tmp_path_factory.mktemp("chroma")
    os.chown(data, 4321, 4321)
    holder = engine.start("--network=none", *HARDENED, "hal9000/parent")
    engine.chroma = engine.start(
        f"--network=container:{holder}", "--user=4321:4321", f"--volume={data}:/data", *HARDENED, "hal9000/parent", "hal9000-chroma"
    )
    engine.holder = holder
    pid = engine.inspect(holder)["State"]["Pid"]
    wait_until("ChromaDB's heartbeat", lambda: "heartbeat" in in_network(pid, "GET", "heartbeat"))
    return pid


def in_network(pid, method, path, body=None):
    """A request to ChromaDB inside a container's network; empty when nothing answers."""
    data = [] if body is None else ["--json", json.dumps(body)]
    url = f"http://127.0.0.1:8000/api/v2/{path}"
    return run("nsenter", "-n", "-t", pid, "curl", "-s", "--max-time", "5", "-X", method, *data, url, check=False)
