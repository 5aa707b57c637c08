"""The pool on real parts: warm containers, claims without the engine, crashes in the middle of claims."""

import concurrent.futures
import json
import os
import pathlib
import random
import subprocess
import time
import uuid

import dbus
import pytest
from conftest import run, wait_until
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib
from system import fresh_system, held, mounted, mountinfo

POOL = 3


@pytest.fixture(scope="module")
def system(engine_host, build_images, mcp_servers):
    with fresh_system(engine_host, mcp_servers, pool=(POOL, POOL)) as system:
        system.start()
        system.until_parent_runs()
        yield system


@pytest.fixture
def warm(system):
    """The system with its pool filled; what the test claimed is removed afterwards."""
    before = {one["id"] for one in system.workers() if one["state"] != "warm"}
    system.until_warm(POOL)
    yield system
    for one in system.workers():
        if one["state"] != "warm" and one["id"] not in before:
            system.claudy("rm", one["id"], check=False)


@pytest.fixture
def fixed(warm):
    """The same, and what it holds then."""
    warmup = claim(warm, warm.folder, "sleep", "infinity")  # so that all is there that is made once
    warm.claudy("rm", warmup["id"])
    warm.until_warm(POOL)
    warm.before = held(warm)
    return warm


@pytest.fixture
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    os.chmod(folder, 0o755)
    (folder / "README.md").write_text("a sample\n")
    return folder


def connect(system):
    return dbus.bus.BusConnection(system.environment["DBUS_SYSTEM_BUS_ADDRESS"])


def claim(system, workspace, *command, **options):
    """The worker's properties; Pool1.Claim as any client calls it."""
    bus = connect(system)
    pool = dbus.Interface(bus.get_object("org.hal9000", "/org/hal9000/pool", introspect=False), "org.hal9000.Pool1")
    if command:
        options["command"] = dbus.Array(command, signature="s")
    path = pool.Claim(str(workspace), dbus.Dictionary(options, signature="sv"), timeout=120)
    bus.close()
    return system.show(path.rsplit("/", 1)[1])


# --- a claim -----------------------------------------------------------------------------------------------------------


def test_a_claim_takes_a_warm_container_and_binds_everything(warm, project):
    before = {one["id"]: one for one in warm.warm_workers()}
    assert all(one["owner"] == 0 and one["workspace"] == "" and one["servers"] == [] for one in before.values())
    assert not any(mounted(one["pid"], "/workspace") for one in before.values())
    worker = claim(warm, project, "sleep", "infinity", env=dbus.Dictionary({"MINE": "yes"}, signature="ss"))
    was = before[worker["id"]]
    assert (worker["container_id"], worker["pid"]) == (was["container_id"], was["pid"])
    assert (worker["state"], worker["workspace"], worker["owner"]) == ("running", str(project), os.getuid())
    assert warm.claudy("exec", worker["id"], "--", "cat", "/workspace/README.md") == "a sample\n"
    warm.claudy("exec", worker["id"], "--", "sh", "-c", "echo new > /workspace/new; echo mine > ~/mine")
    assert (project / "new").stat().st_uid == os.getuid()
    assert (warm.state / "user" / str(os.getuid()) / "mine").read_text() == "mine\n"
    pid1 = warm.claudy("exec", worker["id"], "--", "sh", "-c", "tr '\\0' '\\n' < /proc/$(pgrep -o sleep)/environ")
    assert "MINE=yes" in pid1 and f"HAL9000_WORKER={worker['id']}" in pid1
    answer = warm.claudy("exec", worker["id"], "--", "claude", "mcp", "list")
    assert answer.count("Connected") == 3, answer
    pool = warm.until_warm(POOL)
    assert pool["claimed"] >= 1 and pool["hits"] >= 1


def test_options_arrive_with_the_claim(warm, project):
    worker = claim(warm, project, "sleep", "infinity", name="picky", read_only=True, memory=dbus.UInt64(512 << 20), pids=dbus.UInt64(77),
                   servers=dbus.Array(["memory-bank"], signature="s"))
    assert worker["name"] == "picky" and worker["servers"] == ["memory-bank"]
    host = json.loads(warm.docker("inspect", worker["container_id"]))[0]["HostConfig"]
    assert (host["Memory"], host["PidsLimit"]) == (512 << 20, 77)
    answer = warm.claudy("exec", "picky", "--", "claude", "mcp", "list")
    assert answer.count("Connected") == 1 and "memory-bank" in answer, answer
    denied = warm.claudy("exec", "picky", "--", "sh", "-c", "echo x > /workspace/x || echo refused")
    assert denied == "refused\n" and not (project / "x").exists()


