"""A real server that speaks revision 2026-07-28 only, through the whole of hal9000d and hal9000-gateway."""
import json

import pytest

from conftest import SOURCE
from test_remote_servers import packages


@pytest.mark.parametrize("mode", ["shared", "session"])
def test_a_server_without_a_handshake_answers_callers_that_have_one(system, mode):
    folder = packages("tests/conformance")
    (node,) = folder.glob("node_modules/node-linux-*/bin/node")
    server = {"command": str(node), "args": [str(SOURCE / "tests/conformance/fixture/server.mjs"), str(folder), "--modern"],
              "hal9000": {"mode": mode}}
    system.start_daemon(servers={"new": server})
    caller = system.caller()
    path = "/org/hal9000/server/new"
    for _ in range(2):
        answer = caller.call(path, "org.hal9000.Server1", "Call", "ss", "tools/call",
                             '{"name": "test_simple_text", "arguments": {}}')
        assert json.loads(answer)["content"][0]["text"] == "This is a simple text response for testing."
    properties = str(caller.call(path, "org.freedesktop.DBus.Properties", "GetAll", "s", "org.hal9000.Server1"))
    assert "running" in properties
