"""A whole hal9000d on a private system bus, with or without polkit, for tests of what a user sees.

HAL_BUILD_DIR          the build folder
HAL_TEST_TIME_FACTOR   multiplies every deadline

Everything lives in one folder under /tmp and ends with the test. Must run as root, for callers that are not.
"""
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref

import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("HAL_BUILD_DIR", SOURCE / "build"))
DEADLINE = 20 * float(os.environ.get("HAL_TEST_TIME_FACTOR", "1"))
PREFIX = "org.hal9000.Error."
DENIED = "org.freedesktop.DBus.Error.AccessDenied"

# The rules of Debian's system bus that matter here, then ours as installed.
BUS_CONFIG = """<busconfig>
  <type>system</type>
  <listen>unix:path={folder}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <policy user="root">
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <include>{source}/dbus/org.hal9000.conf</include>
</busconfig>
"""


_unread = weakref.WeakKeyDictionary()


def read_line(stream):
    """One line of a pipe without its end, or a failure at the deadline; empty at the end of the stream.

    Read past the stream's own buffer, which would keep lines that no select() tells of.
    """
    unread = _unread.setdefault(stream, bytearray())
    while (end := unread.find(b"\n")) < 0:
        ready, _, _ = select.select([stream], [], [], DEADLINE)
        assert ready, f"nothing came after {bytes(unread[:200])}"
        more = os.read(stream.fileno(), 1 << 20)
        if not more:
            end = len(unread)
            break
        unread += more
    line = unread[:end].decode()
    del unread[: end + 1]
    return line


class Failed(Exception):
    """A call that was answered with an error."""

    def __init__(self, name, message):
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


