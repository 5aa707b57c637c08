"""The daemon dies at every request to the engine; daemon, engine and host restart: nothing is lost, left or mixed up."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading

import pytest
from conftest import HERE, run, wait_until
from engine_proxy import EngineProxy
from small import IMAGE, POOL, run_in, small_system
from system import held, mounted


@pytest.fixture(scope="module")
def system(engine_host):
    proxies = []

    def through(folder):
        proxies.append(EngineProxy(folder / "engine.sock", engine_host.removeprefix("unix://")))
        return f"unix://{proxies[0].path}"

    with small_system(engine_host, through) as system:
        system.proxy = proxies[0]
        system.start()
        yield system
    proxies[0].close()


@pytest.fixture
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    os.chmod(folder, 0o755)
    (folder / "README.md").write_text("a sample\n")
    return folder


def busctl(system, *arguments):
    command = ["busctl", "--system", "--timeout=60", "call", "org.hal9000", *map(str, arguments)]
    return subprocess.Popen(command, env=system.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def options(**values):
    """a{sv} for busctl, with the command all of these workers run."""
    words = [word for key, value in values.items() for word in (key, "s", value)]
    return [len(values) + 1, "command", "as", 2, "sleep", "infinity", *words]


def programs_of(system):
    """Our programs on the host, the daemon itself not among them."""
    found = []
    for place in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if place.read_bytes().startswith(str(system.folder / "programs").encode()):
                found.append(place.parent.name)
        except OSError:
            pass
    return found


def check(system):
    """What holds after every restart, when what was interrupted has been done again. Gives the workers by id."""
    settled = ("warm", "running", "exited")  # nothing here fails for good
    wait_until("all to settle", lambda: all(one["state"] in settled for one in system.workers()), 60)
    workers = {one["id"]: one for one in system.workers()}

    def as_known():
        known = sorted(one["container_id"][:12] for one in system.workers() if one["container_id"])
        return known == sorted(system.containers("worker"))

    wait_until("every container to be a worker's", as_known)
    assert len(system.containers("parent")) == 1 and len(system.containers("chroma")) <= 1
    for one in workers.values():
        if one["state"] == "exited":
            assert one["reason"] and "outside" not in one["reason"], one
            continue
        assert mounted(one["pid"], "/workspace") == (one["state"] == "running"), one
        assert (one["workspace"] == "") == (one["state"] == "warm"), one
        labels = json.loads(system.docker("inspect", one["container_id"]))[0]["Config"]["Labels"]
        assert labels["org.hal9000.id"] == one["id"]
        if one["state"] == "running":
            assert one["owner"] == os.getuid()
            wait_until("its init", lambda one=one: "a sample" in run_in(system, one["id"], "cat", "/workspace/README.md"))
            assert "sleep" in run_in(system, one["id"], "sh", "-c", "cat /proc/[0-9]*/comm")
    assert sorted(path.name for path in (system.state / "worker").iterdir()) == sorted(f"{one}.json" for one in workers)
    alive = sorted(one["id"] for one in workers.values() if one["state"] in ("warm", "running"))
    assert sorted(path.name for path in (system.run_dir / "worker").iterdir()) == alive
    wait_until("one gateway", lambda: len(programs_of(system)) == 1)
    return workers


def a_spawn(_, project):
    return "/org/hal9000", "org.hal9000.Manager1", "Spawn", "sa{sv}", project, *options(claim="never")


def a_claim(_, project):
    return "/org/hal9000/pool", "org.hal9000.Pool1", "Claim", "sa{sv}", project, *options()


def a_restart(system, project, method="Restart"):
    worker = json.loads(system.claudy("spawn", project, "--json", "--", "sleep", "infinity"))["id"]
    system.until_warm(POOL)
    return f"/org/hal9000/worker/{worker}", "org.hal9000.Worker1", method


def a_removal(system, project):
    return a_restart(system, project, "Remove")


@pytest.mark.parametrize("when", ["sent", "done"])
@pytest.mark.parametrize("change", [a_spawn, a_claim, a_restart, a_removal])
def test_kill_9_at_every_request_to_the_engine(system, project, change, when):
    system.until_warm(POOL)
    system.claudy("spawn", project, "--name", "first", "--", "sleep", "infinity")  # so that all is there that is made once
    system.claudy("rm", "first")
    system.until_warm(POOL)
    before = held(system)
    number = 0
    while True:
        number += 1
        killed = threading.Event()

        def kill(killed=killed):
            system.daemon.send_signal(signal.SIGKILL)
            killed.set()

        arguments = change(system, project)
        system.proxy.arm(number, when, kill)
        call = busctl(system, *arguments)
        output, _ = call.communicate(timeout=90)
        answered = call.returncode == 0
        if not killed.is_set() and answered:  # what comes after the answer: the refill
            wait_until("a calm pool or the end", lambda: killed.is_set() or is_calm(system), 60)
        requests, unused = system.proxy.disarm()
        if unused:
            break
        assert killed.wait(10)
        system.daemon.wait(10)
        system.start()
        system.until_warm(POOL)
        workers = check(system)
        if answered and change in (a_spawn, a_claim):
            assert workers[output.split('"')[1].rsplit("/", 1)[1]]["state"] == "running", f"an answer was lost after {requests}"
        if change == a_restart:
            assert [one["state"] for one in workers.values()].count("running") == 1, "it was not begun again"
        for one in workers.values():
            if one["state"] != "warm":
                system.claudy("rm", one["id"])
        system.until_warm(POOL)
        wait_until("all to be as before", lambda: all(count <= before[what] for what, count in held(system).items()))
    for one in system.workers():
        if one["state"] != "warm":
            system.claudy("rm", one["id"])
    assert number > 1, "no request went to the engine"


def is_calm(system):
    try:
        pool = system.pool()
    except AssertionError:  # the daemon is gone
        return False
    return pool["warm"] == POOL and not pool["starting"]


def test_kill_9_while_the_daemon_takes_up_what_there_is(system, project):
    """At every request of a start, over a worker, a warm pool and a stray container."""
    system.claudy("spawn", project, "--name", "kept", "--", "sleep", "infinity")
    system.until_warm(POOL)
    kept, warm = system.show("kept"), {one["id"] for one in system.warm_workers()}
    number, unused = 0, False
    while not unused:
        number += 1
        system.docker("create", "--label", f"org.hal9000.instance={system.instance}", "--label", "org.hal9000.role=worker",
                      "--label", "org.hal9000.id=ffffffffffff", IMAGE, "true")
        killed = threading.Event()

        def kill(killed=killed):
            system.daemon.send_signal(signal.SIGKILL)
            killed.set()

        system.crash()
        system.proxy.arm(number, "done", kill)
        system.launch()
        wait_until("a calm pool or the end", lambda killed=killed: killed.is_set() or system.on_bus() and is_calm(system), 60)
        _, unused = system.proxy.disarm()
        if not unused:
            system.daemon.wait(10)
            system.start()
        system.until_warm(POOL)
        check(system)
        assert {one["id"] for one in system.warm_workers()} == warm
        assert (system.show("kept")["state"], system.show("kept")["pid"]) == ("running", kept["pid"])
    assert number > 3
    system.claudy("rm", "kept")


# --- engine, gateway and host ---------------------------------------------------------------------------------------------


@pytest.fixture
def second():
    """A system with an engine of its own, which the test may end. Gives both."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hal9000-adoption-", dir="/var/tmp"))
    environment = {**os.environ, "HAL9000_ENGINE_DATA": str(folder / "data")}

    def engine(verb):
        run(HERE / "engine.sh", verb, folder / "e", env=environment)

    engine("start")
    try:
        with small_system(f"unix://{folder}/e/docker.sock") as system:
            system.engine_folder = folder / "e"
            system.start()
            system.until_warm(POOL)
            yield system, engine
            engine("start")
    finally:
        print((folder / "e/dockerd.log").read_text()[-4000:])
        engine("purge")
        shutil.rmtree(folder)


