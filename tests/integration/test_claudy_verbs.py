"""claudy's verbs against the fake daemon on a private bus: what they print, what they ask for, how they exit."""
import json
import os
import signal
import subprocess
import time

import pytest

from claudy_support import DEADLINE, Stage


@pytest.fixture(name="stage", scope="module")
def stage_fixture():
    with Stage() as stage:
        yield stage


@pytest.fixture(name="worker")
def worker_fixture(stage):
    """The name of a running worker on a project of its own."""
    name = stage.spawn("cat")
    yield name
    stage.claudy("rm", name)


def document(run):
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_spawn_passes_every_option(stage):
    project = stage.project()
    run = stage.claudy("spawn", project, "--name", "all", "--profile", "p", "--image", "i", "--env", "A=B=C", "--env",
                       "HOME", "--memory", "1.5G", "--cpus", "0.5", "--pids", "7", "--read-only", "--network",
                       "isolated", "--server", "a", "--server", "b", "--claim", "never", "--request-id", "r1", "--json",
                       "--", "cat", "--", "-")
    worker = document(run)
    assert worker["name"] == "all"
    assert worker["workspace"] == project
    assert worker["memory_max"] == 3 << 29
    assert worker["cpu_max"] == 0.5
    assert worker["tasks_max"] == 7
    assert worker["servers"] == ["a", "b"]
    assert worker["profile"] == "p" and worker["image"] == "i"
    again = document(stage.claudy("spawn", project, "--request-id", "r1", "--json"))
    assert again["id"] == worker["id"]
    assert stage.claudy("rm", "all").returncode == 0


def test_spawn_prints_the_name(stage):
    project = stage.project()
    run = stage.claudy("spawn", project, "--", "cat")
    assert run.returncode == 0
    assert run.stdout.startswith(os.path.basename(project) + "-")
    assert stage.claudy("rm", run.stdout.strip()).returncode == 0


def test_spawn_no_wait_answers_at_once(stage):
    worker = document(stage.claudy("spawn", stage.project(), "--name", "later", "--no-wait", "--json", "--", "cat"))
    assert worker["state"] == "creating"
    stage.claudy("rm", "later")


@pytest.mark.parametrize("arguments,code,words", [
    (["spawn", "/nonexistent-folder"], 2, "/nonexistent-folder"),
    (["spawn", "/etc/passwd"], 2, "Not a directory"),
    (["spawn", "--image", "absent"], 5, "no image 'absent'"),
    (["spawn", "--name", "forbidden"], 4, "not allowed"),
    (["spawn", "--name", "unavailable"], 3, "engine"),
    (["show", "nobody"], 5, "claudy ls"),
    (["attach", "nobody"], 2, "terminal"),
    (["exec", "nobody", "true"], 5, "nobody"),
    (["logs", "nobody"], 5, "nobody"),
    (["stop", "nobody"], 5, "nobody"),
    (["limits", "nobody"], 2, "--memory"),
    (["server", "show", "nobody"], 5, "claudy server ls"),
    (["server", "restart", "nobody"], 5, "claudy server ls"),
    (["server", "call", "memory", "no/method"], 5, "no/method"),
    (["server", "call", "nobody", "echo"], 5, "claudy server ls"),
    (["server", "tools", "nobody"], 5, "claudy server ls"),
    (["server", "logs", "nobody"], 5, "claudy server ls"),
    (["server", "call", "memory", "tools/list", "[1]"], 2, "JSON object"),
    (["server", "call", "memory", "tools/list", "{"], 2, "JSON object"),
])
def test_failures_have_their_exit_code_and_a_sentence(stage, arguments, code, words):
    run = stage.claudy(*arguments)
    assert run.returncode == code, run.stderr
    assert words in run.stderr
    assert run.stdout == ""
    assert run.stderr.startswith("claudy: ") and run.stderr.count("\n") == 1


def test_ls_lists_own_workers_with_stable_keys(stage, worker):
    workers = document(stage.claudy("ls", "--json"))
    mine = next(one for one in workers if one["name"] == worker)
    assert set(mine) >= {"id", "name", "state", "reason", "owner", "workspace", "profile", "image", "container_id", "pid",
                         "servers", "created_usec", "last_activity_usec", "memory_current", "memory_max",
                         "cpu_usage_nsec", "cpu_max", "tasks_current", "tasks_max", "restarts", "exit_code", "path"}
    assert mine["state"] == "running" and mine["owner"] == os.getuid()
    table = stage.claudy("ls").stdout.splitlines()
    assert table[0].split() == ["NAME", "STATE", "AGE", "MEMORY", "ID", "WORKSPACE"]
    assert any(line.split()[:2] == [worker, "running"] for line in table)
    assert "OWNER" in stage.claudy("ls", "--all").stdout


