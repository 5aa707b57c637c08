"""The stage of the host suite: a Debian with systemd in a container of our engine, with its own engine in it and the
package installed in it. Booted once a session.

Set by ./check:
HAL_BUILD_DIR     a finished build with --prefix=/usr
HAL_CHECK_CACHE   where roots and images are kept between runs
HAL_CHECK_LOGS    where the stage's journal goes when it ends
DOCKER_HOST       the engine
HAL9000_MCP_PREFIX  the MCP servers
"""

import hashlib
import json
import os
import pathlib
import subprocess
import time
import uuid

import pytest

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("HAL_CHECK_CACHE", "/var/cache/hal9000-check"))
BUILD = pathlib.Path(os.environ.get("HAL_BUILD_DIR", "build"))
LOGS = pathlib.Path(os.environ.get("HAL_CHECK_LOGS", CACHE / "logs"))
MCP = pathlib.Path(os.environ.get("HAL9000_MCP_PREFIX", CACHE / "mcp"))
IMAGES = ["hal9000/worker-minimal", "hal9000/parent"]
# What the package depends on and recommends, and a little to look around with.
PACKAGES = [
    "systemd", "systemd-sysv", "dbus", "default-dbus-system-bus", "polkitd", "docker.io", "iptables", "iproute2",
    "nodejs", "python3", "procps", "ca-certificates", "libcurl4", "libfmt9", "libmicrohttpd12", "libnettle8",
    "libsdbus-c++1", "libssl3", "libsystemd0", "libtomlplusplus3",
]


