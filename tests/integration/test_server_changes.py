"""MCP servers added, imported, installed and removed while hal9000d runs: the real programs on a private bus."""
import json
import os
import pty
import select
import subprocess

import pytest

from conftest import BUILD, DEADLINE, DENIED, PREFIX
from test_bus import eventually, failure

ALICE = 1
SERVER1 = "org.hal9000.Server1"
# npm, PyPI and a venv on a busy machine.
INSTALL_DEADLINE = 15 * DEADLINE
THINKING = "@modelcontextprotocol/server-sequential-thinking"

# Answers `env` with its environment and arguments; `wait` when the file it is told of is there.
SERVER = r"""
import json, os, sys, threading, time
lock = threading.Lock()
def answer(number, result):
    with lock:
        print(json.dumps({"jsonrpc": "2.0", "id": number, "result": result}), flush=True)
def wait(number, path):
    while not os.path.exists(path):
        time.sleep(0.02)
    answer(number, {"pid": os.getpid()})
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method, params = message["method"], message.get("params") or {}
    if method == "initialize":
        answer(message["id"], {"protocolVersion": params["protocolVersion"], "capabilities": {},
                               "serverInfo": {"name": "test", "version": "1"}})
    elif method == "env":
        answer(message["id"], {"env": dict(os.environ), "args": sys.argv[1:], "pid": os.getpid()})
    elif method == "wait":
        threading.Thread(target=wait, args=(message["id"], params["path"]), daemon=True).start()
    else:
        answer(message["id"], {})
"""


def path_of(name):
    return f"/org/hal9000/server/{name}"


def entry(system, *arguments, **members):
    script = system.folder / "server.py"
    script.write_text(SERVER)
    return {"command": "/usr/bin/python3", "args": [str(script), *arguments], **members}


def document(**servers):
    return json.dumps({"mcpServers": servers})


def managed(system, name):
    return system.folder / "etc/mcp.d" / f"{name}.managed.json"


def call(root, name, method, **params):
    return json.loads(root.call(path_of(name), SERVER1, "Call", "ss", method, json.dumps(params) if params else ""))


def claudy(system, *arguments, cwd=None, deadline=DEADLINE, **variables):
    return subprocess.run([BUILD / "src/claudy/claudy", *arguments], env={**system.environment, **variables}, cwd=cwd,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=deadline, check=False)


def generations(system):
    return sorted(str(path.relative_to(system.folder)) for path in (system.folder / "state/package").glob("*/*"))


# -- Reload, AddServers, RemoveServer

def test_a_call_in_flight_outlives_every_change_of_other_servers(system):
    system.start_daemon(servers={"a": entry(system)})
    root, gate = system.caller(), system.folder / "gate"
    pid = call(root, "a", "env")["pid"]
    waiting = system.new_caller()
    waiting.send(path_of("a"), SERVER1, "Call", "ss", "wait", json.dumps({"path": str(gate)}))
    # By files and Reload …
    for b in ({"b": entry(system)}, {"b": entry(system, "changed")}, {}):
        system.configure(servers={"a": entry(system), **b})
        root.manager("Reload")
        if b:
            assert call(root, "b", "env")["args"] == b["b"]["args"][1:]
    # … and over the bus.
    for b in (entry(system, "1"), entry(system, "2")):
        root.manager("AddServers", "sa{sv}", document(b=b), {"replace": ["b", True]})
        assert call(root, "b", "env")["args"] == b["args"][1:]
    root.manager("RemoveServer", "s", "b")
    assert failure(root.get, path_of("b"), SERVER1, "State").name
    assert call(root, "a", "env")["pid"] == pid
    gate.touch()
    assert json.loads(waiting.receive()) == {"pid": pid}