def test_show_knows_id_and_name(stage, worker):
    by_name = document(stage.claudy("show", worker, "--json"))
    by_id = document(stage.claudy("show", by_name["id"], "--json"))
    assert by_id["name"] == worker
    assert "name:" in stage.claudy("show", worker).stdout


def test_changes_reach_the_worker(stage, worker):
    assert stage.claudy("limits", worker, "--memory", "2G", "--pids", "5").returncode == 0
    assert document(stage.claudy("show", worker, "--json"))["memory_max"] == 2 << 30
    assert stage.claudy("pause", worker).returncode == 0
    assert document(stage.claudy("show", worker, "--json"))["reason"] == "paused"
    assert stage.claudy("resume", worker).returncode == 0
    assert stage.claudy("restart", worker).returncode == 0
    assert document(stage.claudy("show", worker, "--json"))["restarts"] == 1
    assert stage.claudy("stop", worker, "--timeout", "1.5s").returncode == 0
    assert ["Stop", worker, 1500] in stage.calls()
    assert document(stage.claudy("show", worker, "--json"))["state"] == "exited"
    assert stage.claudy("capture", worker).returncode == 6  # busy: it is not running


def test_several_workers_at_once_and_the_first_failure_counts(stage):
    names = [stage.spawn("cat"), stage.spawn("cat")]
    run = stage.claudy("kill", names[0], "nobody", names[1])
    assert run.returncode == 5
    assert "nobody" in run.stderr
    states = {one["name"]: one["state"] for one in document(stage.claudy("ls", "--json"))}
    assert states[names[0]] == states[names[1]] == "failed"
    assert stage.claudy("kill", names[0], "-s", "NONSENSE").returncode == 2
    assert stage.claudy("rm", *names).returncode == 0


def test_send_types_and_capture_reads(stage, worker):
    assert stage.claudy("send", worker, "hello $HOME; -x").returncode == 0
    stage.wait_for(lambda: stage.claudy("capture", worker).stdout.count("hello $HOME; -x") == 2)  # echo and cat's answer
    assert stage.claudy("send", worker, "--no-enter", "--", "--dashes").returncode == 0
    stage.wait_for(lambda: stage.claudy("capture", worker).stdout.count("--dashes") == 1)
    assert stage.claudy("send", worker, "-", input="\nfrom stdin").returncode == 0
    stage.wait_for(lambda: stage.claudy("capture", worker, "-n", "100").stdout.count("from stdin") == 2)
    assert stage.claudy("send", worker, "-", input="x" * 70000).returncode == 2


def test_exec_keeps_streams_apart_and_gives_the_exit_code(stage, worker):
    run = stage.claudy("exec", worker, "sh", "-c", "cat; echo problem >&2; exit 41", input="in and out")
    assert (run.returncode, run.stdout, run.stderr) == (41, "in and out", "problem\n")
    assert stage.claudy("exec", worker, "--", "sh", "-c", "kill -9 $$").returncode == 137
    assert stage.claudy("exec", worker, "no-such-program").returncode == 5
    run = stage.claudy("exec", worker, "--env", "WORD=value", "--cwd", "/tmp", "sh", "-c", "echo $WORD; pwd")
    assert run.stdout == "value\n/tmp\n"


def test_exec_passes_all_arguments_after_the_worker(stage, worker):
    run = stage.claudy("exec", worker, "printf", "%s|", "-t", "--", "--env", "status")
    assert run.stdout == "-t|--|--env|status|"
    run = stage.claudy("exec", worker, "--", "printf", "%s|", "--", "-T")
    assert run.stdout == "--|-T|"


def test_exec_moves_binary_data_and_much_of_it(stage, worker):
    data = os.urandom(5_000_000)
    run = subprocess.run([stage.program, "exec", worker, "cat"], input=data, capture_output=True, timeout=DEADLINE,
                         env=stage.environment, check=False)
    assert run.returncode == 0
    assert run.stdout == data