def engine_is(system, available):
    wait_until(f"engine {available}", lambda: json.loads(system.claudy("status", "--json"))["engine"]["available"] == available, 60)


def check_ended_and_fresh(system, name, before):
    """The worker has ended and can be restarted with its project; the warm ones were made anew."""
    system.until_warm(POOL)
    assert not before & {one["id"] for one in system.warm_workers()}
    worker = system.show(name)
    assert worker["state"] == "exited" and worker["reason"], worker
    check(system)
    system.claudy("restart", name)
    assert run_in(system, name, "cat", "/workspace/README.md") == "a sample\n"
    assert system.show(name)["id"] == worker["id"]
    check(system)


def test_a_restart_of_the_engine_ends_workers_and_they_can_be_restarted(second, project):
    system, engine = second
    system.claudy("spawn", project, "--name", "mine", "--", "sleep", "infinity")
    system.until_warm(POOL)
    before = {one["id"] for one in system.warm_workers()}
    engine("stop")
    engine_is(system, False)
    engine("start")
    engine_is(system, True)
    check_ended_and_fresh(system, "mine", before)


def test_a_reboot_of_the_host_is_the_same_with_a_new_daemon(second, project):
    system, engine = second
    system.claudy("spawn", project, "--name", "mine", "--", "sleep", "infinity")
    system.until_warm(POOL)
    before = {one["id"] for one in system.warm_workers()}
    system.crash()
    engine("stop")
    for path in system.run_dir.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    system.start()  # the daemon may well be there first
    engine("start")
    engine_is(system, True)
    check_ended_and_fresh(system, "mine", before)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("daemon_too", [False, True])