def test_warm_workers_are_shown_to_all_and_used_by_none(warm):
    one = warm.warm_workers()[0]
    assert all(other["state"] != "warm" for other in json.loads(warm.claudy("ls", "--json")))
    for verb in (["exec", one["id"], "--", "id"], ["restart", one["id"]], ["stop", one["id"]]):
        code, error = warm.claudy_fails(*verb)
        assert code == 6 and "warm" in error, (verb, error)
    warm.claudy("rm", one["id"])
    warm.until_warm(POOL)
    assert one["id"] not in {other["id"] for other in warm.warm_workers()}


def test_a_worker_is_never_used_by_a_second_project(warm, project, tmp_path):
    os.chmod(tmp_path, 0o755)
    (project / "secret").write_text("first")
    first = claim(warm, project, "sleep", "infinity")
    warm.claudy("exec", first["id"], "--", "sh", "-c", "echo secret > /tmp/secret")
    warm.claudy("rm", first["id"])
    second = claim(warm, tmp_path, "sleep", "infinity")
    assert second["id"] != first["id"] and second["container_id"] != first["container_id"]
    assert warm.claudy("exec", second["id"], "--", "sh", "-c", "ls -A /workspace /tmp | grep secret; true") == ""
    assert str(project) not in mountinfo(second["pid"])


# --- where projects may lie --------------------------------------------------------------------------------------------


def roots_propagation():
    return run("findmnt", "--noheadings", "--output", "PROPAGATION", "/").strip()


@pytest.fixture
def mounts():
    """Mounts by arguments of mount(8) and unmounts all again. Workers do not hold them: their copies are detached."""
    made = []

    def mount(target, *arguments):
        pathlib.Path(target).mkdir(parents=True, exist_ok=True)
        run("mount", *arguments, target)
        made.append(target)
        return pathlib.Path(target)

    yield mount
    for target in reversed(made):
        run("umount", "--lazy", target)


def test_a_project_on_tmpfs(warm, tmp_path, mounts):
    os.chmod(tmp_path, 0o755)
    place = mounts(tmp_path / "tmpfs", "-t", "tmpfs", "tmpfs")
    check_place(warm, place)