def test_exec_from_and_to_files(stage, worker, tmp_path):
    (tmp_path / "in").write_bytes(b"file" * 100_000)
    with open(tmp_path / "in", "rb") as source, open(tmp_path / "out", "wb") as sink:
        run = subprocess.run([stage.program, "exec", worker, "cat"], stdin=source, stdout=sink, timeout=DEADLINE,
                             env=stage.environment, check=False)
    assert run.returncode == 0
    assert (tmp_path / "out").read_bytes() == b"file" * 100_000


def test_exec_does_not_wait_for_what_the_program_left_behind(stage, worker):
    begin = time.monotonic()
    run = stage.claudy("exec", worker, "sh", "-c", "sleep 60 & echo $!")
    assert run.returncode == 0
    os.kill(int(run.stdout), 9)
    assert time.monotonic() - begin < DEADLINE / 2


def test_exec_ends_the_program_when_the_reader_leaves(stage, worker):
    run = stage.shell(f"claudy exec {worker} yes | head -n 1; echo ${{PIPESTATUS[0]}}")
    assert run.stdout.splitlines() == ["y", "141"] or run.stdout.splitlines() == ["y", "1"]


def test_logs(stage, worker):
    assert stage.claudy("logs", worker).stdout == "".join(f"line {n}\n" for n in range(1, 6))
    assert stage.claudy("logs", worker, "-n", "2").stdout == "line 4\nline 5\n"
    assert stage.claudy("logs", worker, "-n", "1", "-t").stdout == "2026-01-01T00:00:00Z line 5\n"
    run = stage.shell(f"claudy logs -f {worker} | head -n 5 | tail -n 1; echo ${{PIPESTATUS[0]}}")
    assert run.stdout == "line 5\n0\n"


def test_status_and_servers(stage):
    status = document(stage.claudy("status", "--json"))
    assert status["state"] == "running" and status["engine"]["available"] is True
    assert status["parent"]["chroma_health"] == "healthy"
    assert [server["name"] for server in status["servers"]] == ["memory", "thinking"]
    text = stage.claudy("status").stdout
    assert "available, version 20.10" in text and "memory" in text
    servers = document(stage.claudy("server", "ls", "--json"))
    assert servers[0]["server_info"] == {"name": "memory", "version": "1"}
    assert servers[0]["main_pid"] == 4711
    assert stage.claudy("server", "ls").stdout.splitlines()[1].split()[:4] == ["memory", "running", "shared", "4711"]


def test_server_changes_and_call(stage):
    assert stage.claudy("server", "stop", "memory").returncode == 0
    assert document(stage.claudy("server", "show", "memory", "--json"))["state"] == "stopped"
    assert stage.claudy("server", "start", "memory").returncode == 0
    assert stage.claudy("server", "restart", "memory").returncode == 0
    result = document(stage.claudy("server", "call", "memory", "tools/list", '{"cursor":"x"}'))
    assert result["params"] == {"cursor": "x"} and result["tools"][0]["name"] == "echo"


def test_server_tools_and_calls_of_tools(stage):
    tools = document(stage.claudy("server", "tools", "memory", "--json"))
    assert [tool["name"] for tool in tools] == ["echo", "fail"]
    table = [line.split() for line in stage.claudy("server", "tools", "memory").stdout.splitlines()]
    assert table == [["TOOL", "ARGUMENTS", "DESCRIPTION"], ["echo", "text", "[times]", "Says", "it"],
                     ["fail", "-", "-"]]
    run = stage.claudy("server", "call", "memory", "echo", '{"text":"x"}')
    assert (run.returncode, run.stdout) == (0, '{"text": "x"}\n')
    run = stage.claudy("server", "call", "memory", "none")
    assert (run.returncode, run.stdout) == (1, "there is no tool none\n")
    run = stage.claudy("server", "call", "memory", "none", "--json")
    assert run.returncode == 1
    assert json.loads(run.stdout)["isError"] is True