def run(*command, timeout=300, check=True, **options):
    """Runs a command, returns its stdout; what it said stands in the failure's text."""
    options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=timeout, **options)
    if check and done.returncode:
        raise AssertionError(f"{command} gave {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def wait_until(what, condition, seconds=60):
    """Asks until the answer is true: for what has no event that a test could wait for."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return value


class Host:
    """The booted machine."""

    def __init__(self, container):
        self.container = container

    def command(self, *words, interactive=False):
        return ["docker", "exec", *(["-i"] if interactive else []), self.container, *map(str, words)]

    def run(self, *words, **options):
        return run(*self.command(*words), **options)

    def try_run(self, *words, timeout=120):
        """Exit code and all output, whatever they are."""
        done = subprocess.run(self.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=timeout)
        return done.returncode, done.stdout

    def open(self, *words):
        """A running program with pipes for stdin and stdout, unbuffered."""
        return subprocess.Popen(self.command(*words, interactive=True), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, bufsize=0)

    def write(self, path, text):
        self.run("mkdir", "-p", str(pathlib.PurePath(path).parent))
        run(*self.command("tee", path, interactive=True), input=text, stdin=None)

    def call(self, path, interface, method, *arguments, check=True, timeout=180):
        """A method of org.hal9000 by busctl; the answer as JSON data, a single value by itself."""
        words = ["busctl", "--json=short", f"--timeout={timeout}", "call", "org.hal9000", path,
                 f"org.hal9000.{interface}", method, *arguments]
        if not check:
            return self.try_run(*words)
        data = json.loads(self.run(*words) or '{"data": []}')["data"]
        return data[0] if len(data) == 1 else data

    def get(self, path, interface, name):
        answer = self.run("busctl", "--json=short", "get-property", "org.hal9000", path, f"org.hal9000.{interface}",
                          name)
        return json.loads(answer)["data"]

    def unit(self, name, *properties):
        """Properties of a systemd unit, by name."""
        text = self.run("systemctl", "show", name, *[f"--property={p}" for p in properties])
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def journal(self, *matches):
        return self.run("journalctl", "--no-pager", "--output=cat", *matches)

    def containers(self, role=None, everything=True):
        """Ids of the system's containers."""
        label = f"label=org.hal9000.role={role}" if role else "label=org.hal9000.role"
        return sorted(self.run("docker", "ps", "--no-trunc", "--quiet", *(["--all"] if everything else []), "--filter",
                               label).split())


def host_image():
    """The machine's root as an image, named after what is in it."""
    root = pathlib.Path(run(HERE / "make_root.sh", CACHE, "bookworm", "host", *PACKAGES, timeout=900).strip())
    name = "hal9000-test/" + root.name
    if not run("docker", "images", "--quiet", name).strip():
        tar = subprocess.Popen(["tar", "-C", root, "--exclude=./.complete", "-c", "."], stdout=subprocess.PIPE)
        run("docker", "import", "-", name, stdin=tar.stdout, timeout=600)
        assert tar.wait() == 0
    return name


def image_archive():
    """The product's images as a file, and a key that changes with them."""
    ids = run("docker", "inspect", "--format", "{{.Id}}", *IMAGES)
    key = hashlib.sha256(ids.encode()).hexdigest()[:12]
    path = CACHE / f"images-{key}.tar"
    if not path.exists():
        for old in CACHE.glob("images-*.tar"):
            old.unlink()
        partial = path.with_suffix(".partial")
        run("docker", "save", "--output", partial, *IMAGES, timeout=600)
        partial.rename(path)
    return path, key


def boot(name, image, volume, archive):
    run("docker", "run", "--detach", "--name", name, "--hostname", "halhost",
        "--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN", "--cap-add=SYS_PTRACE", "--security-opt=seccomp=unconfined",
        "--security-opt=apparmor=unconfined", "--security-opt=systempaths=unconfined", "--cgroupns=host", "--network=none",
        "--volume=/sys/fs/cgroup:/sys/fs/cgroup", "--tmpfs=/run:exec,mode=755", "--tmpfs=/tmp:exec,mode=1777",
        # Projects and homes: on a file system that can map ids, as the container's overlay cannot.
        "--volume=/srv", "--volume=/var/lib/hal9000",
        f"--volume={volume}:/var/lib/docker", f"--volume={archive}:/images.tar:ro", f"--volume={MCP}:{MCP}:ro",
        "--env=container=docker", "--stop-signal=SIGRTMIN+3", image, "/sbin/init")
    host = Host(name)
    wait_until("systemd is up", lambda: host.try_run("systemctl", "is-system-running")[1].strip()
               in {"running", "degraded"}, 120)
    host.run("mount", "--make-rshared", "/")
    return host


def load_images(host, key):
    """Once for each set of images: the engine's folder is a volume that stays."""
    marker = "/var/lib/docker/.hal9000-images"
    host.run("systemctl", "start", "docker.service")
    stale = host.run("docker", "ps", "--all", "--quiet").split()
    if stale:
        host.run("docker", "rm", "--force", *stale)
    if host.try_run("cat", marker) != (0, key):
        host.run("docker", "load", "--input", "/images.tar", timeout=600)
        host.write(marker, key)


def install(host, package):
    run("docker", "cp", package, f"{host.container}:/root/hal9000.deb")
    host.run("dpkg", "--install", "/root/hal9000.deb")
    servers = json.loads((MCP / "mcp.json").read_text())
    host.write("/etc/hal9000/mcp.json", json.dumps(servers, indent=2))
    # The stage has no network to put a bridge on.
    host.write("/etc/hal9000/conf.d/10-stage.toml", '[parent]\nnetwork = "none"\n')
    host.run("install", "-d", "-o", "1234", "-g", "1234", "/srv/project")
    host.run("systemctl", "stop", "hal9000.service")


@pytest.fixture(scope="session")
def host():
    package = run(HERE / "build_deb.sh", BUILD, CACHE / "deb", timeout=900).strip()
    image = host_image()
    archive, key = image_archive()
    name = f"hal-check-host-{uuid.uuid4().hex[:8]}"
    try:
        machine = boot(name, image, "hal-check-host-docker", archive)
        machine.write("/etc/docker/daemon.json", '{"bridge": "none", "iptables": false, "ip-forward": false}')
        load_images(machine, key)
        install(machine, package)
        machine.run("systemctl", "start", "hal9000.service")
        yield machine
        machine.try_run("sh", "-c", "docker ps --all --quiet | xargs --no-run-if-empty docker rm --force")
    finally:
        LOGS.mkdir(parents=True, exist_ok=True)
        journal = run("docker", "exec", name, "journalctl", "--no-pager", "--output=short-precise", check=False)
        (LOGS / "host-journal.log").write_text(journal)
        run("docker", "rm", "--force", "--volumes", name, check=False)


@pytest.fixture
def worker(host):
    """A running worker that waits, removed after the test."""
    path = host.call("/org/hal9000", "Manager1", "Spawn", "sa{sv}", "/srv/project", "1", "command", "as", "2", "sleep",
                     "infinity")
    yield path
    host.call(path, "Worker1", "Remove", check=False)
