"""Remote MCP servers that are real, and one used through the whole of hal9000d and hal9000-gateway."""
import os
import pathlib
import pwd
import signal
import subprocess

import pytest

from conftest import SOURCE, read_line
from remote_support import Mcp, Remote, Server, http, request, result

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}


def packages(folder):
    """Where the npm packages of a folder of tests are installed."""
    script = SOURCE / "tests/support/mcp_servers.sh"
    return pathlib.Path(subprocess.run([script, SOURCE / folder], check=True, capture_output=True, text=True,
                                       timeout=600).stdout.strip())


class Node:
    """A server in JavaScript, whose output tells when it listens."""

    def __init__(self, *arguments, **environment):
        self.process = subprocess.Popen(["node", *map(str, arguments)], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, env={**os.environ, **environment})

    def line(self, matches):
        while not matches(line := read_line(self.process.stdout)):
            pass
        return line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def free_port():
    with Server(lambda *_: None) as server:
        return server.port


@pytest.fixture(name="everything", params=["streamableHttp", "sse"])
def everything_fixture(request):
    program = (packages("tests/support/mcp_servers") /
               "node_modules/@modelcontextprotocol/server-everything/dist/index.js")
    port = free_port()
    with Node(program, request.param, PORT=str(port)) as server:
        server.line(lambda line: str(port) in line)
        old = request.param == "sse"
        with Remote(f"http://127.0.0.1:{port}/{'sse' if old else 'mcp'}", transport="sse" if old else "http",
                    log=None) as remote:
            yield remote


def initialize(remote, **capabilities):
    answer = remote.ask(request(0, "initialize", protocolVersion="2025-11-25", capabilities=capabilities,
                                clientInfo={"name": "test", "version": "1"}))
    remote.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    return answer["result"]


def until(remote, matches):
    """The first message that fits, others apart."""
    while not matches(message := remote.receive()):
        pass
    return message


def test_everything_answers_tells_its_progress_and_asks_back(everything):
    assert "everything" in initialize(everything, sampling={})["serverInfo"]["name"]
    everything.send(request(1, "tools/call", name="echo", arguments={"message": "ö"}))
    assert until(everything, lambda one: one.get("id") == 1)["result"]["content"][0]["text"] == "Echo: ö"
    everything.send(request(2, "tools/call", name="trigger-long-running-operation",
                            arguments={"duration": 1, "steps": 2}, _meta={"progressToken": "p"}))
    for step in (1, 2):
        told = until(everything, lambda one: one.get("method") == "notifications/progress")["params"]
        assert told["progressToken"] == "p" and told["progress"] == step
    assert "completed" in until(everything, lambda one: one.get("id") == 2)["result"]["content"][0]["text"]
    everything.send(request(3, "tools/call", name="trigger-sampling-request", arguments={"prompt": "hello"}))
    question = until(everything, lambda one: one.get("method") == "sampling/createMessage")
    everything.send(result(question["id"], role="assistant", model="m", content={"type": "text", "text": "forty-two"}))
    assert "forty-two" in str(until(everything, lambda one: one.get("id") == 3)["result"])


def test_everything_answers_many_at_once(everything):
    initialize(everything)
    everything.send(*(request(f"r{number}", "tools/call", name="echo", arguments={"message": str(number)})
                      for number in range(100)))
    answers = {}
    while len(answers) < 100:
        message = until(everything, lambda one: "method" not in one)
        assert message["id"] not in answers
        answers[message["id"]] = message["result"]["content"][0]["text"]
    assert answers == {f"r{number}": f"Echo: {number}" for number in range(100)}


@pytest.fixture(name="fixture", scope="module")
def fixture_fixture():
    program = SOURCE / "tests/conformance/fixture/server.mjs"
    with Node(program, packages("tests/conformance"), "--http") as server:
        yield server.line(lambda line: "http://" in line).strip()


def test_a_server_that_closes_its_stream_before_it_answers(fixture):
    with Remote(fixture, log=None) as remote:
        initialize(remote)
        remote.send(request("call", "tools/call", name="test_reconnection", arguments={}))
        answer = until(remote, lambda one: one.get("id") == "call")
        assert "after the stream was closed" in answer["result"]["content"][0]["text"]


