"""The MCP servers that are started by default, alone and with the real Claude Code."""

import json
import os
import pathlib
import subprocess
import sys
import threading

import pytest

from conftest import IMAGE_CACHE, ROOT, run


class Client:
    """Speaks newline-framed JSON-RPC with a server's own stdin and stdout."""

    def __init__(self, server, state, prefix=()):
        values = {key: value.replace("${STATE_DIRECTORY}", str(state)) for key, value in server["env"].items()}
        self.process = subprocess.Popen(
            [*prefix, server["command"], *server["args"]],
            env={"PATH": os.environ["PATH"], **values},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.guard = threading.Timer(120, self.process.kill)
        self.guard.start()
        self.last_id = 0

    def request(self, method, **params):
        self.last_id += 1
        self.send({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params})
        for line in self.process.stdout:
            answer = json.loads(line)
            if answer.get("id") == self.last_id:
                return answer["result"]
        raise AssertionError(f"no answer to {method}")

    def send(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def initialize(self):
        client = {"name": "test", "version": "1"}
        result = self.request("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=client)
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return result

    def call(self, tool, **arguments):
        result = self.request("tools/call", name=tool, arguments=arguments)
        assert not result.get("isError"), result
        return result["content"][0]["text"]

    def end(self):
        """Closes the server's input; it must end by itself."""
        self.process.stdin.close()
        try:
            return self.process.wait(20)
        finally:
            self.guard.cancel()
            self.process.kill()
            self.process.wait()


@pytest.fixture
def client(mcp_servers, tmp_path):
    clients = []

    def connect(name, prefix=()):
        clients.append(Client(mcp_servers[name], tmp_path, prefix))
        clients[-1].initialize()
        return clients[-1]

    yield connect
    for each in clients:
        assert each.end() == 0


def test_the_configuration_has_the_three_servers_and_their_modes(mcp_servers):
    ours = {name: server["hal9000"] for name, server in mcp_servers.items()}
    assert ours == {
        "memory-bank": {"mode": "shared", "network": "none"},
        "sequential-thinking": {"mode": "session", "network": "none"},
        "chroma": {"mode": "shared", "network": "parent"},
    }


def test_memory_bank_writes_below_its_state_directory(client, tmp_path):
    bank = client("memory-bank")
    bank.call("memory_bank_write", projectName="p", fileName="note.md", content="kept")
    assert (tmp_path / "p" / "note.md").read_text() == "kept"
    assert "kept" in bank.call("memory_bank_read", projectName="p", fileName="note.md")


def test_sequential_thinking_takes_a_thought(client):
    thought = {"thought": "a", "thoughtNumber": 1, "totalThoughts": 2, "nextThoughtNeeded": True}
    assert json.loads(client("sequential-thinking").call("sequentialthinking", **thought))["thoughtNumber"] == 1


def test_chroma_finds_a_document_by_its_meaning(client, database):
    chroma = client("chroma", prefix=("nsenter", "-n", "-t", str(database)))
    texts = ["The cat sleeps on the sofa.", "Stock markets fell sharply today."]
    chroma.call("chroma_create_collection", collection_name="notes")
    chroma.call("chroma_add_documents", collection_name="notes", documents=texts, ids=["cat", "market"])
    for question, answer in [("a feline at rest", "cat"), ("the economy", "market")]:
        found = json.loads(chroma.call("chroma_query_documents", collection_name="notes", query_texts=[question], n_results=1))
        assert found["ids"] == [[answer]]
    assert chroma.call("chroma_get_collection_count", collection_name="notes") == "2"
    assert "cat" in chroma.call("chroma_peek_collection", collection_name="notes")


@pytest.fixture
def messages_api(tmp_path):
    servers = []

    def serve(steps, key):
        script = tmp_path / "script.json"
        script.write_text(json.dumps(steps))
        command = [sys.executable, ROOT / "tests/fakes/messages_api.py", "--script", script, "--record", tmp_path / "record", "--key", key]
        servers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return int(servers[-1].stdout.readline().removeprefix("listening on "))

    yield serve
    for server in servers:
        server.terminate()
        assert server.wait(10) == 0


def test_claude_uses_the_servers_in_a_whole_turn(mcp_servers, messages_api, tmp_path):
    thought = {"thought": "a", "thoughtNumber": 1, "totalThoughts": 1, "nextThoughtNeeded": False}
    page = {"projectName": "p", "fileName": "note.md", "content": "written by the model"}
    port = messages_api(
        [
            {"tool": "mcp__sequential-thinking__sequentialthinking", "input": thought},
            {"expect": "thoughtHistoryLength", "tool": "mcp__memory-bank__memory_bank_write", "input": page},
            {"expect": "note.md", "text": "all done"},
        ],
        key="sk-ant-test",
    )
    config = {"mcpServers": {name: {key: mcp_servers[name][key] for key in ("command", "args", "env")}
                             for name in ("memory-bank", "sequential-thinking")}}  # fmt: skip
    config["mcpServers"]["memory-bank"]["env"] = {"MEMORY_BANK_ROOT": str(tmp_path / "bank")}
    (tmp_path / "bank").mkdir()
    (tmp_path / "mcp.json").write_text(json.dumps(config))
    tools = "mcp__sequential-thinking__sequentialthinking,mcp__memory-bank__memory_bank_write"
    environment = {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
        "ANTHROPIC_API_KEY": "sk-ant-test",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }
    claude = pathlib.Path(run(ROOT / "docker/worker/fetch-claude.sh", IMAGE_CACHE, "/dev/null", timeout=600).strip())
    said = run(
        claude, "-p", "go", "--mcp-config", tmp_path / "mcp.json", "--strict-mcp-config", "--allowedTools", tools,
        "--output-format", "json", env=environment, cwd=tmp_path, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert json.loads(said)["result"] == "all done"
    assert (tmp_path / "bank" / "p" / "note.md").read_text() == "written by the model"
    record = (tmp_path / "record").read_text()
    assert "sk-ant-test" not in record
    assert sum(json.loads(line)["path"].startswith("/v1/messages") for line in record.splitlines()) == 3
