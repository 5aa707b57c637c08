#!/usr/bin/env python3
"""What echo_server.cpp does, as an MCP server in Python does it: reads and writes each message by its json."""

import json
import os

HELLO = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "echo", "version": "1"}}


def answer(line):
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        return b""
    result = HELLO if message["method"] == "initialize" else message.get("params", {})
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode() + b"\n"


def main():
    pieces = []
    while data := os.read(0, 1 << 16):
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join([*pieces, lines[0]])
            pieces = []
        pieces.append(rest)
        output = b"".join(map(answer, lines))
        while output:
            output = output[os.write(1, output):]


main()
