"""What callers ask of workers, and what the host is like, where it needs the engine but no Claude Code."""

import json
import os
import pathlib

import dbus
import pytest
from conftest import run, wait_until
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib
from small import IMAGE, POOL, run_in, small_system
from system import home_of

SERVERS = {f"server-{letter}": {"command": "/bin/cat"} for letter in "abcde"}  # none is ever started


@pytest.fixture(scope="module")
def started(engine_host):
    with small_system(engine_host, servers=SERVERS) as system:
        system.start()
        yield system


@pytest.fixture
def system(started):
    """With its pool filled; what the test made is removed."""
    started.until_warm(POOL)
    yield started
    for one in started.workers():
        if one["state"] != "warm":
            started.claudy("rm", one["id"])


@pytest.fixture
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    os.chmod(folder, 0o755)
    (folder / "README.md").write_text("a sample\n")
    return folder


def manager(bus):
    return dbus.Interface(bus.get_object("org.hal9000", "/org/hal9000", introspect=False), "org.hal9000.Manager1")


def spawn(system, method, place, **options):
    bus = dbus.bus.BusConnection(system.environment["DBUS_SYSTEM_BUS_ADDRESS"])
    options["command"] = dbus.Array(["sleep", "infinity"], signature="s")
    path = getattr(manager(bus), method)(place, dbus.Dictionary(options, signature="sv"), timeout=60)
    bus.close()
    return system.show(path.rsplit("/", 1)[1])


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("claim", ["require", "never"])
def test_a_project_by_descriptor(system, project, claim, read_only):
    """It is the open directory that counts, wherever it has been moved meanwhile."""
    fd = os.open(project, os.O_RDONLY | os.O_DIRECTORY)
    moved = project.rename(project.with_name(project.name + "-moved"))
    project.mkdir()
    (project / "README.md").write_text("another\n")
    try:
        worker = spawn(system, "SpawnAt", dbus.types.UnixFd(fd), claim=claim, read_only=read_only)
    finally:
        os.close(fd)
    assert worker["workspace"] == str(moved)
    assert run_in(system, worker["id"], "cat", "/workspace/README.md") == "a sample\n"
    run_in(system, worker["id"], "touch", "/workspace/new")
    assert (moved / "new").exists() == (not read_only)
    assert not (project / "new").exists()


def test_what_is_no_directory_is_refused(system, project):
    with open(project / "README.md", encoding="utf-8") as file, pytest.raises(dbus.DBusException, match="directory"):
        spawn(system, "SpawnAt", dbus.types.UnixFd(file.fileno()))


def test_what_no_warm_worker_can_be_is_made_cold_or_refused(system, project):
    for options, word in (({"network": "isolated"}, "isolated"), ({"image": f"{IMAGE}:latest"}, "image")):
        with pytest.raises(dbus.DBusException, match=word) as refused:
            spawn(system, "Spawn", str(project), claim="require", **options)
        assert refused.value.get_dbus_name() == "org.hal9000.Error.Unavailable"
        warm = {one["id"] for one in system.warm_workers()}
        worker = spawn(system, "Spawn", str(project), **options)
        assert worker["id"] not in warm and worker["state"] == "running"
        system.claudy("rm", worker["id"])


def test_a_pool_out_of_bounds_is_refused_and_nothing_changes(system):
    before = system.pool()
    assert system.claudy_fails("pool", "scale", "3", "2")[0] == 2
    code, error = system.claudy_fails("pool", "scale", "0", "65")
    assert code == 6 and "64" in error, (code, error)
    assert (system.pool()["min"], system.pool()["max"]) == (before["min"], before["max"])


@pytest.mark.parametrize("propagation", ["private", "shared", "slave"])
def test_whatever_the_propagation_of_the_hosts_mounts(system, project, propagation):
    inner = project / "inner"
    inner.mkdir()
    run("mount", "-t", "tmpfs", "tmpfs", inner)
    try:
        (inner / "file").write_text("inner\n")
        system.end()
        system.wrapper = ["unshare", "--mount", "--propagation", propagation]
        system.start()
        system.until_warm(POOL)
        for claim in ("require", "never"):
            worker = spawn(system, "Spawn", str(project), claim=claim)
            assert run_in(system, worker["id"], "cat", "/workspace/README.md", "/workspace/inner/file") == "a sample\ninner\n"
            assert str(project) not in pathlib.Path(f"/proc/{system.daemon.pid}/mountinfo").read_text().replace(str(inner), "")
            system.claudy("rm", worker["id"])
    finally:
        system.wrapper = []
        system.end()
        system.start()
        run("umount", "--lazy", inner)


