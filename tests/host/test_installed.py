"""The package on a machine with systemd: units, D-Bus, journal, restarts, configuration."""

import json
import pathlib
import re

import pytest

from conftest import wait_until

ROOT = "/org/hal9000"


def container_of(host, worker):
    return host.get(worker, "Worker1", "ContainerId")


def state_of(host, worker):
    code, text = host.try_run("busctl", "--json=short", "get-property", "org.hal9000", worker, "org.hal9000.Worker1",
                              "State")
    return json.loads(text)["data"] if code == 0 else "gone"


def wait_for_daemon(host, older_than=None):
    """Until hal9000d is up, as another process than `older_than`."""
    def up():
        unit = host.unit("hal9000.service", "ActiveState", "MainPID")
        return unit["ActiveState"] == "active" and unit["MainPID"] not in {"0", older_than} and unit["MainPID"]
    return wait_until("hal9000.service is active", up)


def wait_for_pool(host):
    """Until no warm worker is being made, nor about to be."""
    def settled():
        number = {name: host.get(f"{ROOT}/pool", "Pool1", name) for name in ("Warm", "Starting", "Target", "Pressure")}
        return number["Starting"] == 0 and (number["Warm"] >= number["Target"] or number["Pressure"] in {"some", "full"})
    wait_until("the pool has what it wants", settled)


class McpClient:
    """An MCP client inside a worker: the relay, as Claude Code starts it."""

    def __init__(self, host, worker, server):
        self.process = host.open("docker", "exec", "-i", container_of(host, worker), "/usr/local/bin/hal9000-mcp", server)
        self.last_id = 0
        self.request("initialize", {"protocolVersion": "2025-06-18", "capabilities": {},
                                    "clientInfo": {"name": "test", "version": "1"}})
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def send(self, message):
        self.process.stdin.write(json.dumps(message).encode() + b"\n")

    def request(self, method, params):
        self.last_id += 1
        self.send({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params})
        while line := self.process.stdout.readline():
            message = json.loads(line)
            if message.get("id") == self.last_id and "method" not in message:
                assert "result" in message, message
                return message["result"]
        raise AssertionError(f"{method}: the relay ended")

    def tools(self):
        return {tool["name"] for tool in self.request("tools/list", {})["tools"]}

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)


@pytest.fixture
def sequential(host, worker):
    client = McpClient(host, worker, "sequential-thinking")
    yield client
    client.close()


def server_units(host):
    """Process ids by unit of the MCP servers' transient units; what asks for the images' state runs for a moment."""
    text = host.run("systemctl", "list-units", "--plain", "--no-legend", "--state=running", "hal9000-mcp-*.service")
    units = [unit for line in text.splitlines() if not (unit := line.split()[0]).startswith("hal9000-mcp-images-")]
    return {unit: host.unit(unit, "MainPID")["MainPID"] for unit in units}


def test_the_service_is_active_and_says_its_status(host):
    unit = host.unit("hal9000.service", "ActiveState", "StatusText", "Type", "NotifyAccess")
    assert unit["ActiveState"] == "active"
    assert unit["Type"] == "notify"
    assert unit["StatusText"], "no STATUS"
    assert host.unit("hal9000-gateway.service", "ActiveState")["ActiveState"] == "active"
    assert host.get(ROOT, "Manager1", "State") in {"running", "starting"}


def test_the_package_makes_its_users_and_folders(host):
    listing = host.run("stat", "--format=%n %a %U", "/run/hal9000", "/var/lib/hal9000/server", "/var/lib/hal9000/package",
                       "/var/lib/hal9000/user",
                       "/var/lib/hal9000/worker", "/var/lib/hal9000/chroma", "/run/hal9000/gateway.sock")
    assert listing.splitlines() == [
        "/run/hal9000 755 root", "/var/lib/hal9000/server 755 root", "/var/lib/hal9000/package 755 root",
        "/var/lib/hal9000/user 711 root",
        "/var/lib/hal9000/worker 700 root", "/var/lib/hal9000/chroma 700 hal9000", "/run/hal9000/gateway.sock 600 root"]


def test_servers_are_added_and_removed_over_the_bus(host):
    added = json.dumps({"mcpServers": {"extra": {"command": "cat", "env": {"TOKEN": "s3cret"}}}})
    assert host.call(ROOT, "Manager1", "AddServers", "sa{sv}", added, "0") == [["extra", "added", ""]]
    path = "/etc/hal9000/mcp.d/extra.managed.json"
    assert host.run("stat", "--format=%a %U", path) == "600 root\n"
    wait_until("it runs", lambda: host.get(f"{ROOT}/server/extra", "Server1", "State") == "running")
    unit = host.get(f"{ROOT}/server/extra", "Server1", "Unit")
    assert "s3cret" not in host.run("systemctl", "show", unit)
    host.call(ROOT, "Manager1", "RemoveServer", "s", "extra")
    assert host.try_run("stat", path)[0] == 1
    wait_until("it has ended", lambda: unit not in server_units(host))


