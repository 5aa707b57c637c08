"""Claims and signals where something is wrong, or changes meanwhile: on real containers without a Claude Code."""

import json
import os
import signal

import dbus
import pytest
from conftest import run, wait_until
from small import IMAGE, POOL, SETTINGS, small_system
from system import CLAUDY, held

RUNS = ("sh", "-c", "echo ran >> /workspace/ran; exec sleep infinity")


@pytest.fixture(scope="module")
def started(engine_host):
    with small_system(engine_host) as system:
        system.start()
        yield system


@pytest.fixture
def system(started):
    """With its pool filled; what the test made is removed."""
    started.until_warm(POOL)
    yield started
    for one in started.workers():
        if one["state"] != "warm":
            started.claudy("rm", one["id"], check=False)  # it may be one of the pool's, on its way


@pytest.fixture
def project(tmp_path):
    os.chmod(tmp_path, 0o755)
    return tmp_path


def spawn(system, place, *command, **options):
    bus = dbus.bus.BusConnection(system.environment["DBUS_SYSTEM_BUS_ADDRESS"])
    manager = dbus.Interface(bus.get_object("org.hal9000", "/org/hal9000", introspect=False), "org.hal9000.Manager1")
    options["command"] = dbus.Array(command or RUNS, signature="s")
    try:
        return system.show(manager.Spawn(str(place), dbus.Dictionary(options, signature="sv"), timeout=60).rsplit("/", 1)[1])
    finally:
        bus.close()


def oldest_first(system):
    return sorted(system.warm_workers(), key=lambda one: one["created_usec"])


POOL_CALL = ("busctl", "--system", "call", "org.hal9000", "/org/hal9000/pool", "org.hal9000.Pool1")


def reload(system):
    run("busctl", "--system", "call", "org.hal9000", "/org/hal9000", "org.hal9000.Manager1", "Reload", env=system.environment)


# --- warm workers that hang --------------------------------------------------------------------------------------------


def test_a_claim_passes_over_a_worker_whose_init_is_stopped(system, project):
    hung, well = oldest_first(system)
    os.kill(hung["pid"], signal.SIGSTOP)
    worker = spawn(system, project, claim="require")
    assert worker["id"] == well["id"] and worker["state"] == "running"
    wait_until("the command", (project / "ran").exists)
    assert (project / "ran").read_text() == "ran\n"
    assert f"warm worker {hung['id']} is removed: its hal9000-init does not answer" in system.log.read_text()
    wait_until("its container to go", lambda: hung["container_id"][:12] not in system.containers("worker"))
    system.until_warm(POOL)


@pytest.mark.parametrize("claim", ["prefer", "require"])
def test_where_all_hang_a_claim_is_served_cold_or_told(system, project, claim):
    warm = oldest_first(system)
    for one in warm:
        os.kill(one["pid"], signal.SIGSTOP)
    try:
        worker = spawn(system, project, claim=claim)
    except dbus.DBusException as error:
        assert claim == "require" and error.get_dbus_name() == "org.hal9000.Error.Unavailable", error
    else:  # cold, or by one that was made meanwhile
        assert worker["id"] not in {one["id"] for one in warm}
        wait_until("the command", (project / "ran").exists)
        assert (project / "ran").read_text() == "ran\n"
    wait_until("all of them to go", lambda: not {one["id"] for one in warm} & {one["id"] for one in system.workers()})
    system.until_warm(POOL)


def test_a_claim_passes_over_a_container_that_is_frozen(system, project):
    """By docker's pause; its event may or may not come before the claim."""
    hung, well = oldest_first(system)
    system.docker("pause", hung["container_id"])
    assert spawn(system, project, claim="require")["id"] == well["id"]
    wait_until("its container to go", lambda: hung["container_id"][:12] not in system.containers("worker"))


def test_hung_workers_leak_nothing(system, project):
    system.claudy("rm", spawn(system, project)["id"])  # so that all is there that is made once
    system.until_warm(POOL)
    before = held(system)
    for _ in range(3):
        os.kill(oldest_first(system)[0]["pid"], signal.SIGSTOP)
        system.claudy("rm", spawn(system, project)["id"])
        system.until_warm(POOL)
    wait_until("all to be as before", lambda: held(system) == before or print(held(system), before), 60)


# --- a pool that changes -----------------------------------------------------------------------------------------------


def test_a_changed_profile_replaces_warm_workers_and_leaves_claimed_ones(system, project):
    claimed = spawn(system, project, claim="require")
    system.until_warm(POOL)
    before = {one["id"] for one in system.warm_workers()}
    settings = system.config / "conf.d/zz-small.toml"
    settings.write_text(SETTINGS + "pids = 77\n")
    try:
        reload(system)
        wait_until("all to be replaced", lambda: not before & {one["id"] for one in system.warm_workers()}, 60)
        system.until_warm(POOL)
        assert {one["tasks_max"] for one in system.warm_workers()} == {77}
        now = system.show(claimed["id"])
        assert (now["state"], now["pid"], now["tasks_max"]) == ("running", claimed["pid"], 100)
    finally:
        settings.write_text(SETTINGS)
        reload(system)