def test_servers_are_added_replaced_and_removed(system):
    system.start_daemon(servers={"theirs": entry(system)})
    root = system.caller()

    def add(servers, **options):
        return root.manager("AddServers", "sa{sv}", servers, {key: ["b", value] for key, value in options.items()})

    secret = entry(system, env={"TOKEN": "s3cret"})
    assert add(document(mine=secret), dry_run=True) == [["mine", "added", ""]]
    assert not managed(system, "mine").exists()
    assert add(document(mine=secret)) == [["mine", "added", ""]]
    assert call(root, "mine", "env")["env"]["TOKEN"] == "s3cret"
    assert managed(system, "mine").stat().st_mode & 0o777 == 0o600
    assert root.get(path_of("mine"), SERVER1, "ConfigFile") == str(managed(system, "mine"))
    assert root.get(path_of("theirs"), SERVER1, "ConfigFile") == f"{system.folder}/etc/mcp.json"
    assert "s3cret" not in system.log()

    assert add(document(mine=secret)) == [["mine", "same", str(managed(system, "mine"))]]
    other = entry(system, "x", env={"TOKEN": "other"})
    assert failure(add, document(mine=other)).name == PREFIX + "AlreadyExists"
    assert add(document(mine=other), dry_run=True) == [["mine", "replaced", "args, env.TOKEN"]]
    assert add(document(mine=other), replace=True) == [["mine", "replaced", "args, env.TOKEN"]]
    assert call(root, "mine", "env")["env"]["TOKEN"] == "other"

    # An operator's own file is not ours to change.
    for options in ({}, {"replace": True}):
        refused = failure(add, document(theirs=other), **options)
        assert refused.name == PREFIX + "AlreadyExists" and f"{system.folder}/etc/mcp.json" in refused.message
    refused = failure(root.manager, "RemoveServer", "s", "theirs")
    assert refused.name == PREFIX + "InvalidArgument" and f"{system.folder}/etc/mcp.json" in refused.message
    assert failure(root.manager, "RemoveServer", "s", "nobody").name == PREFIX + "NotFound"

    # They are there after a restart, and gone when they are removed.
    system.end_daemon()
    system.start_daemon(servers={"theirs": entry(system)})
    assert call(system.new_caller(), "mine", "env")["args"] == ["x"]
    root.manager("RemoveServer", "s", "mine")
    assert not managed(system, "mine").exists()
    assert json.loads((system.folder / "etc/mcp.json").read_text())["mcpServers"].keys() == {"theirs"}


@pytest.mark.parametrize("servers, problem", [
    ("{", "servers: "),
    ('{"mcpServers": []}', "servers: mcpServers: must be an object"),
    ('{"mcpServers": {"good": {"command": "x"}, "bad": {"command": 5}}}', "servers: mcpServers.bad.command"),
    ('{"mcpServers": {"bad": {"command": "x", "hal9000": {"mod": "shared"}}}}', "mcpServers.bad.hal9000.mod"),
    ('{"mcpServers": {"bad": {"url": "https://a.example/", "headers": {"A": "Bearer credential:x"}}}}',
     "mcpServers.bad.headers.A: the daemon's credentials"),
    ('{"mcpServers": {"../x": {"command": "x"}}}', "mcpServers.../x: a server's name"),
])
def test_a_wrong_server_is_refused_and_changes_nothing(system, servers, problem):
    system.start_daemon()
    error = failure(system.caller().manager, "AddServers", "sa{sv}", servers, {})
    assert error.name == PREFIX + "InvalidArgument" and problem in error.message
    assert not list((system.folder / "etc").glob("mcp.d/*"))


def test_a_mistake_in_an_operators_file_stops_changes(system):
    system.start_daemon()
    system.configure(servers={"a": {"command": 5}})
    error = failure(system.caller().manager, "AddServers", "sa{sv}", document(b={"command": "x"}), {})
    assert f"{system.folder}/etc/mcp.json: mcpServers.a.command" in error.message
    assert not managed(system, "b").exists()


def test_only_who_may_manage_servers_changes_them(system):
    system.start_polkit()
    system.start_daemon()
    alice = system.caller(ALICE)
    add = ("AddServers", "sa{sv}", document(a=entry(system)), {})
    install = ("InstallServer", "ssa{sv}", "b", "npm:b", {})
    for method in (add, install, ("RemoveServer", "s", "a")):
        assert failure(alice.manager, *method).name == DENIED
    system.allow("manage-servers")
    assert alice.manager(*add) == [["a", "added", ""]]
    alice.manager("RemoveServer", "s", "a")


@pytest.mark.parametrize("arguments, name, problem", [
    (("../x", "npm:a", {}), "InvalidArgument", "name: "),
    (("a", "a", {}), "InvalidArgument", "npm:NAME"),
    (("a", "npm:../a", {}), "InvalidArgument", "'../a'"),
    (("a", "pypi:a @ http://b", {}), "InvalidArgument", "PyPI"),
    (("a", "npm:a", {"mode": ["s", "both"]}), "InvalidArgument", "mode"),
    (("a", "npm:a", {"modus": ["s", "shared"]}), "InvalidArgument", "modus"),
    (("theirs", "npm:a", {"replace": ["b", True]}), "AlreadyExists", "mcp.json"),
])
def test_an_installation_that_makes_no_sense_does_not_begin(system, arguments, name, problem):
    system.start_daemon(servers={"theirs": entry(system)})
    error = failure(system.caller().manager, "InstallServer", "ssa{sv}", *arguments)
    assert error.name == PREFIX + name and problem in error.message