def test_what_cannot_be_installed_leaves_nothing(host):
    """The stage has no network, and no npm: a unit of the installer's user finds that out."""
    job = host.call(ROOT, "Manager1", "InstallServer", "ssa{sv}", "extra", "npm:semver", "0")
    assert wait_until("the job ends", lambda: host.get(job, "Job1", "Result")) == "failed"
    assert "npm:semver could not be installed" in host.get(job, "Job1", "Message")
    wait_until("its folder is gone", lambda: host.run("ls", "/var/lib/hal9000/package") == "")
    assert host.run("id", "--user", "--name", "hal9000-install") == "hal9000-install\n"


def test_the_gateway_has_no_power(host):
    pid = host.unit("hal9000-gateway.service", "MainPID")["MainPID"]
    status = host.run("cat", f"/proc/{pid}/status")
    assert re.search(r"^CapEff:\s+0+$", status, re.M)
    assert re.search(r"^CapBnd:\s+0+$", status, re.M)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
    uid = host.run("id", "--user", "hal9000").strip()
    assert re.search(rf"^Uid:\s+{uid}\s+{uid}\s+{uid}\s+{uid}$", status, re.M)
    interfaces = host.run("cat", f"/proc/{pid}/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]


def test_a_spawned_worker_is_on_the_bus_in_the_engine_and_in_the_journal(host):
    answer = host.run("busctl", "call", "org.hal9000", ROOT, "org.hal9000.Manager1", "Spawn", "sa{sv}", "/srv/project",
                      "0", timeout=180)
    match = re.fullmatch(r'o "(/org/hal9000/worker/(\w+))"', answer.strip())
    assert match, answer
    path, worker_id = match.groups()
    try:
        assert path in host.run("busctl", "tree", "--list", "org.hal9000").split()
        container = container_of(host, path)
        assert container in host.containers("worker")
        assert state_of(host, path) == "running"
        story = host.journal(f"HAL9000_WORKER={worker_id}")
        assert story.strip(), "the journal has nothing about the worker"
    finally:
        host.call(path, "Worker1", "Remove")
    assert container not in host.containers("worker")


def test_metrics_are_served_when_their_socket_is(host, worker):
    assert host.try_run("systemctl", "is-active", "hal9000-metrics.socket")[1].strip() == "inactive"
    host.run("systemctl", "start", "hal9000-metrics.socket")
    try:
        get = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9464/metrics', timeout=60).read().decode())"
        lines = [line for line in host.run("python3", "-c", get).splitlines() if line and line[0] != "#"]
        values = {key: float(value) for key, value in (line.rsplit(" ", 1) for line in lines)}
        assert values["hal9000_up"] == 1 and values["hal9000_engine_up"] == 1
        assert values['hal9000_workers{state="running"}'] >= 1
        for unit in ("hal9000.service", "hal9000-gateway.service", "hal9000-metrics.service"):
            assert values[f'hal9000_unit_memory_bytes{{unit="{unit}"}}'] > 0
        used = host.get(worker, "Worker1", "Id")
        assert any(key.startswith(f'hal9000_worker_memory_bytes{{worker="{used}"') and value > 0 for key, value in values.items())
        assert host.unit("hal9000-metrics.service", "User")["User"] == "hal9000-metrics"
    finally:
        host.run("systemctl", "stop", "hal9000-metrics.socket", "hal9000-metrics.service")


def test_the_slice_holds_and_bounds_the_containers(host, worker):
    container = container_of(host, worker)
    slice_group = host.unit("hal9000.slice", "ControlGroup")["ControlGroup"]
    groups = host.run("cat", f"/proc/{host.get(worker, 'Worker1', 'Pid')}/cgroup")
    assert f"{slice_group}/worker/{container}" in groups or f"{slice_group}/hal9000-worker.slice/" in groups, groups
    assert container in host.try_run("systemctl", "--no-pager", "--full", "status", "hal9000.slice")[1]

    def forks():
        return host.try_run("docker", "exec", container, "sh", "-c", "(echo forked)") == (0, "forked\n")

    assert forks()
    host.run("systemctl", "set-property", "--runtime", "hal9000.slice", "TasksMax=1")
    try:
        assert not forks()
    finally:
        host.run("systemctl", "set-property", "--runtime", "hal9000.slice", "TasksMax=infinity")
    assert forks()
    assert host.get(worker, "Worker1", "TasksCurrent") >= 1
    assert host.get(worker, "Worker1", "MemoryCurrent") > 0


def test_mcp_servers_are_units_with_their_user_and_slice(host, sequential):
    assert "sequentialthinking" in sequential.tools()
    units = {unit: pid for unit, pid in server_units(host).items() if "sequential-thinking" in unit}
    assert units
    for unit, pid in units.items():
        properties = host.unit(unit, "User", "Slice", "Transient")
        assert properties["Slice"] == "hal9000-mcp.slice"
        assert properties["Transient"] == "yes"
        owner = host.run("stat", "--format=%U", f"/proc/{pid}").strip()
        assert owner == "hal9000-mcp"


@pytest.mark.parametrize(("server", "tool", "arguments", "expected"), [
    ("sequential-thinking", "sequentialthinking",
     {"thought": "one", "thoughtNumber": 1, "totalThoughts": 1, "nextThoughtNeeded": False}, "thoughtHistoryLength"),
    ("memory-bank", "memory_bank_write", {"projectName": "host", "fileName": "note.md", "content": "hello"}, "note.md"),
    ("chroma", "chroma_create_collection", {"collection_name": "host"}, "Successfully created"),
])
def test_servers_work_in_the_sandbox_of_their_units(host, worker, server, tool, arguments, expected):
    client = McpClient(host, worker, server)
    try:
        result = client.request("tools/call", {"name": tool, "arguments": arguments})
        assert not result.get("isError"), result
        assert expected in json.dumps(result)
    finally:
        client.close()


def test_the_gateway_serves_http_in_the_workers_network(host, worker):
    url = "http://127.0.0.1:9000/mcp/memory-bank"
    code = host.run("docker", "exec", container_of(host, worker), "curl", "--silent", "--max-time", "10", "--output",
                    "/dev/null", "--write-out", "%{http_code}", url)
    assert code == "401", "it answers, and asks for the worker's token"


def test_a_restart_keeps_workers_and_their_mcp_sessions(host, worker, sequential):
    assert "sequentialthinking" in sequential.tools()
    container, servers, old = container_of(host, worker), server_units(host), wait_for_daemon(host)
    host.run("systemctl", "restart", "hal9000.service")
    assert wait_for_daemon(host, old)
    assert "sequentialthinking" in sequential.tools()
    assert server_units(host) == servers
    assert container_of(host, worker) == container
    wait_until("the worker is taken up again", lambda: state_of(host, worker) == "running")


def test_a_killed_daemon_finds_everything_again(host, worker, sequential):
    assert "sequentialthinking" in sequential.tools()
    wait_for_pool(host)
    before, servers, old = host.containers(), server_units(host), wait_for_daemon(host)
    host.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "hal9000.service")
    assert wait_for_daemon(host, old)
    wait_until("the worker is taken up again", lambda: state_of(host, worker) == "running")
    assert host.containers() == before, "a container was lost or made twice"
    assert server_units(host) == servers
    assert "sequentialthinking" in sequential.tools()