def test_workers_of_one_user_made_at_once_leave_a_whole_configuration(system, tmp_path):
    """All merge their servers into the same ~/.claude.json: the last one's are there, all of them, and what was the user's."""
    os.chmod(tmp_path, 0o755)
    first = spawn(system, "Spawn", str(tmp_path))
    system.claudy("rm", first["id"])
    file = home_of(system, os.getuid()) / ".claude.json"
    document = json.loads(file.read_text())
    document["mine"] = {"kept": "x" * 100_000}
    document["mcpServers"]["foreign"] = {"command": "/bin/true"}
    file.write_text(json.dumps(document))
    sets = [sorted(SERVERS)[:count] for count in (0, 1, 2, 3, 4, 5, 1, 2, 3, 4)]
    bus = dbus.bus.BusConnection(system.environment["DBUS_SYSTEM_BUS_ADDRESS"], mainloop=DBusGMainLoop())
    loop, answers = GLib.MainLoop(), []

    def answered(answer):
        answers.append(answer)
        if len(answers) == len(sets):
            loop.quit()

    for number, servers in enumerate(sets):
        (tmp_path / str(number)).mkdir()
        options = {"command": dbus.Array(["sleep", "infinity"], signature="s"), "servers": dbus.Array(servers, signature="s")}
        manager(bus).Spawn(str(tmp_path / str(number)), dbus.Dictionary(options, signature="sv"), timeout=120, reply_handler=answered, error_handler=answered)
    GLib.timeout_add_seconds(120, loop.quit)
    loop.run()
    bus.close()
    assert all(isinstance(one, dbus.ObjectPath) for one in answers) and len(answers) == len(sets), answers
    document = json.loads(file.read_text())
    assert document["mine"]["kept"] == "x" * 100_000
    assert document["mcpServers"].pop("foreign") == {"command": "/bin/true"}
    assert sorted(document["mcpServers"]) in sets
    assert [path.name for path in file.parent.glob(".claude.json.*") if not path.name.endswith(".lock")] == []
    workers = {one["id"]: one for one in system.workers()}
    for path in answers:  # each may use just its own, whatever stands in the file
        worker = workers[path.rsplit("/", 1)[1]]
        offered = json.loads(run_in(system, worker["id"], "cat", "/run/hal9000/mcp.json"))["servers"]
        assert offered == sets[int(pathlib.Path(worker["workspace"]).name)] == worker["servers"]
        assert not worker["reason"], worker


def test_memory_pressure_of_the_host_stops_refills(system, project):
    """Real pressure: programs that read a file over and over in a container with less memory than the file has."""
    if not os.access("/proc/pressure/memory", os.W_OK):
        assert system.pool()["pressure"] == "unknown"
        return
    assert system.pool()["pressure"] in ("none", "some", "full")
    script = "head -c 60000000 /dev/zero > /big; for n in 1 2 3 4; do (while :; do cat /big > /dev/null; done) & done; wait"
    container = system.docker("run", "--detach", "--memory=12m", "--memory-swap=12m", "--network=none", "--user=0", IMAGE, "sh", "-c", script).strip()
    try:
        wait_until("pressure", lambda: system.pool()["pressure"] in ("some", "full"), 60)
        for one in system.warm_workers()[:1]:  # where the pressure has not made the pool give them back
            system.claudy("rm", one["id"])
        pool = system.pool()
        assert pool["warm"] < POOL and pool["starting"] == 0 and "memory" in pool["reason"], pool
    finally:
        system.docker("rm", "--force", container)
    wait_until("its end", lambda: system.pool()["pressure"] == "none", 60)
    system.until_warm(POOL)