# -- claudy server import

def project_of(system, **servers):
    folder = system.folder / "project"
    folder.mkdir(exist_ok=True)
    (folder / ".mcp.json").write_text(document(**servers))
    return folder


def test_import_shows_asks_and_writes(system):
    system.start_daemon(servers={"theirs": entry(system)})
    project = project_of(system, new=entry(system, "${TOKEN}", env={"TOKEN": "${TOKEN}"}), theirs={"command": "x"},
                         bad={"type": "ws", "url": "ws://a"}, tool={"command": "npx", "args": ["-y", "some-server"]},
                         far={"type": "streamable-http", "serverUrl": "http://127.0.0.1:9/mcp",
                              "headers": {"Authorization": "Bearer ${TOKEN}"}})
    variables = {"TOKEN": "a${b}", "HOME": "/nonexistent"}
    looked = claudy(system, "server", "import", "--dry-run", cwd=project, **variables)
    assert looked.returncode == 0, looked.stderr
    lines = looked.stdout.splitlines()
    assert any(line.startswith("+ new") and "server.py ${TOKEN}" in line for line in lines)
    assert any("TOKEN" in line and "environment" in line for line in lines)
    assert any(line.startswith("- theirs") and "mcp.json" in line for line in lines)
    assert any(line.startswith("- bad") and "'ws'" in line for line in lines)
    assert any(line.startswith("- tool") and "claudy server install tool npm:some-server" in line for line in lines)
    assert "a${b}" not in looked.stdout

    refused = claudy(system, "server", "import", cwd=project, **variables)
    assert refused.returncode == 2 and "--yes" in refused.stderr
    assert not managed(system, "new").exists()
    done = claudy(system, "server", "import", "--yes", "--json", cwd=project, **variables)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["written"] is True
    assert {server["name"]: server["change"] for server in report["servers"]} == {
        "new": "new", "far": "new", "theirs": "skipped", "bad": "skipped", "tool": "skipped"}
    assert call(system.caller(), "new", "env")["env"]["TOKEN"] == "a${b}"

    assert json.loads(managed(system, "far").read_text())["mcpServers"]["far"] == {
        "type": "http", "url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": "Bearer a${_:-${}b}"}}

    again = claudy(system, "server", "import", "--yes", "--only", "new", cwd=project, **variables)
    assert again.returncode == 0 and again.stdout.startswith("= new")
    changed = {**variables, "TOKEN": "c"}
    differs = claudy(system, "server", "import", "--yes", "--only", "new", cwd=project, **changed)
    assert "~ new" in differs.stdout and "args, env.TOKEN" in differs.stdout and "--replace" in differs.stdout
    assert call(system.caller(), "new", "env")["env"]["TOKEN"] == "a${b}"
    replaced = claudy(system, "server", "import", "--yes", "--replace", "--only", "new", cwd=project, **changed)
    assert replaced.returncode == 0, replaced.stderr
    assert call(system.caller(), "new", "env")["env"]["TOKEN"] == "c"
    listed = claudy(system, "server", "ls")
    assert str(managed(system, "new")) in listed.stdout and f"{system.folder}/etc/mcp.json" in listed.stdout
    assert claudy(system, "server", "uninstall", "new").returncode == 0
    assert not managed(system, "new").exists()
    assert claudy(system, "server", "uninstall", "new").returncode == 5
    assert claudy(system, "server", "uninstall", "theirs").returncode == 2