def think(client, number):
    """How many thoughts the server's process has had with this one."""
    result = client.request("tools/call", {"name": "sequentialthinking", "arguments": {
        "thought": "one more", "thoughtNumber": number, "totalThoughts": number, "nextThoughtNeeded": True}})
    return json.loads(result["content"][0]["text"])["thoughtHistoryLength"]


def test_a_restart_of_the_gateway_is_a_pause(host, worker, sequential):
    """Calls are made all the time; each is answered, once, by a process that remembers all of them."""
    first = think(sequential, 1)
    servers, thoughts = server_units(host), 1
    for _ in range(3):
        old = host.unit("hal9000-gateway.service", "MainPID")["MainPID"]
        restart = host.open("systemctl", "restart", "hal9000-gateway.service")
        while restart.poll() is None:
            thoughts += 1
            assert think(sequential, thoughts) == first + thoughts - 1
        assert restart.returncode == 0
        assert host.unit("hal9000-gateway.service", "MainPID")["MainPID"] not in {"0", old}
    thoughts += 1
    assert think(sequential, thoughts) == first + thoughts - 1
    assert server_units(host) == servers
    assert host.unit("hal9000-gateway.service", "NFileDescriptorStore")["NFileDescriptorStore"] == "0", "taken out"


@pytest.fixture
def slow(host):
    """A worker's session with a server that answers a call when another one releases it."""
    program = "/usr/local/share/slow_mcp_server.py"
    host.write(program, (pathlib.Path(__file__).parent.parent / "fakes/mcp_server.py").read_text())
    added = json.dumps({"mcpServers": {"slow": {"command": "python3", "args": [program]}}})
    assert host.call(ROOT, "Manager1", "AddServers", "sa{sv}", added, "0") == [["slow", "added", ""]]
    answer = host.run("busctl", "call", "org.hal9000", ROOT, "org.hal9000.Manager1", "Spawn", "sa{sv}", "/srv/project",
                      "0", timeout=180)
    path = re.fullmatch(r'o "(/org/hal9000/worker/\w+)"', answer.strip())[1]
    client = McpClient(host, path, "slow")
    yield client
    client.close()
    host.call(path, "Worker1", "Remove")
    host.call(ROOT, "Manager1", "RemoveServer", "s", "slow")


