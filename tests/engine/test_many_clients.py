"""Five real servers used at once by two real Claude Code workers and by the MCP Inspector's command line."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import uuid

import pytest
from conftest import ROOT, TEST_DIR, run
from system import BUILD, CLAUDY, fresh_system

SERVERS = ("chroma", "everything", "filesystem", "memory-bank", "sequential-thinking")


def installed(folder):
    """The npm packages of a folder below tests/support, where the servers' own users can read them."""
    environment = {**os.environ, "HAL9000_TEST_CACHE": str(TEST_DIR / "npm")}
    return pathlib.Path(run(ROOT / "tests/support/mcp_servers.sh", ROOT / "tests/support" / folder, env=environment, timeout=600).strip()) / "node_modules"


@pytest.fixture(scope="module")
def system(engine_host, build_images, mcp_servers):
    packages = installed("mcp_servers")
    # ${STATE_DIRECTORY} is a server's own, and the only place it is sure to be able to write to.
    everything = {"command": "node", "args": [str(packages / ".bin/mcp-server-everything")]}
    filesystem = {"command": "node", "args": [str(packages / ".bin/mcp-server-filesystem"), "${STATE_DIRECTORY}"]}
    with fresh_system(engine_host, {**mcp_servers, "everything": everything, "filesystem": filesystem}) as system:
        system.start()
        system.until_parent_runs()
        yield system


