#!/usr/bin/python3
"""Checks that installed MCP servers work: check.py PREFIX (run with the python of PREFIX).

The node servers must answer initialize and tools/list. chroma-mcp needs a database to connect to, so of it the program's
start and the embedding model are checked.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

DEADLINE_S = 180


def ask(process, number, method, params):
    process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + "\n")
    process.stdin.flush()
    for line in process.stdout:
        answer = json.loads(line)
        if answer.get("id") == number:
            return answer["result"]
    raise RuntimeError("it ended without an answer")


def check_server(name, server, state):
    values = {key: value.replace("${STATE_DIRECTORY}", state) for key, value in server["env"].items()}
    process = subprocess.Popen(
        [server["command"], *server["args"]],
        env={**os.environ, **values},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "check", "version": "1"}}
        version = ask(process, 1, "initialize", client)["serverInfo"]["version"]
        process.stdin.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        tools = ask(process, 2, "tools/list", {})["tools"]
        print(f"{name} {version}: {len(tools)} tools")
    finally:
        process.kill()
        process.wait()


def check_chroma(server):
    subprocess.run([server["command"], *server["args"], "--help"], stdout=subprocess.DEVNULL, check=True)
    # How alike the sentences are to each other, as the model's authors publish it.
    probe = """
import sys, numpy
sys.path.insert(0, sys.argv[1])
import launch
a, b, c = numpy.array(launch.ONNXMiniLM_L6_V2()(
    ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]))
got = [a @ b, a @ c, b @ c]
assert numpy.allclose(got, [0.6660, 0.1046, 0.1411], atol=2e-4), got
"""
    folder = str(pathlib.Path(server["args"][0]).parent)
    subprocess.run([server["command"], "-c", probe, folder], check=True)
    print("chroma: starts, embeds text")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    # No step below is unbounded: past the deadline the whole check ends, its children with it.
    os.setpgid(0, 0)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(0, signal.SIGKILL))
    signal.alarm(DEADLINE_S)
    servers = json.loads((pathlib.Path(sys.argv[1]) / "mcp.json").read_text())["mcpServers"]
    with tempfile.TemporaryDirectory() as state:
        for name in ("memory-bank", "sequential-thinking"):
            check_server(name, servers[name], state)
    check_chroma(servers["chroma"])


if __name__ == "__main__":
    main()
