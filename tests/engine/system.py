"""A running HAL-9000 for tests: the real hal9000d and gateway from the build, on a private bus, over a real engine."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from contextlib import contextmanager

from conftest import ROOT, run, wait_until

BUILD = pathlib.Path(os.environ.get("HAL_BUILD_DIR", ROOT / "build"))
CLAUDY = BUILD / "src/claudy/claudy"
PROGRAMS = {
    "hal9000-gateway": "src/gateway/hal9000-gateway",
    "hal9000-init": "src/init/hal9000-init",
    "hal9000-mcp": "src/relay/hal9000-mcp",
    "hal9000-remote": "src/remote/hal9000-remote",
}
BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/>
<allow receive_type="signal"/></policy></busconfig>
"""


class System:
    """One daemon with folders, bus and containers of its own."""

    def __init__(self, folder, engine_host, instance, mcp_servers, pool=(0, 0)):
        self.folder, self.instance, self.engine_host = folder, instance, engine_host
        self.state, self.run_dir, self.config = (folder / name for name in ("state", "run", "etc"))
        self.log = folder / "hal9000d.log"
        self.daemon = None
        self.wrapper = []  # what starts the daemon, and becomes it
        for path in (self.state, self.run_dir, self.config / "conf.d", folder / "data", folder / "programs"):
            path.mkdir(parents=True)
        for path in (folder, folder.parent):  # gateway and MCP servers are users of their own
            os.chmod(path, path.stat().st_mode | 0o011)
        shutil.copy(ROOT / "src/daemon/hal9000.toml", folder / "data")
        for name, place in PROGRAMS.items():
            shutil.copy(BUILD / place, folder / "programs" / name)
        self.settings(f'instance = "{instance}"\n[engine]\nsocket = "{engine_host.removeprefix("unix://")}"\n[parent]\nnetwork = "none"\n[pool]\nmin = {pool[0]}\nmax = {pool[1]}\n[servers]\nrun = "child"\n[gateway]\nrun = "child"\n')
        self.servers(mcp_servers)
        socket = folder / "bus.sock"
        (folder / "bus.conf").write_text(BUS_CONFIG.format(socket=socket))
        self.bus = subprocess.Popen(["dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork"], stdin=subprocess.DEVNULL)
        self.environment = {
            **os.environ,
            "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={socket}",
            "HAL9000_LIBEXECDIR": str(folder / "programs"),
            "HAL9000_DATADIR": str(folder / "data"),
            "CONFIGURATION_DIRECTORY": str(self.config),
            "STATE_DIRECTORY": str(self.state),
            "RUNTIME_DIRECTORY": str(self.run_dir),
            "CACHE_DIRECTORY": str(folder / "cache"),
            "DOCKER_HOST": engine_host,
        }
        wait_until("the bus", socket.exists)

    def settings(self, text):
        (self.config / "conf.d/test.toml").write_text(text)

    def servers(self, servers):
        (self.config / "mcp.json").write_text(json.dumps({"mcpServers": servers}))

    @staticmethod
    def program(name):
        return BUILD / "src/daemon" / name

    def launch(self):
        with open(self.log, "ab") as log:
            self.daemon = subprocess.Popen(
                [*self.wrapper, self.program("hal9000d")], env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def start(self):
        self.launch()
        wait_until("hal9000d on the bus", lambda: self.daemon.poll() is not None or self.on_bus(), 60)
        assert self.daemon.poll() is None, self.log.read_text()

    def on_bus(self):
        return "org.hal9000" in run("busctl", "--system", "--acquired", "list", env=self.environment, check=False)

    def end(self, how=signal.SIGTERM):
        self.daemon.send_signal(how)
        self.daemon.wait(30)

    def crash(self):
        self.end(signal.SIGKILL)

    def close(self):
        if self.daemon and self.daemon.poll() is None:
            self.end()
        for container in self.containers():
            self.docker("rm", "--force", container, check=False)
        self.bus.terminate()
        self.bus.wait(10)

    def docker(self, *arguments, **options):
        return run("docker", *arguments, env=self.environment, **options)

    def containers(self, role=None, everything=True):
        filters = [f"label=org.hal9000.instance={self.instance}"] + ([f"label=org.hal9000.role={role}"] if role else [])
        flags = [word for one in filters for word in ("--filter", one)]
        return self.docker("ps", "--quiet", *(["--all"] if everything else []), *flags).split()

    def claudy(self, *arguments, **options):
        return run(CLAUDY, *arguments, env=self.environment, **options)

    def claudy_fails(self, *arguments, user=None, timeout=60):
        """Exit code and stderr of a claudy that must fail; as another user if asked."""
        command = [str(CLAUDY), *map(str, arguments)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, user=user)
        assert done.returncode != 0, done.stdout
        return done.returncode, done.stderr

    def workers(self):
        return json.loads(self.claudy("ls", "--all", "--json"))

    def show(self, name):
        return json.loads(self.claudy("show", name, "--json"))

    def until_state(self, name, state, seconds=30):
        return wait_until(f"{name} {state}", lambda: (worker := self.show(name))["state"] == state and worker, seconds)

    def until_parent_runs(self):
        wait_until("ChromaDB", lambda: json.loads(self.claudy("parent", "status", "--json"))["chroma_health"] == "healthy", 60)

    def pool(self):
        return json.loads(self.claudy("pool", "status", "--json"))

    def until_warm(self, count, seconds=120):
        """Until just so many are warm and none is on its way."""
        return wait_until(f"{count} warm workers", lambda: (pool := self.pool())["warm"] == count and not pool["starting"] and pool, seconds)

    def warm_workers(self):
        return [one for one in self.workers() if one["state"] == "warm"]

    def left_behind(self):
        """What failed spawns must not leave: containers, sockets, records, mounts."""
        return {
            "containers": self.containers("worker"),
            "folders": sorted(path.name for path in (self.run_dir / "worker").iterdir()),
            "records": sorted(path.name for path in (self.state / "worker").iterdir()),
        }


def home_of(system, uid=0):
    return system.state / "user" / str(uid)


def mountinfo(pid):
    return pathlib.Path(f"/proc/{pid}/mountinfo").read_text()


def mounted(pid, target):
    return any(line.split()[4] == target for line in mountinfo(pid).splitlines())


def held(system):
    """What a leak would show in: descriptors and children of the daemon, mounts of the host, workers' containers."""
    pid = system.daemon.pid
    return {
        "fds": len(os.listdir(f"/proc/{pid}/fd")),
        "children": len(run("pgrep", "-P", pid, check=False).split()),
        "mounts": len(mountinfo("self").splitlines()),
        **{key: len(value) for key, value in system.left_behind().items()},
    }


@contextmanager
def fresh_system(engine_host, mcp_servers=None, **options):
    """A system with a folder and an instance of its own, not started yet; nothing of it is left afterwards."""
    # Not pytest's folder, which only root can enter: gateway and MCP servers run as users of their own.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hal9000-system-", dir="/var/tmp"))
    system = System(folder, engine_host, f"test-{uuid.uuid4().hex[:6]}", mcp_servers or {}, **options)
    try:
        yield system
    finally:
        system.close()
        print(system.log.read_text())  # shown by pytest where a test failed
        shutil.rmtree(folder)


@contextmanager
def played_model(system, steps, folder):
    """The model's stand-in in the workers' network; gives what `claudy exec` needs for a Claude Code to ask it."""
    script, record = folder / "script.json", folder / "record.jsonl"
    script.write_text(json.dumps(steps))
    holder = system.docker("inspect", "--format", "{{.State.Pid}}", *system.containers("parent")).strip()
    model = subprocess.Popen(
        ["nsenter", "-n", "-t", holder, sys.executable, ROOT / "tests/fakes/messages_api.py", "--script", script, "--record", record],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = model.stdout.readline().split()[-1]
        yield ["--env", f"ANTHROPIC_BASE_URL=http://127.0.0.1:{port}", "--env", "ANTHROPIC_API_KEY=sk-test-not-a-key"]
    finally:
        model.terminate()
        model.wait(10)