@pytest.mark.parametrize("answer, written", [(b"n\n", False), (b"\n", False), (b"y\n", True)])
def test_import_asks_at_a_terminal(system, answer, written):
    system.start_daemon()
    project = project_of(system, new=entry(system))
    ours, theirs = pty.openpty()
    process = subprocess.Popen([BUILD / "src/claudy/claudy", "server", "import", ".mcp.json"], env=system.environment,
                               cwd=project, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.close(theirs)
    try:
        text = b""
        while b"[y/N]" not in text:
            assert select.select([process.stderr], [], [], DEADLINE)[0], text
            text += os.read(process.stderr.fileno(), 4096)
        os.write(ours, answer)
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.communicate()
        os.close(ours)
    assert managed(system, "new").exists() is written


def test_import_reads_the_files_of_claudes_programs(system):
    system.start_daemon(servers={"theirs": entry(system)})
    home, project = system.folder / "home", project_of(system, a=entry(system, "mcp-json"))
    (home / ".config/Claude").mkdir(parents=True)
    (home / ".claude.json").write_text(json.dumps({
        "mcpServers": {"a": entry(system, "code"), "b": entry(system, "user")},
        "projects": {str(project): {"mcpServers": {"b": entry(system, "project")}}}}))
    (home / ".config/Claude/claude_desktop_config.json").write_text(document(c=entry(system, "desktop")))
    done = claudy(system, "server", "import", "--yes", cwd=project, HOME=str(home))
    assert done.returncode == 0, done.stderr
    root = system.caller()
    assert [call(root, name, "env")["args"] for name in "abc"] == [["mcp-json"], ["project"], ["desktop"]]
    assert "- a" in done.stdout and "goes first" in done.stdout
    one = claudy(system, "server", "import", "--from", "claude-code", "--dry-run", cwd=project, HOME=str(home))
    assert "~ a" in one.stdout and "= b" in one.stdout


@pytest.mark.parametrize("text, arguments, problem", [
    ("{", [], ".mcp.json"),
    ('{"servers": {}}', [], "mcpServers"),
    ('{"mcpServers": {"a": {"command": "x"}}}', ["--only", "b"], "'b'"),
])
def test_import_says_what_is_wrong_with_a_file(system, text, arguments, problem):
    system.start_daemon()
    (project_of(system) / ".mcp.json").write_text(text)
    run = claudy(system, "server", "import", ".mcp.json", "--yes", *arguments, cwd=system.folder / "project")
    assert run.returncode == 2 and problem in run.stderr, run.stderr
    missing = claudy(system, "server", "import", "nothing.json", cwd=system.folder)
    assert missing.returncode == 2 and "nothing.json" in missing.stderr
    nothing = claudy(system, "server", "import", cwd=system.folder, HOME="/nonexistent")
    assert nothing.returncode == 2 and "nothing to import" in nothing.stderr


# -- claudy server install

def test_a_package_of_npm_is_installed_upgraded_and_starts_without_network(system):
    system.start_daemon(servers={"theirs": entry(system)})
    done = claudy(system, "server", "install", "thinking", f"npm:{THINKING}@2025.7.1", "--env",
                  "DISABLE_THOUGHT_LOGGING=true", "--mode", "session", deadline=INSTALL_DEADLINE)
    assert done.returncode == 0, done.stderr
    assert f"npm:{THINKING}@2025.7.1" in done.stdout
    old = generations(system)
    assert len(old) == 1
    folder = system.folder / old[0]
    lock = json.loads((folder / "lock.json").read_text())
    assert lock["package"] == f"npm:{THINKING}@2025.7.1" and lock["integrity"].startswith("sha512-")
    assert len(lock["packages"]) > 5
    assert not (folder / ".scratch").exists()
    for file in [folder, *folder.rglob("*")]:  # nobody but root can change it
        status = file.lstat()
        assert status.st_uid == 0 and (file.is_symlink() or status.st_mode & 0o022 == 0), file

    # Another version; what is not named stays.
    done = claudy(system, "server", "install", "thinking", f"npm:{THINKING}@2025.12.18", "--json",
                  deadline=INSTALL_DEADLINE)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["package"] == f"npm:{THINKING}@2025.12.18"
    assert json.loads(done.stdout)["mode"] == "session"
    eventually(lambda: len(generations(system)) == 1 and generations(system) != old)
    written = json.loads(managed(system, "thinking").read_text())["mcpServers"]["thinking"]
    assert written["env"] == {"DISABLE_THOUGHT_LOGGING": "true"}

    # What is no MCP server is not put in its place.
    broken = claudy(system, "server", "install", "thinking", "npm:semver@7.6.3", deadline=INSTALL_DEADLINE)
    assert broken.returncode == 1 and "cannot be used" in broken.stderr, broken.stderr
    assert json.loads(managed(system, "thinking").read_text())["mcpServers"]["thinking"] == written
    eventually(lambda: len(generations(system)) == 1)

    system.end_daemon()
    system.start_daemon(servers={"theirs": entry(system)}, prefix=["unshare", "--net"])
    tools = claudy(system, "server", "tools", "thinking", "--json")
    assert tools.returncode == 0, tools.stderr
    assert [tool["name"] for tool in json.loads(tools.stdout)] == ["sequentialthinking"]


def test_a_package_of_pypi_is_installed_and_uninstalled(system):
    system.start_daemon(servers={"theirs": entry(system)})
    done = claudy(system, "server", "install", "time", "pypi:mcp-server-time", "--", "--local-timezone",
                  "Europe/Berlin", deadline=INSTALL_DEADLINE)
    assert done.returncode == 0, done.stderr
    assert "pypi:mcp-server-time==2" in done.stdout
    folder = system.folder / generations(system)[0]
    assert json.loads((folder / "lock.json").read_text())["integrity"].startswith("sha256:")
    called = claudy(system, "server", "call", "time", "get_current_time", '{"timezone": "UTC"}')
    assert called.returncode == 0 and '"timezone": "UTC"' in called.stdout, called.stderr
    again = claudy(system, "server", "import", "--dry-run", ".mcp.json",
                   cwd=project_of(system, time={"command": "uvx", "args": ["mcp-server-time"]}))
    assert again.stdout.startswith("= time"), again.stdout + again.stderr

    assert claudy(system, "server", "uninstall", "time").returncode == 0
    assert failure(system.caller().get, path_of("time"), SERVER1, "State").name
    eventually(lambda: not generations(system))


def test_what_cannot_be_installed_leaves_nothing(system):
    system.start_daemon(servers={"theirs": entry(system)})
    for package, problem in (("npm:@modelcontextprotocol/no-such-server-at-all", "does not exist"),
                             (f"npm:{THINKING}@0.0.99", "does not exist"),
                             ("npm:esprima@4.0.1", "--bin: esparse, esvalidate"),
                             ("npm:ms@2.1.3", "has no program")):
        run = claudy(system, "server", "install", "x", package, deadline=INSTALL_DEADLINE)
        assert run.returncode == 1 and problem in run.stderr, run.stderr
        eventually(lambda: not generations(system))
        assert not managed(system, "x").exists()


def test_an_installation_is_cancelled_in_the_middle(system):
    system.start_daemon(servers={"theirs": entry(system)})
    root, recorder = system.caller(), system.recorder()
    job = root.manager("InstallServer", "ssa{sv}", "time", "pypi:mcp-server-time", {})
    assert failure(root.manager, "InstallServer", "ssa{sv}", "time", "npm:x", {}).name == PREFIX + "Busy"
    assert root.get(job, "org.hal9000.Job1", "Kind") == "install-server"
    eventually(lambda: generations(system) and list((system.folder / generations(system)[0]).glob("bin/*")))
    root.call(job, "org.hal9000.Job1", "Cancel")
    assert recorder.wait("JobRemoved")[1:] == [job, "cancelled"]
    eventually(lambda: not generations(system))
    assert not managed(system, "time").exists()
    mine = str(system.folder / "state/package").encode()
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                assert mine not in file.read()
        except (FileNotFoundError, ProcessLookupError):
            pass


def test_an_interrupt_cancels_an_installation(system):
    system.start_daemon(servers={"theirs": entry(system)})
    process = subprocess.Popen([BUILD / "src/claudy/claudy", "server", "install", "time", "pypi:mcp-server-time"],
                               env=system.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        eventually(lambda: generations(system))  # there before claudy has been told the job's path, or after
        process.send_signal(2)
        assert process.wait(DEADLINE) == 1
        assert "cancel" in process.stderr.read()
    finally:
        process.kill()
        process.communicate()
    eventually(lambda: not generations(system))


def test_without_a_network_it_says_so(system):
    system.start_daemon(servers={"theirs": entry(system)}, prefix=["unshare", "--net"])
    run = claudy(system, "server", "install", "time", "pypi:mcp-server-time", deadline=INSTALL_DEADLINE)
    assert run.returncode == 1 and "not reachable" in run.stderr, run.stderr
    eventually(lambda: not generations(system))


def test_generations_nobody_uses_are_gone_at_the_next_start(system):
    left = system.folder / "state/package/x/0123"
    left.mkdir(parents=True)
    (left / "file").write_text("")
    used = system.folder / "state/package/y/4567"
    used.mkdir(parents=True)
    system.start_daemon(servers={"y": entry(system, f"{used}/bin/y")})
    eventually(lambda: not left.exists())
    assert used.exists()