def test_with_live_restore_nobody_notices_a_restart_of_the_engine(second, project, how, daemon_too):
    system, _ = second
    folder = system.engine_folder
    pid = int((folder / "dockerd.pid").read_text())
    (folder / "daemon.json").write_text('{"live-restore": true}\n')
    os.kill(pid, signal.SIGHUP)
    wait_until("live-restore", lambda: system.docker("info", "--format", "{{.LiveRestoreEnabled}}").strip() == "true")
    system.claudy("spawn", project, "--name", "mine", "--", "sleep", "infinity")
    system.until_warm(POOL)
    before = {one["id"]: (one["state"], one["pid"], one["container_id"]) for one in system.workers()}
    command = [word for word in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0") if word]
    if daemon_too:
        system.crash()
    os.kill(pid, how)
    wait_until("the engine's end", lambda: not pathlib.Path(f"/proc/{pid}").exists())
    run("sh", "-c", 'setsid "$@" </dev/null >>"$0" 2>&1 &', folder / "dockerd.log", *command)  # nobody's child, as before
    if daemon_too:
        system.start()
    engine_is(system, True)
    system.until_warm(POOL)
    assert {one["id"]: (one["state"], one["pid"], one["container_id"]) for one in system.workers()} == before
    check(system)


def test_a_restart_of_the_gateway_leaves_workers_alone(system, project):
    system.claudy("spawn", project, "--name", "mine", "--", "sleep", "infinity")
    system.until_warm(POOL)
    before = {one["id"]: (one["state"], one["pid"]) for one in system.workers()}
    gateway = programs_of(system)
    os.kill(int(gateway[0]), signal.SIGKILL)
    wait_until("another gateway", lambda: programs_of(system) not in ([], gateway))
    assert {one["id"]: (one["state"], one["pid"]) for one in system.workers()} == before
    sockets = [f"{system.run_dir}/worker/{one}/mcp.sock" for one in before]
    wait_until("it to listen for all", lambda: all(one in pathlib.Path("/proc/net/unix").read_text() for one in sockets))
    check(system)
    system.claudy("rm", "mine")
