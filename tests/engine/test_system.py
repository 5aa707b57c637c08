"""The main job on real parts: hal9000d, gateway, engine, workers, MCP servers and Claude Code; only the model is played."""

import json
import os
import pathlib
import select
import signal
import subprocess
import uuid

import pytest
from conftest import run, wait_until
from system import BUILD, CLAUDY, fresh_system, played_model

SERVERS = ("chroma", "memory-bank", "sequential-thinking")


@pytest.fixture(scope="module")
def system(engine_host, build_images, mcp_servers):
    with fresh_system(engine_host, mcp_servers) as system:
        system.start()
        system.until_parent_runs()
        yield system


@pytest.fixture
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    os.chmod(folder, 0o755)
    (folder / "README.md").write_text("a sample\n")
    return folder


@pytest.fixture
def worker(system, project):
    name = f"w-{uuid.uuid4().hex[:8]}"
    system.claudy("spawn", project, "--name", name, "--", "sleep", "infinity")
    yield name
    if any(one["name"] == name for one in system.workers()):
        system.claudy("rm", name)


# --- the main job ----------------------------------------------------------------------------------------------------


def test_claude_code_reaches_every_mcp_server(system, worker):
    answer = system.claudy("exec", worker, "--", "claude", "mcp", "list")
    for server in SERVERS:
        line = next(line for line in answer.splitlines() if line.startswith(f"{server}:"))
        assert "Connected" in line, answer


def test_a_worker_shows_the_prompt_and_no_complaint(system, project):
    name = f"w-{uuid.uuid4().hex[:8]}"
    system.claudy("spawn", project, "--name", name)
    try:
        screen = wait_until("the prompt", lambda: "❯" in (text := system.claudy("capture", name)) and text)
        assert "⚠" not in screen, screen
    finally:
        system.claudy("rm", name)


def test_a_turn_of_claude_code_uses_all_three_servers(system, worker, tmp_path):
    """The stand-in of the model asks for tools; Claude Code in the worker calls them through relay and gateway."""
    marker = uuid.uuid4().hex
    thought = {"thought": f"think of {marker}", "thoughtNumber": 1, "totalThoughts": 1, "nextThoughtNeeded": False}
    note = {"projectName": "engine-suite", "fileName": "note.md", "content": f"# note\n{marker}\n"}
    collection = f"c-{marker[:8]}"
    query = {"collection_name": collection, "query_texts": ["vessels with a computer"], "n_results": 1}
    steps = [
        {"tool": "mcp__sequential-thinking__sequentialthinking", "input": thought},
        {"tool": "mcp__memory-bank__memory_bank_write", "input": note},
        {"tool": "mcp__chroma__chroma_create_collection", "input": {"collection_name": collection}},
        {
            "tool": "mcp__chroma__chroma_add_documents",
            "input": {"collection_name": collection, "documents": ["the ship is called Discovery", "bread is baked"], "ids": ["ship", "bread"]},
        },
        {"tool": "mcp__chroma__chroma_query_documents", "input": query},
        {"text": f"done {marker}", "expect": "Discovery"},
    ]
    with played_model(system, steps, tmp_path) as environment:
        answer = system.claudy(
            "exec", *environment, worker, "--", "claude", "-p", "do it", "--output-format", "json",
            "--allowedTools", "mcp__sequential-thinking,mcp__memory-bank,mcp__chroma", timeout=180,
        )  # fmt: skip
    assert json.loads(answer)["result"] == f"done {marker}", answer
    assert marker in (system.state / "server/memory-bank/engine-suite/note.md").read_text()


