"""The D-Bus API of the real hal9000d on a private bus, without a container engine."""
import json
import os
import signal
import subprocess
import time
import xml.dom.minidom

import pytest

from conftest import BUILD, DEADLINE, DENIED, PREFIX, SOURCE, Failed

ALICE = 1  # users every machine has
BOB = 2

ECHO_SERVER = r"""
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method = message["method"]
    if method == "initialize":
        result = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {},
                  "serverInfo": {"name": "echo", "version": "7"}}
    elif method == "ping":
        result = {}
    elif method == "echo":
        result = {"params": message.get("params")}
    else:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"],
                          "error": {"code": -32601, "message": "no " + method}}), flush=True)
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


def failure(call, *arguments, **flags):
    with pytest.raises(Failed) as caught:
        call(*arguments, **flags)
    return caught.value


def echo_servers(system, mode="shared"):
    script = system.folder / "echo.py"
    script.write_text(ECHO_SERVER)
    return {"echo": {"command": "/usr/bin/python3", "args": [str(script)], "hal9000": {"mode": mode}}}


def eventually(condition):
    """For what no signal tells of."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


# -- one daemon a folder

def test_a_second_daemon_on_the_same_folder_ends_at_once_and_touches_nothing(system):
    system.start_daemon(servers=echo_servers(system))
    root = system.caller()
    children = f"/proc/{system.daemon.pid}/task/{system.daemon.pid}/children"
    with open(children, encoding="ascii") as file:
        before = file.read()
    pid = root.get("/org/hal9000/server/echo", "org.hal9000.Server1", "MainPID")
    second = subprocess.run([BUILD / "src/daemon/hal9000d"], env=system.daemon_environment(), capture_output=True,
                            text=True, timeout=DEADLINE, check=False)
    assert second.returncode == 75, second.stderr
    assert f"{system.folder}/run" in second.stderr and f"process {system.daemon.pid}" in second.stderr
    with open(children, encoding="ascii") as file:
        assert file.read() == before, "the gateway or a server was replaced"
    assert root.get("/org/hal9000/server/echo", "org.hal9000.Server1", "MainPID") == pid
    # Neither its children nor its death keep the folder from a successor.
    system.end_daemon(signal.SIGKILL)
    system.start_daemon(servers=echo_servers(system))


# -- what it shows

def test_is_degraded_without_an_engine_and_says_why(system):
    system.start_daemon()
    root = system.caller()
    assert root.get("/org/hal9000", "org.hal9000.Manager1", "State") == "degraded"
    engine = root.get("/org/hal9000", "org.hal9000.Manager1", "Engine")
    assert engine["available"] is False and "no-engine.sock" in engine["reason"]
    assert root.get("/org/hal9000", "org.hal9000.Manager1", "NWorkers") == 0
    assert root.manager("ListWorkers") == []
    assert root.get("/org/hal9000/parent", "org.hal9000.Parent1", "State") == "degraded"
    assert "engine" in root.get("/org/hal9000/parent", "org.hal9000.Parent1", "Reason")