def test_a_project_on_overlay(warm, tmp_path, mounts):
    os.chmod(tmp_path, 0o755)
    base = mounts(tmp_path / "base", "-t", "tmpfs", "tmpfs")
    for name in ("lower", "upper", "work"):
        (base / name).mkdir()
    place = mounts(tmp_path / "overlay", "-t", "overlay", "-o", f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work", "overlay")
    check_place(warm, place)


def check_place(system, place):
    """In a warm worker where the file system can map ids; else the claim says so and a spawn is made cold, not as root."""
    (place / "file").write_text("there\n")
    os.chown(place, 1234, 1234)
    os.chown(place / "file", 1234, 1234)
    try:
        worker = claim(system, place, "sleep", "infinity")
    except dbus.DBusException as error:
        assert error.get_dbus_name() == "org.hal9000.Error.Unavailable" and "id-mapped" in str(error), error
        code, text = system.claudy_fails("spawn", place, "--", "sleep", "infinity")
        assert "id-mapped" in text, (code, text)  # we are root
        return
    assert system.claudy("exec", worker["id"], "--", "cat", "/workspace/file") == "there\n"
    system.claudy("exec", worker["id"], "--", "touch", "/workspace/made")
    assert (place / "made").stat().st_uid == 1234


def test_a_project_that_is_a_mount_and_holds_one(warm, tmp_path, mounts):
    assert roots_propagation() in ("private", "shared")  # the daemon needs neither
    os.chmod(tmp_path, 0o755)
    (tmp_path / "source").mkdir()
    (tmp_path / "source/outer").write_text("outer\n")
    place = mounts(tmp_path / "place", "--bind", tmp_path / "source")
    inner = mounts(place / "inner", "-t", "tmpfs", "tmpfs")
    (inner / "file").write_text("inner\n")
    worker = claim(warm, place, "sleep", "infinity")
    assert warm.claudy("exec", worker["id"], "--", "cat", "/workspace/outer", "/workspace/inner/file") == "outer\ninner\n"


def test_a_project_deleted_while_it_is_bound(warm, tmp_path):
    os.chmod(tmp_path, 0o755)
    gone = tmp_path / "gone"
    gone.mkdir()
    worker = claim(warm, gone, "sleep", "infinity")
    gone.rmdir()
    assert warm.claudy("exec", worker["id"], "--cwd", "/", "--", "sh", "-c", "ls /workspace | wc -l").strip() == "0"
    code, error = warm.claudy_fails("restart", worker["id"])
    assert code == 5 and str(gone) in error, (code, error)
    warm.claudy("rm", worker["id"])


# --- many at once ------------------------------------------------------------------------------------------------------


def answers_of(system, workspaces, **options):
    """Claims all at the same time: (path or None, error) each. By several clients: the bus bounds the calls of one."""
    main_loop = DBusGMainLoop()
    buses = [dbus.bus.BusConnection(system.environment["DBUS_SYSTEM_BUS_ADDRESS"], mainloop=main_loop) for _ in range(1 + len(workspaces) // 100)]
    pools = [dbus.Interface(bus.get_object("org.hal9000", "/org/hal9000/pool", introspect=False), "org.hal9000.Pool1") for bus in buses]
    loop, answers = GLib.MainLoop(), []

    def answered(path=None, error=None):
        answers.append((path, error))
        if len(answers) == len(workspaces):
            loop.quit()

    for number, workspace in enumerate(workspaces):
        values = dbus.Dictionary({"command": dbus.Array(["sleep", "infinity"], signature="s"), **options}, signature="sv")
        pools[number // 100].Claim(str(workspace), values, timeout=300, reply_handler=answered, error_handler=lambda error: answered(error=error))
    GLib.timeout_add_seconds(300, loop.quit)
    loop.run()
    for bus in buses:
        bus.close()
    assert len(answers) == len(workspaces)
    return answers


def test_a_thousand_claims_at_once_are_bounded_and_leak_nothing(fixed, tmp_path):
    os.chmod(tmp_path, 0o755)
    projects = [tmp_path / f"p{number}" for number in range(1000)]
    for project in projects:
        project.mkdir()
    answers = answers_of(fixed, projects)
    served = [path for path, error in answers if path]
    names = {error.get_dbus_name() for path, error in answers if error}
    assert POOL <= len(served) and len(set(served)) == len(served), "two claims got one worker"
    assert names <= {"org.hal9000.Error.LimitExceeded", "org.hal9000.Error.Unavailable"}, names
    for path in served:
        fixed.claudy("rm", path.rsplit("/", 1)[1])
    wait_until("all to be as before", lambda: held(fixed) == fixed.before or print(held(fixed), fixed.before), 60)


def test_a_client_that_goes_away_in_the_middle_leaks_nothing(fixed, tmp_path):
    """Before its call is looked at, or later: then the worker is made and is its user's."""
    os.chmod(tmp_path, 0o755)
    for number in range(2 * POOL):
        project = tmp_path / f"q{number}"
        project.mkdir()
        bus = connect(fixed)
        pool = dbus.Interface(bus.get_object("org.hal9000", "/org/hal9000/pool", introspect=False), "org.hal9000.Pool1")
        pool.Claim(str(project), dbus.Dictionary({"command": dbus.Array(["sleep", "infinity"], signature="s")}, signature="sv"), ignore_reply=True)
        bus.flush()
        time.sleep(0.004 * number)  # the fault is at one of many moments
        bus.close()

    def settled():
        mine = [one for one in fixed.workers() if str(tmp_path) in one["workspace"]]
        assert all(one["owner"] == os.getuid() for one in mine)
        for one in mine:
            fixed.claudy("rm", one["id"], check=False)
        return held(fixed) == fixed.before or print(held(fixed), fixed.before)

    wait_until("all to be as before", settled, 60)


# --- control -----------------------------------------------------------------------------------------------------------


def test_scale_warm_cleanup_and_drain(warm, project):
    warm.claudy("pool", "scale", str(POOL), "10")
    warm.claudy("pool", "warm", "5")
    assert warm.pool()["warm"] >= 5
    wait_until("a calm pool", lambda: (pool := warm.pool())["warm"] >= pool["target"] and not pool["starting"], 60)
    warm.claudy("pool", "scale", "1", "1")
    assert int(warm.claudy("pool", "cleanup")) >= 4
    warm.until_warm(1)
    assert warm.claudy_fails("pool", "scale", "3", "2")[0] == 2
    warm.claudy("pool", "drain")
    pool = warm.pool()
    assert (pool["warm"], pool["drained"], pool["target"]) == (0, True, 0)
    with pytest.raises(dbus.DBusException, match="drained"):
        claim(warm, project)
    warm.end()
    warm.start()
    assert (warm.pool()["min"], warm.pool()["drained"]) == (1, True)
    warm.claudy("pool", "scale", str(POOL), str(POOL))
    warm.until_warm(POOL)


def test_a_pool_that_cannot_make_workers_says_so_and_recovers(warm):
    settings = warm.config / "conf.d/zz.toml"
    settings.write_text('[profile.base]\nimage = "no/such-image"\n')
    try:
        run("busctl", "--system", "call", "org.hal9000", "/org/hal9000", "org.hal9000.Manager1", "Reload", env=warm.environment)
        warm.claudy("pool", "drain")
        code, error = warm.claudy_fails("pool", "warm", "1")
        assert code == 3 and "no/such-image" in error, (code, error)
        status = json.loads(warm.claudy("status", "--json"))
        assert status["state"] == "degraded" and "no/such-image" in status["pool"]["reason"], status
        assert status["pool"]["warm"] == 0
    finally:
        settings.unlink()
    run("busctl", "--system", "call", "org.hal9000", "/org/hal9000", "org.hal9000.Manager1", "Reload", env=warm.environment)
    warm.until_warm(POOL)
    assert json.loads(warm.claudy("status", "--json"))["state"] == "running"


def test_a_new_image_replaces_warm_workers_and_leaves_claimed_ones(warm, project):
    claimed = claim(warm, project, "sleep", "infinity")
    warm.until_warm(POOL)
    before = {one["id"] for one in warm.warm_workers()}
    image = warm.warm_workers()[0]["image"]
    old = warm.docker("inspect", "--format", "{{.Id}}", image).strip()
    warm.docker("tag", image, "hal9000/test-old")
    try:
        run("docker", "build", "--quiet", "--tag", image, "-", input=f"FROM {old}\nLABEL org.hal9000.test={uuid.uuid4().hex}\n", env=warm.environment)
        wait_until("all to be replaced", lambda: not before & {one["id"] for one in warm.warm_workers()}, 120)
        warm.until_warm(POOL)
        new = warm.docker("inspect", "--format", "{{.Id}}", image).strip()
        for one in warm.warm_workers():
            assert warm.docker("inspect", "--format", "{{.Image}}", one["container_id"]).strip() == new != old
        assert warm.show(claimed["id"])["state"] == "running"
    finally:
        warm.docker("tag", "hal9000/test-old", image)
        warm.docker("rmi", "hal9000/test-old")


# --- crashes -----------------------------------------------------------------------------------------------------------


def test_a_restart_takes_up_warm_workers(warm):
    before = {one["id"]: one["container_id"] for one in warm.warm_workers()}
    for end in (warm.end, warm.crash):
        end()
        warm.start()
        warm.until_warm(POOL)
        assert {one["id"]: one["container_id"] for one in warm.warm_workers()} == before, "they were made again"


def test_kill_9_in_the_middle_of_claims(warm, tmp_path):
    """At any moment of a claim: afterwards each container is a known worker in its right state, or gone."""
    os.chmod(tmp_path, 0o755)
    random.seed(9)
    for round_number in range(6):
        warm.until_warm(POOL)
        projects = [tmp_path / f"r{round_number}-{number}" for number in range(POOL)]
        for project in projects:
            project.mkdir()

        def call(project):
            return subprocess.run(
                ["busctl", "--system", "call", "org.hal9000", "/org/hal9000/pool", "org.hal9000.Pool1", "Claim", "sa{sv}", str(project),
                 "1", "command", "as", "2", "sleep", "infinity"],
                env=warm.environment, capture_output=True, text=True, check=False,
            )

        with concurrent.futures.ThreadPoolExecutor(POOL) as executor:
            calls = [executor.submit(call, project) for project in projects]
            time.sleep(random.uniform(0, 0.06))  # the fault is at a random moment
            warm.crash()
            answered = [done.stdout.split('"')[1].rsplit("/", 1)[1] for done in (one.result() for one in calls) if done.returncode == 0]
        warm.start()
        warm.until_warm(POOL)
        workers = {one["id"]: one for one in warm.workers()}
        for name in answered:
            assert workers[name]["state"] == "running", "an answered claim was lost"
        for one in workers.values():
            assert one["state"] in ("warm", "running"), one
            assert mounted(one["pid"], "/workspace") == (one["state"] == "running"), one
        containers = wait_until(
            "the rest to be removed",
            lambda: sorted(one["container_id"][:12] for one in warm.workers()) == sorted(warm.containers("worker")) and warm.containers("worker"),
        )
        assert len(containers) == len(workers)
        assert sorted(path.stem for path in (warm.state / "worker").iterdir()) == sorted(workers)
        assert sorted(path.name for path in (warm.run_dir / "worker").iterdir()) == sorted(workers)
        for one in workers.values():
            if one["state"] == "running":
                warm.claudy("rm", one["id"])