def test_server_show_tells_of_traffic(stage):
    server = document(stage.claudy("server", "show", "memory", "--json"))
    assert (server["tool_calls"], server["refused_calls"], server["bytes_sent"]) == (10, 2, 4096)
    assert server["latency"] == [[16, 9], [4096, 3]]
    assert server["session_list"][0][:4] == ["01234567", "worker1", 0, 12]
    text = stage.claudy("server", "show", "memory").stdout
    assert "median < 0.016 ms, 99 % < 4.096 ms" in text
    assert text.splitlines()[-1].split()[:7] == ["01234567", "worker1", "root", "12", "10", "2", "1"]


def test_server_trace_shows_a_line_a_message_until_its_end(stage):
    worker = stage.spawn("cat")
    run = stage.claudy("server", "trace", "memory", "--worker", worker)
    assert run.returncode == 0
    assert run.stderr == "claudy: the trace is over: worker w1 is gone\n"
    lines = run.stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].split()[1:] == ["->", "01234567", "w1", "request", "1", "70B", "tools/call", "echo"]
    assert lines[1].split()[1:] == ["<-", "01234567", "w1", "error", "1", "2.0K", "tools/call", "echo", "error",
                                    "1.500", "ms"]
    assert "3 messages" in lines[2]
    assert "\x1b" not in run.stdout
    identifier = document(stage.claudy("show", worker, "--json"))["id"]
    assert ["Trace", {"payloads": "0", "worker": identifier}] in stage.calls()

    run = stage.claudy("server", "trace", "memory", "--worker", worker, "--payloads")
    assert run.stdout.splitlines()[1].strip() == '{"x":1}'
    run = stage.claudy("server", "trace", "memory", "--worker", worker, "--json")
    documents = [json.loads(line) for line in run.stdout.splitlines()]
    assert [one.get("kind") for one in documents] == ["request", "error", None, None]
    assert documents[3]["end"] == "worker-gone"

    run = stage.claudy("server", "trace", "thinking", "--worker", worker)
    assert run.returncode == 3
    assert "hal9000d was restarted" in run.stderr
    assert stage.claudy("server", "trace", "memory", "--worker", "nobody").returncode == 5
    assert stage.claudy("server", "trace", "nobody").returncode == 5
    assert stage.claudy("server", "trace", "memory", "--lines", "3").returncode == 2


def test_server_trace_ends_with_a_signal_and_with_its_reader(stage):
    with subprocess.Popen([stage.program, "server", "trace", "memory"], stdout=subprocess.PIPE, env=stage.environment,
                          text=True) as trace:
        assert "tools/call" in stage.read_line(trace.stdout)
        trace.send_signal(signal.SIGINT)
        assert trace.wait(DEADLINE) == 130
    run = stage.shell("claudy server trace memory | head -n 1 | wc -l; echo ${PIPESTATUS[0]}")
    assert run.stdout == "1\n0\n"