class Caller:
    """A client of the bus in a process of its own, as any user: see bus_caller.py."""

    def __init__(self, system, uid=0):
        self.uid = uid
        self.process = subprocess.Popen(
            [sys.executable, str(pathlib.Path(__file__).with_name("bus_caller.py"))], env=system.environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, user=uid, group=uid, extra_groups=[])
        self.unique_name = read_line(self.process.stdout)

    def send(self, path, interface, member, signature="", *arguments, interactive=False):
        self.process.stdin.write(json.dumps({"path": path, "interface": interface, "member": member,
                                             "signature": signature, "arguments": arguments,
                                             "interactive": interactive}) + "\n")
        self.process.stdin.flush()

    def receive(self):
        answer = json.loads(read_line(self.process.stdout))
        if "error" in answer:
            raise Failed(answer["error"], answer["message"])
        return answer["result"]

    def call(self, path, interface, member, signature="", *arguments, **flags):
        """The results of a method of org.hal9000; raises Failed. Options are {"name": ["s", "x"]}."""
        self.send(path, interface, member, signature, *arguments, **flags)
        return self.receive()

    def manager(self, member, signature="", *arguments, **flags):
        return self.call("/org/hal9000", "org.hal9000.Manager1", member, signature, *arguments, **flags)

    def get(self, path, interface, name):
        return self.call(path, "org.freedesktop.DBus.Properties", "Get", "ss", interface, name)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Recorder:
    """Sees all signals of org.hal9000 from its start on."""

    def __init__(self, system):
        self.process = subprocess.Popen(
            [sys.executable, str(pathlib.Path(__file__).with_name("bus_caller.py")), "--record"],
            env=system.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.buffer = b""
        self.seen = []
        assert self.line(time.monotonic() + DEADLINE) == b"ready"

    def line(self, end):
        """The next line, or nothing at the deadline; never waits for what is in a buffer already."""
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            if not ready:
                return None
            self.buffer += os.read(self.process.stdout.fileno(), 65536)
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def wait(self, member, path=None, matches=lambda arguments: True):
        """The arguments of the first signal that fits, seen or still to come."""
        checked = 0
        end = time.monotonic() + DEADLINE
        while True:
            for signal_ in self.seen[checked:]:
                checked += 1
                if signal_["member"] == member and path in (None, signal_["path"]) and matches(signal_["arguments"]):
                    return signal_["arguments"]
            line = self.line(end)
            assert line, f"no signal {member}; seen: {self.seen}"
            self.seen.append(json.loads(line))

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class System:
    """The bus and what runs on it."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hal-integration-"))
        self.folder.chmod(0o755)
        self.started = []
        self.callers = {}
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(self.folder / "notify"))
        self.notified = []
        self.news = threading.Condition()
        # All the time: a full queue of datagrams would hold up the daemon, which tells of every change.
        threading.Thread(target=self.read_notify, daemon=True).start()
        self.daemon = None
        self.start_bus()

    def start(self, arguments, **options):
        process = subprocess.Popen([str(word) for word in arguments], stdin=subprocess.DEVNULL,
                                   env=options.pop("env", self.environment), **options)
        self.started.append(process)
        return process

    def start_bus(self):
        config = self.folder / "bus.conf"
        config.write_text(BUS_CONFIG.format(folder=self.folder, source=SOURCE))
        bus = self.start(["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address=1"],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.environment["DBUS_SYSTEM_BUS_ADDRESS"] = read_line(bus.stdout)

    # -- polkit

    def start_polkit(self):
        """A polkit that allows nothing until allow() says so."""
        log = open(self.folder / "polkit.log", "w", encoding="utf-8")
        self.start([sys.executable, "-m", "dbusmock", "--system", "--template", "polkitd"], stdout=log, stderr=log)
        log.close()
        subprocess.run(["gdbus", "wait", "--system", "--timeout", str(int(DEADLINE)), "org.freedesktop.PolicyKit1"],
                       env=self.environment, check=True)

    def polkit(self, method, *arguments):
        return self.bus_call("org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority",
                             f"org.freedesktop.DBus.Mock.{method}", *arguments)

    def allow(self, *actions):
        self.polkit("SetAllowed", json.dumps([f"org.hal9000.{action}" for action in actions]).replace('"', "'")
                    if actions else "@as []")

    def watch_questions(self):
        """What returned is called waits for the next question to polkit and gives its message."""
        monitor = self.start(["busctl", "--system", "monitor", "--json=short", "--match",
                              "type='method_call',member='CheckAuthorization'"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        while "Monitoring" not in read_line(monitor.stderr):
            pass
        return lambda: json.loads(read_line(monitor.stdout))

    def bus_call(self, destination, path, method, *arguments):
        return subprocess.run(["gdbus", "call", "--system", "--dest", destination, "--object-path", path, "--method",
                               method, *arguments], env=self.environment, capture_output=True, timeout=DEADLINE,
                              check=False).stdout

    # -- the daemon

    def configure(self, toml="", servers=None, engine=None):
        """Writes the configuration a start or Reload reads."""
        config = self.folder / "etc"
        config.mkdir(exist_ok=True)
        socket_path = engine or self.folder / "no-engine.sock"
        (config / "hal9000.toml").write_text(
            f'instance = "{self.folder.name}"\n[engine]\nsocket = "{socket_path}"\n[gateway]\nrun = "child"\n'
            f'[servers]\nrun = "child"\n{toml}')
        (config / "mcp.json").write_text(json.dumps({"mcpServers": servers or {}}))

    def start_daemon(self, prefix=(), **configuration):
        """Runs hal9000d, behind the words of `prefix`, until it is ready. Without an engine it is degraded."""
        self.configure(**configuration)
        for name in ("data", "libexec", "state", "run"):
            (self.folder / name).mkdir(exist_ok=True)
        shutil.copy(SOURCE / "src/daemon/hal9000.toml", self.folder / "data/hal9000.toml")
        for program in ("gateway/hal9000-gateway", "init/hal9000-init", "relay/hal9000-mcp",
                        "remote/hal9000-remote"):
            link = self.folder / "libexec" / pathlib.Path(program).name
            if not link.is_symlink():
                link.symlink_to(BUILD / "src" / program)
        log = open(self.folder / "daemon.log", "a", encoding="utf-8")
        self.notified.clear()
        self.daemon = self.start([*prefix, BUILD / "src/daemon/hal9000d"], env=self.daemon_environment(), stdout=log, stderr=log)
        log.close()
        self.wait_notify("READY=1")
        self.wait_servers(configuration.get("servers") or {})

    def daemon_environment(self):
        credentials = self.folder / "credentials"
        return {**self.environment, **({"CREDENTIALS_DIRECTORY": str(credentials)} if credentials.exists() else {}), "NOTIFY_SOCKET": str(self.folder / "notify"),
                "CONFIGURATION_DIRECTORY": str(self.folder / "etc"), "STATE_DIRECTORY": str(self.folder / "state"),
                "RUNTIME_DIRECTORY": str(self.folder / "run"), "HAL9000_DATADIR": str(self.folder / "data"),
                "HAL9000_LIBEXECDIR": str(self.folder / "libexec")}

    def wait_servers(self, names):
        """Until the gateway is connected, without which nothing of an MCP server can be started."""
        end = time.monotonic() + DEADLINE
        while "running" not in {self.caller().get(f"/org/hal9000/server/{name}", "org.hal9000.Server1", "State")
                                for name in names} and names:
            assert time.monotonic() < end, "no MCP server runs"
            select.select([], [], [], 0.05)

    def wait_notify(self, word):
        """Until the daemon has told the service manager this."""
        end = time.monotonic() + DEADLINE
        with self.news:
            while word not in self.notified:
                assert time.monotonic() < end and self.daemon.poll() is None, f"no {word}; log:\n{self.log()}"
                self.news.wait(0.05)

    def read_notify(self):
        """Until the end, which is an empty datagram."""
        while text := self.notify.recv(65536).decode():
            with self.news:
                self.notified += text.splitlines()
                self.news.notify_all()
        self.notify.close()

    def end_daemon(self, how=signal.SIGTERM):
        """Ends hal9000d; its exit code."""
        self.daemon.send_signal(how)
        return self.daemon.wait(DEADLINE)

    def log(self):
        return (self.folder / "daemon.log").read_text(encoding="utf-8", errors="replace")

    # -- clients

    def caller(self, uid=0):
        """The same for each call; new_caller() is a connection of its own."""
        if uid not in self.callers:
            self.callers[uid] = Caller(self, uid)
        return self.callers[uid]

    def new_caller(self, uid=0):
        caller = Caller(self, uid)
        self.started.append(caller.process)
        return caller

    def recorder(self):
        recorder = Recorder(self)
        self.started.append(recorder.process)
        return recorder

    def end(self):
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.terminate()
            try:
                self.daemon.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                pass
        for caller in self.callers.values():
            caller.end()
        for process in reversed(self.started):
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None and not stream.closed:
                    stream.close()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.folder / "notify"))
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(name="system")
def system_fixture(request):
    """A bus; the test starts the rest. A failed test shows the daemon's log."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for callers that are not")
    system = System()
    try:
        yield system
    finally:
        report = getattr(request.node, "report", None)
        if report is not None and report.failed and (system.folder / "daemon.log").exists():
            print(system.log())
        system.end()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.report = outcome.get_result()