def test_a_worker_speaks_mcp_over_http_with_its_token(system, worker):
    token = "$(cat /run/hal9000/token)"

    def post(message, token=token, session=None, server="memory-bank"):
        headers = [
            "Content-Type: application/json", "Accept: application/json, text/event-stream",
            *([f"Authorization: Bearer {token}"] if token else []), *([f"Mcp-Session-Id: {session}"] if session else []),
        ]
        options = " ".join(f'-H "{header}"' for header in headers)
        body = json.dumps({"jsonrpc": "2.0", **message}).replace("'", "")
        answer = system.claudy("exec", worker, "--", "sh", "-c", f"curl -sSi --max-time 30 {options} -d '{body}' http://127.0.0.1:9000/mcp/{server}")
        head, _, body = answer.replace("\r\n", "\n").partition("\n\n")
        fields = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:])
        events = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: {")]
        return int(head.split()[1]), fields, json.loads(events[-1] if events else body) if body else None

    hello = {"id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "curl", "version": "1"}}}
    status, fields, answer = post(hello)
    assert status == 200 and answer["result"]["serverInfo"], answer
    session = fields["mcp-session-id"]
    assert post({"method": "notifications/initialized"}, session=session)[0] == 202
    tools = post({"id": 1, "method": "tools/list"}, session=session)[2]["result"]["tools"]
    assert any(tool["name"] == "memory_bank_write" for tool in tools)
    marker = uuid.uuid4().hex
    note = {"projectName": "over-http", "fileName": "note.md", "content": marker}
    call = {"id": 2, "method": "tools/call", "params": {"name": "memory_bank_write", "arguments": note}}
    assert not post(call, session=session)[2]["result"].get("isError")
    assert marker in (system.state / "server/memory-bank/over-http/note.md").read_text()

    for wrong in (None, "wrong", "$(cat /run/hal9000/token)0", f"{'0' * 12}.$(cut -d. -f2 /run/hal9000/token)"):
        status, fields, _ = post(hello, token=wrong)
        assert status == 401 and fields["www-authenticate"].startswith("bearer"), wrong
        assert post(call, token=wrong, session=session)[0] == 401
    assert post(hello, server="no-such-server")[0] == 404
    log = system.log.read_text()
    assert system.claudy("exec", worker, "--", "cut", "-d.", "-f2", "/run/hal9000/token").strip() not in log


def test_a_trace_shows_a_workers_traffic_to_its_owner_and_to_nobody_else(system, project):
    def trace(*words, **options):
        command = [CLAUDY, "server", "trace", "memory-bank", "--json", *words]
        return subprocess.Popen(command, env=system.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)

    system.claudy("spawn", project, "--name", "traced", "--", "sleep", "infinity")
    worker_id = system.show("traced")["id"]
    with trace(user=1, group=1, extra_groups=[]) as theirs, trace("--worker", "traced") as mine:
        def shown():
            system.claudy("exec", "traced", "--", "claude", "mcp", "get", "memory-bank")
            return select.select([mine.stdout], [], [], 0)[0]

        wait_until("a line", shown, 60)
        system.claudy("rm", "traced")
        output, errors = mine.communicate(timeout=60)
        assert (mine.returncode, errors) == (0, f"claudy: the trace is over: worker {worker_id} is gone\n")
        *lines, last = map(json.loads, output.splitlines())
        assert last["end"] == "worker-gone"
        assert {(line["worker"], line["owner"]) for line in lines} == {(worker_id, os.getuid())}
        assert {"initialize", "notifications/initialized"} <= {line.get("method") for line in lines}
        assert theirs.poll() is None
        theirs.terminate()
        assert theirs.communicate(timeout=60)[0] == ""


def test_a_worker_is_what_was_promised(system, worker, project):
    info = json.loads(system.docker("inspect", system.show(worker)["container_id"]))[0]
    host = info["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (4 << 30, 2_000_000_000, 100)
    assert host["NetworkMode"] == f"container:{system.docker('inspect', '--format', '{{.Id}}', *system.containers('parent')).strip()}"
    assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and "no-new-privileges" in host["SecurityOpt"][0]
    assert system.claudy("exec", worker, "--", "id", "-u").strip() == "1000"
    assert system.claudy("exec", worker, "--", "cat", "/proc/1/comm").strip() == "hal9000-init"
    assert "CapEff:\t0000000000000000" in system.claudy("exec", worker, "--", "cat", "/proc/self/status")
    system.claudy("exec", worker, "--", "sh", "-c", "echo from the worker > /workspace/new")
    assert (project / "new").read_text() == "from the worker\n"
    assert (project / "new").stat().st_uid == os.getuid()


# --- programs in workers -----------------------------------------------------------------------------------------------


def test_exec_passes_input_output_errors_and_exit_code(system, worker):
    command = "cat; echo to stderr >&2; exit 7"
    done = subprocess.run(
        [str(CLAUDY), "exec", worker, "--", "sh", "-c", command], env=system.environment, input="through\n", capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "through\n", "to stderr\n")


def test_send_and_capture_the_commands_terminal(system, project):
    system.claudy("spawn", project, "--name", "typed", "--", "cat")
    system.claudy("send", "typed", "hello there")
    wait_until("the echo", lambda: system.claudy("capture", "typed").count("hello there") == 2)
    assert "hello there" in system.claudy("logs", "typed")
    system.claudy("rm", "typed")


def test_attach_shows_the_command_and_leaves_it_running(system, worker, tmp_path):
    socket = tmp_path / "tmux"
    environment = " ".join(f"{key}={system.environment[key]}" for key in ("DBUS_SYSTEM_BUS_ADDRESS",))

    def tmux(*arguments):
        return run("tmux", "-S", socket, *arguments)

    tmux("new-session", "-d", "-x", "100", "-y", "30", f"env {environment} sh -c '{CLAUDY} attach {worker}; echo left with $?; exec cat'")
    try:
        system_size = lambda: system.claudy("exec", worker, "--", "tmux", "-L", "main", "list-clients", "-F", "#{client_width}x#{client_height}").strip()
        wait_until("the size to arrive", lambda: system_size() == "100x30")
        tmux("resize-window", "-x", "90", "-y", "20")
        wait_until("the new size", lambda: system_size() == "90x20")
        tmux("send-keys", "C-]", "d")
        wait_until("the shell", lambda: "left with 0" in tmux("capture-pane", "-p"))
    finally:
        tmux("kill-server")
    assert system.show(worker)["state"] == "running"


# --- how workers end ---------------------------------------------------------------------------------------------------


def test_the_commands_exit_code_is_the_workers(system, project):
    system.claudy("spawn", project, "--name", "ends", "--", "sh", "-c", "read line; exit 42")
    system.claudy("send", "ends", "go")
    assert system.until_state("ends", "exited")["exit_code"] == 42
    system.claudy("rm", "ends")


def test_running_out_of_memory_is_told(system, project):
    system.claudy("spawn", project, "--name", "hungry", "--memory", "64M", "--", "sh", "-c", "read line; tail -c 200M /dev/zero | tail; exit 1")
    container = system.show("hungry")["container_id"]
    system.claudy("send", "hungry", "go")
    wait_until("the kernel to act", lambda: json.loads(system.docker("inspect", container))[0]["State"]["OOMKilled"] or system.show("hungry")["state"] == "exited")
    assert "out of memory" in system.until_state("hungry", "exited")["reason"]
    system.claudy("rm", "hungry")


def test_stop_and_remove_leave_nothing(system, project):
    system.claudy("spawn", project, "--name", "brief", "--", "sleep", "infinity")
    container = system.show("brief")["container_id"]
    pid = int(system.docker("inspect", "--format", "{{.State.Pid}}", container))
    system.claudy("stop", "brief", "--timeout", "5")
    assert system.show("brief")["state"] == "exited"
    system.claudy("rm", "brief")
    assert container[:12] not in system.containers()
    assert not pathlib.Path(f"/proc/{pid}").exists()
    assert str(project) not in pathlib.Path("/proc/self/mountinfo").read_text()


# --- bad input ---------------------------------------------------------------------------------------------------------


def test_bad_workspaces_are_named_and_leave_nothing(system, tmp_path):
    os.chmod(tmp_path, 0o755)
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = system.left_behind()
    for path in (tmp_path / "missing", tmp_path / "file", tmp_path / "loop", pathlib.Path("relative")):
        done = subprocess.run(
            ["busctl", "--system", "call", "org.hal9000", "/org/hal9000", "org.hal9000.Manager1", "Spawn", "sa{sv}", str(path), "0"],
            env=system.environment, capture_output=True, text=True, check=False,
        )
        assert done.returncode != 0 and str(path) in done.stderr, (path, done.stderr)
    assert system.left_behind() == before


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["1", "nonesuch", "s", "x"], "nonesuch"),
        (["1", "memory", "s", "4G"], "memory"),
        (["1", "memory", "t", "1"], "memory"),
        (["1", "name", "s", "../x"], "name"),
        (["1", "network", "s", "host"], "network"),
        (["1", "servers", "as", "1", "nonesuch"], "nonesuch"),
        (["1", "image", "s", "no/such-image"], "no/such-image"),
        (["1", "command", "as", "1", "no-such-program"], "no-such-program"),
    ],
)
def test_bad_options_are_named_and_leave_nothing(system, project, options, text):
    before = system.left_behind()
    done = subprocess.run(
        ["busctl", "--system", "call", "org.hal9000", "/org/hal9000", "org.hal9000.Manager1", "Spawn", "sa{sv}", str(project), *options],
        env=system.environment, capture_output=True, text=True, check=False,
    )
    assert done.returncode != 0 and text in done.stderr, done.stderr
    assert system.left_behind() == before