def test_a_server_of_the_newest_revision(fixture):
    with Remote(fixture, log=None) as remote:
        found = remote.ask(request(1, "server/discover", _meta=META))["result"]
        assert "2026-07-28" in found["supportedVersions"]
        answer = remote.ask(request(2, "tools/call", name="test_simple_text", arguments={}, _meta=META))
        assert answer["result"]["content"][0]["type"] == "text"
        error = remote.ask(request(3, "no/such", _meta=META))["error"]
        assert error["code"] == -32601
        remote.send(request("l", "subscriptions/listen", notifications={"toolsListChanged": True}, _meta=META))
        told = until(remote, lambda one: "method" in one)
        assert told["method"] == "notifications/subscriptions/acknowledged"
        remote.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "l"}})
        assert "result" in remote.ask(request(4, "tools/list", _meta=META))


# -- the whole

SECRET = "f3a91c5e77b24d08"


def children_of(pid):
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in text.split()]


def seen_of(pid, name):
    return pathlib.Path(f"/proc/{pid}/{name}").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def test_a_remote_server_through_the_gateway_and_its_credential_that_nobody_sees(system):
    (system.folder / "credentials").mkdir(mode=0o700)
    (system.folder / "credentials/far-token").write_text(SECRET + "\n", encoding="ascii")

    def call(made, _):
        return http(200, result(made.message["id"], content=[{"type": "text", "text": made.message["params"]["name"]}]))

    mcp = Mcp(capabilities={"tools": {}}, tools_call=call)

    def guarded(made, connection):
        if made.headers.get("authorization") != f"Bearer {SECRET}":
            return http(401)
        return mcp(made, connection)

    with Server(guarded) as server:
        servers = {"far": {"type": "streamable-http", "url": server.url + "?key=" + SECRET[::-1],
                           "headers": {"Authorization": "Bearer credential:far-token"}}}
        system.start_daemon(servers=servers)
        caller = system.caller()
        path = "/org/hal9000/server/far"
        for number in range(3):
            answer = caller.call(path, "org.hal9000.Server1", "Call", "ss", "tools/call",
                                 f'{{"name": "tool{number}", "arguments": {{}}}}')
            assert f"tool{number}" in answer
        assert mcp.sessions == 1, "shared by all who call"
        everywhere = [system.daemon.pid, *children_of(system.daemon.pid)]
        (remote,) = [pid for pid in everywhere if "hal9000-remote" in seen_of(pid, "cmdline")]
        everybody = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        for pid in everybody:
            for name in ("cmdline", "environ"):
                try:
                    text = seen_of(pid, name)
                except OSError:
                    continue
                assert SECRET not in text and SECRET[::-1] not in text, f"{name} of {pid}"
        for file in (file for folder in ("state", "run") for file in (system.folder / folder).rglob("*")):
            if file.is_file():
                assert SECRET not in file.read_text(encoding="utf-8", errors="replace"), file
        assert SECRET not in system.log() and SECRET[::-1] not in system.log()
        properties = caller.call(path, "org.freedesktop.DBus.Properties", "GetAll", "s", "org.hal9000.Server1")
        assert SECRET not in str(properties) and SECRET[::-1] not in str(properties)
        uid = int(seen_of(remote, "status").split("Uid:")[1].split()[0])
        if "hal9000-remote" in {entry.pw_name for entry in pwd.getpwall()}:
            assert pwd.getpwuid(uid).pw_name == "hal9000-remote"


def test_a_credential_that_is_not_there_is_the_failure_of_its_server_alone(system):
    with Server(Mcp(capabilities={})) as server:
        system.start_daemon(servers={"near": {"url": server.url}})
        system.configure(servers={"near": {"url": server.url},
                                  "far": {"url": server.url, "headers": {"X-Key": "credential:nobody-has-it"}}})
        caller = system.caller()
        caller.manager("Reload")
        assert caller.call("/org/hal9000/server/near", "org.hal9000.Server1", "Call", "ss", "ping", "{}")
        with pytest.raises(Exception, match="credential nobody-has-it"):
            caller.call("/org/hal9000/server/far", "org.hal9000.Server1", "Call", "ss", "ping", "{}")


def test_the_end_of_the_daemon_gives_the_session_back(system):
    with Server(Mcp(capabilities={})) as server:
        system.start_daemon(servers={"far": {"httpUrl": server.url}})
        assert system.caller().call("/org/hal9000/server/far", "org.hal9000.Server1", "Call", "ss", "ping", "{}")
        assert system.end_daemon(signal.SIGTERM) == 0
        assert server.next(lambda made: made.method == "DELETE").headers["mcp-session-id"] == "session-1"