def test_an_image_that_comes_back_closes_the_circuit_by_itself(system, project):
    system.docker("tag", IMAGE, "hal9000/test-kept")
    try:
        system.docker("rmi", IMAGE)
        for one in system.warm_workers():
            system.claudy("rm", one["id"])
        status = lambda: json.loads(system.claudy("status", "--json"))
        degraded = wait_until("the circuit to open", lambda: (now := status())["state"] == "degraded" and now, 60)
        assert degraded["pool"]["warm"] == 0 and IMAGE in degraded["pool"]["reason"], degraded
        with pytest.raises(dbus.DBusException, match=IMAGE):
            spawn(system, project, claim="require")
    finally:
        system.docker("tag", "hal9000/test-kept", IMAGE)
        system.docker("rmi", "hal9000/test-kept")
    system.until_warm(POOL)
    assert status()["state"] == "running"


def test_claims_in_the_middle_of_a_drain_and_of_a_refill_have_their_answer(system, tmp_path):
    os.chmod(tmp_path, 0o755)
    answers = []
    for number in range(8):
        place = tmp_path / str(number)
        place.mkdir()
        if number == 4:
            run(*POOL_CALL, "Drain", env=system.environment)  # whose job nobody waits for
        try:
            answers.append(spawn(system, place, claim="require")["state"])
        except dbus.DBusException as error:
            assert error.get_dbus_name() == "org.hal9000.Error.Unavailable", error
            answers.append(str(error).split("no worker is warm: ")[1])
    system.claudy("pool", "scale", str(POOL), str(POOL))
    assert answers[:POOL] == ["running"] * POOL, answers
    assert all(one == "running" or "made" in one or "taken" in one for one in answers[:4]), answers
    assert answers[-1] == "the pool is drained", answers
    system.until_warm(POOL)


# --- signals and terminals ---------------------------------------------------------------------------------------------


def test_a_signal_reaches_the_command(system, project):
    script = "for s in INT HUP TERM USR1; do trap \"echo $s >> /workspace/got\" $s; done; echo > /workspace/ready; while :; do sleep 0.1; done"
    worker = spawn(system, project, "sh", "-c", script)
    wait_until("the command", (project / "ready").exists)
    for number, name in enumerate(("USR1", "SIGINT", "1", "TERM")):
        system.claudy("kill", "--signal", name, worker["id"])
        wait_until(f"the answer to {name}", lambda count=number: (got := project / "got").exists() and len(got.read_text().split()) == count + 1)
    assert (project / "got").read_text().split() == ["USR1", "INT", "HUP", "TERM"]
    assert system.show(worker["id"])["state"] == "running"
    assert system.claudy_fails("kill", "--signal", "NONE", worker["id"])[0] == 2
    system.claudy("kill", "--signal", "USR2", worker["id"])
    ended = system.until_state(worker["id"], "exited")
    assert (ended["exit_code"], ended["restarts"]) == (128 + signal.SIGUSR2, 0), ended


def test_sigkill_ends_a_worker_whose_init_does_not_answer(system, project):
    worker = spawn(system, project)
    os.kill(worker["pid"], signal.SIGSTOP)
    system.claudy("kill", worker["id"])
    assert system.until_state(worker["id"], "exited")["restarts"] == 0


def test_several_watch_one_command_and_who_comes_back_sees_its_screen(system, project, tmp_path):
    worker = spawn(system, project, "sh", "-c", "echo begun; exec cat")
    environment = " ".join(f"{key}={system.environment[key]}" for key in ("DBUS_SYSTEM_BUS_ADDRESS",))

    def tmux(*arguments):
        return run("tmux", "-S", tmp_path / "tmux", *arguments)

    def shows(viewer, text):
        wait_until(f"{viewer} to show {text}", lambda: text in tmux("capture-pane", "-p", "-t", viewer))

    for viewer in ("one", "two"):
        command = f"env {environment} sh -c 'while :; do {CLAUDY} attach {worker['id']}; echo left; read line; done'"
        tmux("new-session", "-d", "-s", viewer, "-x", "80", "-y", "24", command)
    try:
        for viewer in ("one", "two"):
            shows(viewer, "begun")
        tmux("send-keys", "-t", "one", "from-one", "Enter")
        shows("two", "from-one")
        tmux("send-keys", "-t", "one", "C-]", "d")
        shows("one", "left")
        tmux("send-keys", "-t", "two", "from-two", "Enter")
        shows("two", "from-two")
        tmux("send-keys", "-t", "one", "Enter")
        shows("one", "from-two")
        shows("one", "begun")
    finally:
        tmux("kill-server")
    assert system.show(worker["id"])["state"] == "running"