def test_a_name_in_use_is_busy_and_the_other_is_undisturbed(system, worker, project):
    code, error = system.claudy_fails("spawn", project, "--name", worker)
    assert worker in error and code in (1, 6), (code, error)
    assert system.show(worker)["state"] == "running"


# --- MCP servers that misbehave ------------------------------------------------------------------------------------------


def test_a_server_whose_command_is_missing_does_not_disturb_the_others(system, mcp_servers, worker):
    system.servers({**mcp_servers, "broken": {"command": "/no/such/program"}})
    system.daemon.send_signal(signal.SIGHUP)
    broken = wait_until(
        "the server's failure",
        lambda: next((one for one in json.loads(system.claudy("server", "ls", "--json")) if one["name"] == "broken" and one["reason"]), None),
    )
    assert "/no/such/program" in broken["reason"] and broken["state"] in ("backoff", "failed")
    assert "Connected" in system.claudy("exec", worker, "--", "claude", "mcp", "get", "memory-bank")
    system.servers(mcp_servers)
    system.daemon.send_signal(signal.SIGHUP)
    wait_until("its removal", lambda: all(one["name"] != "broken" for one in json.loads(system.claudy("server", "ls", "--json"))))


def test_a_killed_server_comes_back(system):
    def chroma():
        return next(one for one in json.loads(system.claudy("server", "ls", "--json")) if one["name"] == "memory-bank")

    pid = chroma()["main_pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until("its successor", lambda: chroma()["main_pid"] not in (0, pid) and chroma()["state"] == "running")
    tools = json.loads(system.claudy("server", "call", "memory-bank", "tools/list"))
    assert any(tool["name"] == "memory_bank_write" for tool in tools["tools"])


# --- the daemon and the engine come and go -------------------------------------------------------------------------------


def test_kill_9_of_the_daemon_loses_nothing(system, worker):
    before = (sorted(system.containers()), system.show(worker))
    system.crash()
    system.start()
    system.until_parent_runs()
    after = system.show(worker)
    assert sorted(system.containers()) == before[0], "something was made twice or lost"
    assert (after["id"], after["state"], after["pid"]) == (before[1]["id"], "running", before[1]["pid"])
    wait_until("its init to connect again", lambda: "1000" in run(CLAUDY, "exec", worker, "--", "id", "-u", env=system.environment, check=False))
    answer = system.claudy("exec", worker, "--", "claude", "mcp", "list")
    assert answer.count("Connected") == len(SERVERS), answer


def test_kill_9_of_the_gateway_is_survived(system, worker):
    def gateway():
        children = run("pgrep", "-P", system.daemon.pid, "-f", "hal9000-gateway", check=False).split()
        return int(children[0]) if children else None

    first = gateway()
    os.kill(first, signal.SIGKILL)
    wait_until("a new gateway", lambda: gateway() not in (None, first))
    answer = wait_until(
        "all servers", lambda: (text := system.claudy("exec", worker, "--", "claude", "mcp", "list")).count("Connected") == len(SERVERS) and text, 60
    )
    assert answer


def test_a_bad_configuration_is_refused_and_the_old_one_stays(system, worker):
    good = (system.config / "conf.d/test.toml").read_text()
    (system.config / "conf.d/zz.toml").write_text('[worker]\nprofile = "base"\nprofil = "base"\n')
    try:
        done = subprocess.run(
            ["busctl", "--system", "call", "org.hal9000", "/org/hal9000", "org.hal9000.Manager1", "Reload"],
            env=system.environment, capture_output=True, text=True, check=False,
        )
        assert done.returncode != 0
        for part in ("zz.toml", ":3", "worker.profil"):
            assert part in done.stderr, done.stderr
        assert system.show(worker)["state"] == "running"
        checked = subprocess.run([BUILD / "src/daemon/hal9000d", "--check-config"], env=system.environment, capture_output=True, text=True, check=False)
        assert checked.returncode == 78 and "worker.profil" in checked.stderr
    finally:
        (system.config / "conf.d/zz.toml").unlink()
    assert (system.config / "conf.d/test.toml").read_text() == good


def test_sigterm_ends_the_daemon_in_order_and_workers_go_on(system, worker):
    container = system.show(worker)["container_id"]
    gateway = run("pgrep", "-P", system.daemon.pid).split()
    system.end()
    assert system.daemon.returncode == 0
    for pid in gateway:
        wait_until(f"child {pid} gone", lambda pid=pid: not pathlib.Path(f"/proc/{pid}").exists())
    assert json.loads(system.docker("inspect", container))[0]["State"]["Running"]
    system.start()
    assert system.show(worker)["state"] == "running"