def test_a_call_outlives_a_restart_of_the_gateway(host, slow):
    slow.send({"jsonrpc": "2.0", "id": "slow", "method": "tools/call", "params": {"name": "wait", "arguments": {}}})
    slow.tools()  # answered after the server was given the call
    host.run("systemctl", "restart", "hal9000-gateway.service")
    slow.send({"jsonrpc": "2.0", "id": "last", "method": "tools/call", "params": {"name": "release", "arguments": {}}})
    answers = [json.loads(slow.process.stdout.readline()) for _ in range(2)]
    assert [answer["id"] for answer in answers] == ["slow", "last"]
    assert all("result" in answer for answer in answers), answers


def test_a_killed_gateway_costs_no_worker(host, worker):
    old = host.unit("hal9000-gateway.service", "MainPID")["MainPID"]
    host.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "hal9000-gateway.service")
    wait_until("the gateway is back",
               lambda: host.unit("hal9000-gateway.service", "MainPID")["MainPID"] not in {"0", old})
    assert state_of(host, worker) == "running"
    client = McpClient(host, worker, "sequential-thinking")
    assert "sequentialthinking" in client.tools()
    client.close()


def test_a_container_removed_behind_our_back_is_replaced(host, worker):
    removed = container_of(host, worker)
    host.run("docker", "rm", "--force", removed)
    wait_until("another container", lambda: state_of(host, worker) == "running" and container_of(host, worker) != removed)
    assert host.unit("hal9000.service", "ActiveState")["ActiveState"] == "active"


@pytest.fixture
def bad_setting(host):
    path = "/etc/hal9000/conf.d/90-bad.toml"
    host.write(path, "[log]\nlevel = \"info\"\nno_such_key = 1\n")
    yield path
    host.run("rm", "-f", path)
    host.run("systemctl", "reset-failed", "hal9000.service")
    host.run("systemctl", "start", "hal9000.service")


def test_a_reload_with_a_bad_file_fails_and_changes_nothing(host, worker, bad_setting):
    pid = wait_for_daemon(host)
    code, _ = host.try_run("systemctl", "reload", "hal9000.service")
    assert code != 0
    assert wait_for_daemon(host) == pid
    assert state_of(host, worker) == "running"
    code, text = host.call(ROOT, "Manager1", "Reload", check=False)
    assert code != 0
    assert "90-bad.toml" in text and "no_such_key" in text, text
    host.run("rm", bad_setting)
    host.run("systemctl", "reload", "hal9000.service")


def test_a_start_with_a_bad_file_fails_once_and_names_file_line_and_key(host, bad_setting):
    cursor = host.run("journalctl", "--lines=0", "--show-cursor").split("cursor: ")[-1].strip()
    code, _ = host.try_run("systemctl", "restart", "hal9000.service")
    assert code != 0
    unit = host.unit("hal9000.service", "ActiveState", "ExecMainStatus")
    assert unit == {"ActiveState": "failed", "ExecMainStatus": "78"}, "tried again"
    story = host.journal("--unit=hal9000.service", f"--after-cursor={cursor}")
    assert re.search(r"90-bad\.toml:3\b.*no_such_key", story), story


def test_a_stopped_daemon_is_started_by_a_call(host):
    host.run("systemctl", "stop", "hal9000.service")
    assert host.get(ROOT, "Manager1", "Version")
    wait_for_daemon(host)


def test_the_package_can_be_installed_over_itself(host, worker, sequential):
    container, thoughts = container_of(host, worker), think(sequential, 1)
    gateway = host.unit("hal9000-gateway.service", "MainPID")["MainPID"]
    host.run("dpkg", "--install", "/root/hal9000.deb")
    wait_for_daemon(host)
    assert host.unit("hal9000-gateway.service", "MainPID")["MainPID"] not in {"0", gateway}
    assert think(sequential, 2) == thoughts + 1
    wait_until("the worker is taken up again", lambda: state_of(host, worker) == "running")
    assert container_of(host, worker) == container