def test_is_introspected_and_managed(system):
    system.start_daemon(servers=echo_servers(system))
    root = system.caller()
    objects = root.call("/org/hal9000", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    assert set(objects) == {"/org/hal9000/parent", "/org/hal9000/pool", "/org/hal9000/server/echo"}
    for path, interface in (("/org/hal9000", "Manager1"), ("/org/hal9000/parent", "Parent1"),
                            ("/org/hal9000/pool", "Pool1"), ("/org/hal9000/server/echo", "Server1")):
        text = root.call(path, "org.freedesktop.DBus.Introspectable", "Introspect")
        live = {node.getAttribute("name") for node in xml.dom.minidom.parseString(text).getElementsByTagName("method")}
        file = xml.dom.minidom.parse(str(SOURCE / f"dbus/org.hal9000.{interface}.xml"))
        assert {node.getAttribute("name") for node in file.getElementsByTagName("method")} <= live


def test_stock_tools_understand_it(system):
    system.start_daemon(servers=echo_servers(system))
    tree = subprocess.run(["busctl", "--system", "tree", "--list", "org.hal9000"], env=system.environment,
                          capture_output=True, text=True, timeout=DEADLINE, check=True)
    assert "/org/hal9000/server/echo" in tree.stdout.splitlines()
    spawn = subprocess.run(["busctl", "--system", "call", "org.hal9000", "/org/hal9000", "org.hal9000.Manager1",
                            "Spawn", "sa{sv}", str(system.folder), "0"], env=system.environment, capture_output=True,
                           text=True, timeout=DEADLINE, check=False)
    assert spawn.returncode != 0 and "engine" in spawn.stderr


# -- errors

def test_spawn_says_what_is_wrong(system):
    system.start_daemon()
    root = system.caller()
    for workspace, options, name, words in [
            ("relative", {}, "InvalidArgument", "absolute path"),
            ("/", {"colour": ["s", "red"]}, "InvalidArgument", "no option \"colour\""),
            ("/", {"memory": ["s", "4G"]}, "InvalidArgument", 'of type "t", not "s"'),
            ("/", {"memory": ["t", 1]}, "InvalidArgument", "memory"),
            ("/", {"network": ["s", "host"]}, "InvalidArgument", "network"),
            ("/", {"claim": ["s", "require"]}, "Unavailable", "warm")]:
        error = failure(root.manager, "Spawn", "sa{sv}", workspace, options)
        assert error.name == PREFIX + name and words in error.message, (workspace, options, str(error))
    assert root.manager("ListWorkers") == []


def test_spawn_without_an_engine_is_unavailable_and_leaves_nothing(system):
    system.start_daemon()
    root = system.caller()
    assert failure(root.manager, "Spawn", "sa{sv}", str(system.folder), {}).name == PREFIX + "Unavailable"
    assert failure(root.manager, "SpawnAt", "ha{sv}", {"open": str(system.folder)}, {}).name == PREFIX + "Unavailable"
    assert root.manager("ListWorkers") == []
    assert os.listdir(system.folder / "run/worker") == []
    assert os.listdir(system.folder / "state/worker") == []


def test_unknown_objects_and_members_are_errors(system):
    system.start_daemon()
    root = system.caller()
    assert failure(root.manager, "GetWorker", "s", "nobody").name == PREFIX + "NotFound"
    assert failure(root.manager, "Nothing").name == "org.freedesktop.DBus.Error.UnknownMethod"
    assert failure(root.call, "/org/hal9000/worker/0a", "org.hal9000.Worker1", "Stop", "u", 0).name == \
        "org.freedesktop.DBus.Error.UnknownObject"
    assert failure(root.call, "/org/hal9000", "org.freedesktop.DBus.Properties", "Set", "ssv", "org.hal9000.Manager1",
                   "State", "x").name == "org.freedesktop.DBus.Error.PropertyReadOnly"


# -- who may

# Method, its action, and the error of a call that gets through to a daemon without an engine (None: it succeeds).
GUARDED = [
    ("/org/hal9000", "Manager1", "Spawn", ("sa{sv}", "/", {}), "spawn", "Unavailable"),
    ("/org/hal9000", "Manager1", "SpawnAt", ("ha{sv}", {"open": "/"}, {}), "spawn", "Unavailable"),
    ("/org/hal9000", "Manager1", "Reload", (), "manage-daemon", None),
    ("/org/hal9000", "Manager1", "StopAll", ("u", 0), "manage-daemon", None),
    ("/org/hal9000/parent", "Parent1", "RestartChroma", (), "manage-daemon", "Unavailable"),
    ("/org/hal9000/pool", "Pool1", "Claim", ("sa{sv}", "/", {}), "claim", "Unavailable"),
    ("/org/hal9000/pool", "Pool1", "Scale", ("uu", 1, 4), "manage-pool", None),
    ("/org/hal9000/pool", "Pool1", "Configure", ("a{sv}", {"max": ["u", 3]}), "manage-pool", None),
    ("/org/hal9000/pool", "Pool1", "Warm", ("u", 1), "manage-pool", None),
    ("/org/hal9000/pool", "Pool1", "Drain", (), "manage-pool", None),
    ("/org/hal9000/pool", "Pool1", "Cleanup", (), "manage-pool", None),
    ("/org/hal9000/server/echo", "Server1", "Restart", (), "manage-servers", None),
    ("/org/hal9000/server/echo", "Server1", "Call", ("ss", "ping", ""), "call-server", None),
]


def outcome(caller, path, interface, member, arguments, **flags):
    try:
        caller.call(path, f"org.hal9000.{interface}", member, *arguments, **flags)
    except Failed as error:
        return error.name.removeprefix(PREFIX)
    return None


def test_without_polkit_only_root_may(system):
    system.start_daemon(servers=echo_servers(system))
    for path, interface, member, arguments, _, through in GUARDED:
        assert outcome(system.caller(ALICE), path, interface, member, arguments) == DENIED, member
        assert outcome(system.caller(), path, interface, member, arguments) == through, member
    assert system.caller(ALICE).manager("ListWorkers") == []


def test_polkit_decides_by_the_action_of_the_method(system):
    system.start_polkit()
    system.start_daemon(servers=echo_servers(system))
    alice = system.caller(ALICE)
    actions = ["spawn", "claim", "manage-own-worker", "manage-any-worker", "attach-any-worker", "manage-pool",
               "manage-servers", "call-server", "manage-daemon"]
    for path, interface, member, arguments, action, through in GUARDED:
        system.allow(*[other for other in actions if other != action])
        assert outcome(alice, path, interface, member, arguments) == DENIED, member
        system.allow(action)
        assert outcome(alice, path, interface, member, arguments) == through, member


def test_root_needs_no_polkit(system):
    system.start_polkit()
    system.start_daemon(servers=echo_servers(system))
    for path, interface, member, arguments, _, through in GUARDED:
        assert outcome(system.caller(), path, interface, member, arguments) == through, member


def test_a_question_that_hangs_holds_up_nobody_and_ends_with_its_caller(system):
    system.start_polkit()
    system.start_daemon()
    system.polkit("SimulateHang", "true")
    next_question = system.watch_questions()
    waiting = system.new_caller(ALICE)
    waiting.send("/org/hal9000", "org.hal9000.Manager1", "Reload")
    question = next_question()["payload"]["data"]
    assert question[0] == ["system-bus-name", {"name": {"type": "s", "data": waiting.unique_name}}]
    assert question[1] == "org.hal9000.manage-daemon"
    assert system.caller(BOB).manager("ListWorkers") == []
    waiting.end()
    assert system.caller().get("/org/hal9000", "org.hal9000.Manager1", "State") == "degraded"
    system.polkit("ReleaseHangingCalls")
    assert system.caller(BOB).manager("ListWorkers") == []


def test_nobody_but_root_may_own_the_name(system):
    taken = subprocess.run(["/usr/bin/python3", "-c",
                            "import dbus.bus, os\n"
                            "bus = dbus.bus.BusConnection(os.environ['DBUS_SYSTEM_BUS_ADDRESS'])\n"
                            "bus.request_name('org.hal9000')"], env=system.environment, user=ALICE, group=ALICE,
                           extra_groups=[], capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert "AccessDenied" in taken.stderr


def test_only_root_sets_the_log_level(system):
    system.start_polkit()
    system.start_daemon()
    path, interface = "/org/freedesktop/LogControl1", "org.freedesktop.LogControl1"
    properties = "org.freedesktop.DBus.Properties"
    system.caller().call(path, properties, "Set", "ssv", interface, "LogLevel", "debug")
    assert system.caller(ALICE).get(path, interface, "LogLevel") == "debug"
    assert failure(system.caller(ALICE).call, path, properties, "Set", "ssv", interface, "LogLevel",
                   "info").name == DENIED
    assert system.caller().get(path, interface, "SyslogIdentifier") == "hal9000d"


# -- servers and jobs

def test_a_server_is_called_stopped_and_started(system):
    system.start_daemon(servers=echo_servers(system))
    path, interface = "/org/hal9000/server/echo", "org.hal9000.Server1"
    root = system.caller()
    recorder = system.recorder()
    assert json.loads(root.call(path, interface, "Call", "ss", "echo", '{"a":[1]}')) == {"params": {"a": [1]}}
    assert failure(root.call, path, interface, "Call", "ss", "nonsense", "").message.endswith("no nonsense")
    for params in ("[1]", "{", "1"):
        assert failure(root.call, path, interface, "Call", "ss", "echo", params).name == PREFIX + "InvalidArgument"
    recorder.wait("PropertiesChanged", path, lambda arguments: "ServerInfo" in arguments[1])
    assert json.loads(root.get(path, interface, "ServerInfo"))["name"] == "echo"
    pid = root.get(path, interface, "MainPID")
    assert pid > 0
    root.call(path, interface, "Stop")
    assert root.get(path, interface, "State") == "stopped"
    assert root.get(path, interface, "MainPID") == 0
    assert failure(root.call, path, interface, "Call", "ss", "echo", "").name == PREFIX + "Unavailable"
    root.call(path, interface, "Start")
    assert root.get(path, interface, "State") == "running"
    assert root.get(path, interface, "MainPID") not in (0, pid)
    assert json.loads(root.call(path, interface, "Call", "ss", "echo", "")) == {"params": None}


def test_a_call_too_large_for_the_gateway_harms_nobody_else(system):
    system.start_daemon(servers=echo_servers(system))
    path, interface = "/org/hal9000/server/echo", "org.hal9000.Server1"
    root = system.caller()
    # Each control character takes six bytes on the way to the gateway.
    assert failure(root.call, path, interface, "Call", "ss", "echo", "\x01" * (9 << 20)).name == PREFIX + "LimitExceeded"
    large = json.dumps({"a": "x" * (15 << 20)})
    assert json.loads(root.call(path, interface, "Call", "ss", "echo", large)) == {"params": json.loads(large)}
    assert "gateway went away" not in system.log() and "gateway: " not in system.log()


def test_rules_for_tools_hold_and_calls_are_counted_and_told_of(system):
    rules = {"allow": ["read_*"], "deny": [{"tool": "*", "arguments": {"/path": "/etc/*"}}]}
    servers = echo_servers(system)
    servers["echo"]["hal9000"]["tools"] = rules
    system.start_daemon(servers=servers)
    path, interface = "/org/hal9000/server/echo", "org.hal9000.Server1"
    root = system.caller()

    def call(tool, arguments):
        return json.loads(root.call(path, interface, "Call", "ss", "tools/call",
                                    json.dumps({"name": tool, "arguments": arguments})))

    refused = call("write", {})
    assert refused["isError"] is True
    assert f"{system.folder}/etc/mcp.json: mcpServers.echo.hal9000.tools.allow" in refused["content"][0]["text"]
    assert call("read_file", {"path": "/etc/shadow"})["isError"] is True
    # What passes reaches the server, which knows no tools/call.
    assert failure(call, "read_file", {"path": "/tmp"}).message.endswith("no tools/call")
    eventually(lambda: root.get(path, interface, "ToolCalls") == 3)
    assert root.get(path, interface, "RefusedCalls") == 2
    assert root.get(path, interface, "BytesReceived") > 0 and root.get(path, interface, "BytesSent") > 0
    assert sum(count for _, count in root.get(path, interface, "Latency")) > 0
    eventually(lambda: system.log().count("HAL9000_OUTCOME=") == 3)
    assert system.log().count("HAL9000_TOOL=read_file HAL9000_OUTCOME=refused") == 1
    assert "/etc/shadow" not in system.log()
    # Without the rules, after a reload, the same call passes.
    system.configure(servers=echo_servers(system))
    root.manager("Reload")
    assert failure(call, "write", {}).message.endswith("no tools/call")


@pytest.mark.parametrize("toml, problem", [
    ('[profile.base.tools]\necho = { alow = [] }\n', "hal9000.toml:"),
    ('[profile.base.tools]\necho = { alow = [] }\n', "profile.base.tools.echo.alow"),
    ('[profile.base]\nservers = "echo"\n', "servers: must be an array"),
    ('[owner."*"]\nservers = [1]\n', "servers[0]: must be a string"),
    ('[owner.1000.tools.echo]\ndeny = [{ tool = "a", arguments = { path = "x" } }]\n', 'no JSON pointer'),
    ('[owner.no-such-user]\nservers = []\n', "no user of this name"),
    ('[owner.1000]\nserver = []\n', "unknown key"),
])
def test_a_wrong_rule_names_file_and_key(system, toml, problem):
    system.start_daemon()
    system.configure(toml=toml)
    error = failure(system.caller().manager, "Reload")
    assert error.name == PREFIX + "InvalidArgument"
    assert problem in error.message and "hal9000.toml:" in error.message


def test_rules_of_profiles_and_owners_are_read(system):
    system.start_daemon(servers=echo_servers(system))
    system.configure(servers=echo_servers(system), toml=(
        '[profile.base]\nservers = ["echo", "m*"]\n[profile.base.tools.echo]\nallow = ["a*"]\n'
        '[owner.root.tools."*"]\ndeny = ["x", { tool = "w", arguments = { "/path" = "/etc/*", "/n" = 5 } }]\n'
        '[owner."*"]\nservers = []\n'))
    system.caller().manager("Reload")


def test_a_reload_brings_and_takes_servers_and_refuses_nonsense(system):
    system.start_daemon()
    root = system.caller()
    recorder = system.recorder()
    system.configure(servers=echo_servers(system))
    root.manager("Reload")
    assert recorder.wait("InterfacesAdded")[0] == "/org/hal9000/server/echo"
    system.configure(servers=echo_servers(system), toml='[log]\nlevel = "loud"\n')
    error = failure(root.manager, "Reload")
    assert error.name == PREFIX + "InvalidArgument" and "hal9000.toml" in error.message
    assert root.get("/org/hal9000/server/echo", "org.hal9000.Server1", "Name") == "echo"
    system.configure()
    root.manager("Reload")
    assert recorder.wait("InterfacesRemoved")[0] == "/org/hal9000/server/echo"


def test_stop_all_is_a_job(system):
    system.start_daemon()
    recorder = system.recorder()
    job = system.caller().manager("StopAll", "u", 100)
    number = int(job.rsplit("/", 1)[1])
    assert recorder.wait("JobNew") == [number, job]
    assert recorder.wait("JobRemoved") == [number, job, "done"]
    assert system.caller().get(job, "org.hal9000.Job1", "Result") == "done"


# -- its life

def test_ends_in_order(system):
    system.start_daemon()
    system.daemon.send_signal(signal.SIGTERM)
    system.wait_notify("STOPPING=1")
    assert system.daemon.wait(DEADLINE) == 0


def test_ends_when_the_bus_is_gone(system):
    system.start_daemon()
    system.started[0].kill()
    assert system.daemon.wait(DEADLINE) == 1
    assert "the bus is gone" in system.log()


def test_a_second_daemon_does_not_start_beside_it(system):
    system.start_daemon()
    first = system.daemon
    with pytest.raises(AssertionError):
        system.start_daemon()
    assert system.daemon.wait(DEADLINE) != 0
    assert first.poll() is None
    assert system.caller().manager("ListWorkers") == []
    system.daemon = first


def test_survives_kill_and_start(system):
    system.start_daemon(servers=echo_servers(system))
    system.end_daemon(signal.SIGKILL)
    system.start_daemon(servers=echo_servers(system))
    assert json.loads(system.new_caller().call("/org/hal9000/server/echo", "org.hal9000.Server1", "Call", "ss", "echo",
                                               "")) == {"params": None}