def test_server_trace_ends_with_the_daemon():
    with Stage() as stage:
        with subprocess.Popen([stage.program, "server", "trace", "memory"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=stage.environment, text=True) as trace:
            stage.read_line(trace.stdout)
            stage.end_daemon(kill=True)
            _, errors = trace.communicate(timeout=DEADLINE)
        assert trace.returncode == 3
        assert "the daemon or its gateway ended meanwhile" in errors


def test_show_has_no_exit_code_before_the_end(stage):
    worker = stage.spawn("cat")
    row = [line for line in stage.claudy("show", worker).stdout.splitlines() if line.startswith("exit_code")]
    assert row[0].split() == ["exit_code:", "-"]
    stage.claudy("stop", worker)
    row = [line for line in stage.claudy("show", worker).stdout.splitlines() if line.startswith("exit_code")]
    assert row[0].split() == ["exit_code:", "143"]


def test_parent_and_daemon(stage):
    assert document(stage.claudy("parent", "--json"))["state"] == "running"
    assert document(stage.claudy("parent", "status", "--json")) == document(stage.claudy("parent", "--json"))
    assert stage.claudy("parent", "restart-chroma").returncode == 0
    assert ["RestartChroma"] in stage.calls()
    daemon = document(stage.claudy("daemon", "status", "--json"))
    assert daemon["pid"] == stage.daemon.pid and daemon["version"] == "0.1.0"


def test_pool(stage):
    pool = document(stage.claudy("pool", "status", "--json"))
    assert pool == {
        "min": 2, "max": 5, "idle_timeout_usec": 300_000_000, "target": 2, "warm": 1, "starting": 1, "claimed": 0,
        "hits": 7, "misses": 3, "claim_times": [[4096, 6], [2**64 - 1, 1]], "pressure": "none", "drained": False, "reason": "1 is being made"}
    assert document(stage.claudy("pool", "--json")) == pool
    rows = {key: value.strip() for key, value in (line.split(":", 1) for line in stage.claudy("pool").stdout.splitlines())}
    assert rows["warm"] == "1 of 2" and rows["bounds"] == "2 to 5"
    assert "1 of 2 warm (1 is being made)" in stage.claudy("status").stdout

    assert stage.claudy("pool", "scale", "1", "8", "--idle-timeout", "90s").returncode == 0
    pool = document(stage.claudy("pool", "status", "--json"))
    assert (pool["min"], pool["max"], pool["idle_timeout_usec"]) == (1, 8, 90_000_000)
    assert stage.claudy("pool", "scale", "--max", "9").returncode == 0
    assert document(stage.claudy("pool", "status", "--json"))["max"] == 9
    run = stage.claudy("pool", "scale", "9", "2")
    assert run.returncode == 2 and "min 9" in run.stderr
    assert stage.claudy("pool", "scale", "few", "2").returncode == 2

    assert stage.claudy("pool", "warm", "3").returncode == 0
    assert document(stage.claudy("pool", "status", "--json"))["warm"] == 3
    assert stage.claudy("pool", "warm").returncode == 0, "as many as may be"
    assert document(stage.claudy("pool", "status", "--json"))["warm"] == 9
    run = stage.claudy("pool", "warm", "13")
    assert run.returncode == 3 and "keeps failing" in run.stderr
    assert stage.claudy("pool", "cleanup").stdout == "4\n"
    assert stage.claudy("pool", "drain").returncode == 0
    assert document(stage.claudy("pool", "status", "--json"))["drained"] is True


def test_watch_prints_again_after_each_change(stage):
    with subprocess.Popen([stage.program, "ls", "--watch", "--json"], stdout=subprocess.PIPE, env=stage.environment,
                          text=True) as watch:
        names = lambda: {one["name"] for one in json.loads(stage.read_line(watch.stdout))}
        before = names()
        name = stage.spawn("cat")
        while name not in names():
            pass
        stage.claudy("rm", name)
        while names() != before:
            pass
        watch.terminate()


def test_output_that_cannot_be_written_is_a_failure(stage):
    with open("/dev/full", "w", encoding="ascii") as full:
        run = subprocess.run([stage.program, "ls"], stdout=full, stderr=subprocess.PIPE, env=stage.environment, text=True,
                             timeout=DEADLINE, check=False)
    assert run.returncode == 1
    assert "No space left" in run.stderr


def test_without_a_daemon_and_without_a_bus(stage):
    with Stage(daemon=False) as empty:
        run = empty.claudy("ls")
        assert run.returncode == 3
        assert "the daemon is not running" in run.stderr
        assert empty.claudy("daemon", "status").returncode == 3
        assert empty.claudy("spawn", "/tmp").returncode == 3
    nowhere = {**stage.environment, "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent-folder/bus"}
    run = subprocess.run([stage.program, "ls"], capture_output=True, text=True, env=nowhere, timeout=DEADLINE, check=False)
    assert run.returncode == 3
    assert "DBUS_SYSTEM_BUS_ADDRESS" in run.stderr
    for arguments in (["--help"], ["--version"], ["ls", "--help"], ["server", "call", "--help"]):
        run = subprocess.run([stage.program, *arguments], capture_output=True, text=True, env=nowhere, timeout=DEADLINE,
                             check=False)
        assert run.returncode == 0 and run.stderr == ""


def test_watch_ends_with_the_daemon():
    with Stage() as stage:
        with subprocess.Popen([stage.program, "status", "--watch", "--json"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=stage.environment, text=True) as watch:
            stage.read_line(watch.stdout)
            stage.end_daemon()
            _, errors = watch.communicate(timeout=DEADLINE)
        assert watch.returncode == 3
        assert "the daemon is not running" in errors


def test_user_takes_the_session_bus(stage):
    environment = {**stage.environment, "DBUS_SESSION_BUS_ADDRESS": stage.address,
                   "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent-folder/bus"}
    run = subprocess.run([stage.program, "--user", "status"], capture_output=True, env=environment, timeout=DEADLINE,
                         check=False)
    assert run.returncode == 0
