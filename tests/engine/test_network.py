"""Networks of workers on real parts: one of a worker's own, and a parent that is replaced under its workers."""

import json
import os
import pathlib
import signal
import uuid

import pytest
from conftest import run, wait_until
from system import fresh_system

HELLO = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "curl", "version": "1"}}}


@pytest.fixture(scope="module")
def system(engine_host, build_images, mcp_servers):
    with fresh_system(engine_host, {"memory-bank": mcp_servers["memory-bank"]}) as system:
        system.start()
        system.until_parent_runs()
        yield system


@pytest.fixture
def spawn(system, tmp_path):
    os.chmod(tmp_path, 0o755)
    names = []

    def spawn(network):
        name = f"{network[0]}-{uuid.uuid4().hex[:8]}"
        system.claudy("spawn", tmp_path, "--name", name, "--network", network, "--", "sleep", "infinity")
        names.append(name)
        return name

    yield spawn
    for name in names:
        system.claudy("rm", name, check=False)


def network_of(pid):
    return os.readlink(f"/proc/{pid}/ns/net")


def token_of(system, worker):
    return (system.run_dir / "worker" / system.show(worker)["id"] / "token").read_text().strip()


def status(system, worker, token=None):
    """What the gateway answers to who opens a session over HTTP in the worker's network; 0 if nobody is there."""
    return int(run(
        "nsenter", "-n", "-t", system.show(worker)["pid"], "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "20",
        "-H", "Content-Type: application/json", "-H", "Accept: application/json, text/event-stream",
        "-H", f"Authorization: Bearer {token or token_of(system, worker)}", "--json", json.dumps(HELLO), "http://127.0.0.1:9000/mcp/memory-bank",
        check=False,
    ) or 0)


def listens(system, worker):
    """A socket on 127.0.0.1:9000 there."""
    table = pathlib.Path(f"/proc/{system.show(worker)['pid']}/net/tcp").read_text()
    return any(line.split()[1:4:2] == ["0100007F:2328", "0A"] for line in table.splitlines())


def gateway(system):
    children = run("pgrep", "-P", system.daemon.pid, "-f", "hal9000-gateway", check=False).split()
    return int(children[0]) if children else None


def descriptors(*pids):
    return [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids]


def holder_pid(system):
    return int(system.docker("inspect", "--format", "{{.State.Pid}}", *system.containers("parent", everything=False)).strip())


def reaches_servers(system, worker):
    return "Connected" in system.claudy("exec", worker, "--", "claude", "mcp", "get", "memory-bank")


# --- a network of its own ----------------------------------------------------------------------------------------------


def test_an_isolated_worker_is_alone_with_the_gateway(system, spawn):
    alone, other = spawn("isolated"), spawn("parent")
    interfaces = pathlib.Path(f"/proc/{system.show(alone)['pid']}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    networks = {network_of(pid) for pid in (system.show(alone)["pid"], holder_pid(system), os.getpid())}
    assert len(networks) == 3
    assert status(system, alone) == 200, "at once, for the socket was there before the command"
    assert status(system, alone, "wrong") == 401
    assert status(system, other) == 200
    assert status(system, alone, token_of(system, other)) == 401, "a good token, in a place where its owner cannot be"
    assert reaches_servers(system, alone)


def test_it_is_served_again_after_gateway_daemon_and_worker_were_restarted(system, spawn):
    alone = spawn("isolated")
    first = gateway(system)
    os.kill(first, signal.SIGKILL)
    wait_until("a new gateway", lambda: gateway(system) not in (None, first))
    assert listens(system, alone), "the port was free meanwhile"
    assert wait_until("it to serve", lambda: status(system, alone) == 200)
    assert reaches_servers(system, alone)
    before = network_of(system.show(alone)["pid"])
    system.claudy("restart", alone)
    assert network_of(system.show(alone)["pid"]) != before
    assert status(system, alone) == 200
    system.crash()
    system.start()
    system.until_state(alone, "running")
    assert wait_until("it to serve", lambda: status(system, alone) == 200)


def test_what_is_gone_leaves_no_descriptor_behind(system, spawn):
    system.claudy("rm", spawn("isolated"))  # so that all is there that is made once
    processes = (system.daemon.pid, gateway(system))
    before = descriptors(*processes)
    names = [spawn("isolated") for _ in range(3)]
    assert all(status(system, name) == 200 for name in names)
    held = descriptors(*processes)
    assert all(now > then for now, then in zip(held, before))
    system.claudy("restart", names[0])
    system.docker("kill", system.show(names[1])["container_id"])
    wait_until("it is made anew", lambda: (one := system.show(names[1]))["restarts"] == 1 and one["state"] == "running")
    system.claudy("rm", *names)
    wait_until("the descriptors to go", lambda: descriptors(*processes) == before)


# --- the parent is replaced ----------------------------------------------------------------------------------------------


def test_workers_follow_a_replaced_parent_one_by_one(system, spawn):
    """Also over a crash of the daemon in the middle."""
    workers, alone = [spawn("parent"), spawn("parent")], spawn("isolated")
    before = {name: system.show(name) for name in (*workers, alone)}
    system.docker("rm", "--force", *system.containers("parent"))
    for name in workers:
        wait_until("the reason", lambda name=name: "replaced" in system.show(name)["reason"])
    assert all(status(system, name) == 200 for name in workers), "the former network is served on"
    system.crash()
    system.start()
    holder = network_of(holder_pid(system))
    assert holder not in {network_of(one["pid"]) for one in before.values()}
    for name in workers:
        wait_until("it to follow", lambda name=name: (one := system.show(name))["restarts"] == 1 and one["state"] == "running", 60)
    for name in workers:
        now = system.show(name)
        assert network_of(now["pid"]) == holder and now["reason"] == ""
        assert (now["id"], now["workspace"], now["pid"] != before[name]["pid"]) == (before[name]["id"], before[name]["workspace"], True)
        assert status(system, name) == 200
        assert reaches_servers(system, name)
    assert (system.show(alone)["pid"], system.show(alone)["restarts"]) == (before[alone]["pid"], 0)
    system.until_parent_runs()
    # Down and up again before the next one goes.
    story = [line for line in system.log.read_text().splitlines() if "is made anew in the network" in line or " runs for uid " in line][-4:]
    assert ["made anew" in line for line in story] == [True, False, True, False], story