class Worker:
    """A worker and what its Claude Code is to do: something of its own at each server, read back in the next step."""

    def __init__(self, system, folder, name):
        self.system, self.name, self.mark, self.folder = system, name, uuid.uuid4().hex, folder
        folder.mkdir()
        folder.chmod(0o755)
        system.claudy("spawn", folder, "--name", name, "--", "sleep", "infinity")
        self.id = system.show(name)["id"]
        self.holder = system.docker("inspect", "--format", "{{.State.Pid}}", *system.containers("parent")).strip()

    def steps(self):
        note = {"projectName": self.name, "fileName": "note.md"}
        collection, path = f"c-{self.mark[:12]}", str(self.system.state / "server/filesystem" / f"{self.name}.txt")
        thought = {"thought": self.mark, "thoughtNumber": 1, "totalThoughts": 1, "nextThoughtNeeded": False}
        calls = [
            ("everything__echo", {"message": f"echo {self.mark}"}),
            ("sequential-thinking__sequentialthinking", thought),
            ("memory-bank__memory_bank_write", {**note, "content": f"bank {self.mark}"}),
            ("memory-bank__memory_bank_read", note),
            ("filesystem__write_file", {"path": path, "content": f"file {self.mark}"}),
            ("filesystem__read_text_file", {"path": path}),
            ("chroma__chroma_create_collection", {"collection_name": collection}),
            ("chroma__chroma_add_documents", {"collection_name": collection, "documents": [f"document {self.mark}"], "ids": ["one"]}),
            ("chroma__chroma_query_documents", {"collection_name": collection, "query_texts": ["a document"], "n_results": 1}),
        ]
        # What the answers must have in them; the first thought of a process of one's own is thought number one.
        expected = [f"echo {self.mark}", '"thoughtHistoryLength":1', None, f"bank {self.mark}", None, f"file {self.mark}", None, None, f"document {self.mark}"]
        steps = [{"tool": f"mcp__{tool}", "input": arguments} for tool, arguments in calls] + [{"text": f"done {self.mark}"}]
        for step, text in zip(steps[1:], expected):
            step |= {"expect": text} if text else {}
        return steps

    @contextlib.contextmanager
    def model(self):
        script = self.folder.with_suffix(".json")
        script.write_text(json.dumps(self.steps()))
        model = subprocess.Popen(
            ["nsenter", "-n", "-t", self.holder, sys.executable, ROOT / "tests/fakes/messages_api.py", "--script", script], stdout=subprocess.PIPE, text=True
        )
        try:
            yield model.stdout.readline().split()[-1]
        finally:
            model.terminate()
            model.wait(10)

    def start_claude(self, port):
        # On a busy machine servers take longer to start than Claude Code waits for them before its first turn.
        settings = {"ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}", "ANTHROPIC_API_KEY": "sk-test-not-a-key", "MCP_CONNECT_TIMEOUT_MS": "60000"}
        environment = [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
        allowed = ",".join(f"mcp__{server}" for server in SERVERS)
        return subprocess.Popen(
            [CLAUDY, "exec", *environment, self.name, "--", "claude", "-p", "do it", "--output-format", "json", "--allowedTools", allowed],
            env=self.system.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )


@pytest.fixture(scope="module")
def workers(system, tmp_path_factory):
    return [Worker(system, tmp_path_factory.mktemp("project") / name, name) for name in ("first", "second")]


class Inspector:
    """Its command line, by HTTP with a worker's token as from inside of the workers' network, or with the relay as its server."""

    def __init__(self, system, home):
        self.system, self.environment = system, {"PATH": os.environ["PATH"], "HOME": str(home)}
        packages = installed("mcp_clients")
        node = next(packages.glob("node-linux-*/bin/node"))
        self.command = [node, packages / ".bin/mcp-inspector", "--cli"]

    def by_http(self, worker, server):
        token = (self.system.run_dir / "worker" / worker.id / "token").read_text()
        target = ["--server-url", f"http://127.0.0.1:9000/mcp/{server}", "--transport", "http", "--header", f"Authorization: Bearer {token}"]
        return ["nsenter", "-n", "-t", worker.holder, *self.command, *target]

    def by_relay(self, worker, server):
        socket = self.system.run_dir / "worker" / worker.id / "mcp.sock"
        return [*self.command, BUILD / "src/relay/hal9000-mcp", server, "--socket", socket]

    def start(self, command, *arguments):
        words = [*command, *arguments, "--format", "json", "--quiet"]
        return subprocess.Popen([str(word) for word in words], env=self.environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def inspector(system, tmp_path_factory):
    return Inspector(system, tmp_path_factory.mktemp("home"))


def answer_of(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, (process.args, out, err)
    return json.loads(out)["result"]


def call(tool, **arguments):
    return ["--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments)]


def test_each_gets_its_own_answers(system, workers, inspector):
    """Two turns of Claude Code and, all the while, calls of the Inspector by both ways."""
    with contextlib.ExitStack() as models:
        turns = [worker.start_claude(models.enter_context(worker.model())) for worker in workers]
        rounds = 0
        while rounds == 0 or any(turn.poll() is None for turn in turns):
            rounds += 1
            asked = {}
            for worker in workers:
                for way in (inspector.by_http, inspector.by_relay):
                    mark = uuid.uuid4().hex
                    asked[mark] = inspector.start(way(worker, "everything"), *call("echo", message=mark))
            for mark, process in asked.items():
                assert answer_of(process)["content"] == [{"type": "text", "text": f"Echo: {mark}"}]
        for worker, turn in zip(workers, turns):
            assert answer_of(turn) == f"done {worker.mark}"
    for worker in workers:
        assert worker.mark in (system.state / "server/memory-bank" / worker.name / "note.md").read_text()
    assert rounds > 1, "nothing happened at the same time"


@pytest.mark.parametrize("way", ["by_http", "by_relay"])
@pytest.mark.parametrize("server", SERVERS)
def test_the_inspector_lists_the_tools_of(workers, inspector, server, way):
    assert answer_of(inspector.start(getattr(inspector, way)(workers[0], server), "--method", "tools/list"))["tools"]


def test_many_calls_at_once_by_both_ways(workers, inspector):
    """The Inspector's own load test, from two workers at one process."""
    load = ["--load", "--load-requests", "200", "--load-concurrency", "20"]
    arguments = [*call("echo", message="x"), *load]
    running = [inspector.start(way(worker, "everything"), *arguments) for worker in workers for way in (inspector.by_http, inspector.by_relay)]
    for process in running:
        summary = answer_of(process)
        assert (summary["ok"], summary["errors"], summary["toolErrors"]) == (200, 0, 0), summary
