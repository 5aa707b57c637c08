#!/usr/bin/env python3
"""An MCP server on stdio that does on request what real ones do by accident.

Every message it gets is appended to the file MCP_FAKE_LOG names, one JSON object a line. Tools:
  echo          gives its arguments back
  progress      sends `count` progress notifications, then answers
  hang          never answers, but reads on
  crash         exits with `code` after writing `stderr`
  garbage       writes lines that are no messages, then answers
  huge          answers with a text of `bytes` bytes
  half          writes half an answer and exits
  twice         answers twice
  elicit        asks its client, gives the answer back
  wait          answers when it is released
  begin         writes half of an answer with a text of `bytes` bytes, the rest when it is released
  notify        sends the notification `method` with `params`, then answers
  release       goes on with what waits, the oldest first, then answers
"""
import json
import os
import signal
import sys

log = open(os.environ["MCP_FAKE_LOG"], "a", buffering=1) if "MCP_FAKE_LOG" in os.environ else None
out = sys.stdout.buffer


def send_raw(data):
    out.write(data)
    out.flush()


def send(message):
    send_raw(json.dumps(message).encode() + b"\n")


def answer(request, result):
    send({"jsonrpc": "2.0", "id": request["id"], "result": result})


def text(value):
    return {"content": [{"type": "text", "text": value}]}


waiting = []


def release():
    for rest in waiting:
        send_raw(rest)
    waiting.clear()


def call(request, questions):
    params = request.get("params", {})
    tool = params.get("name")
    arguments = params.get("arguments", {})
    if tool == "echo":
        answer(request, text(json.dumps(arguments)))
    elif tool == "progress":
        token = params["_meta"]["progressToken"]
        for step in range(arguments["count"]):
            send({"jsonrpc": "2.0", "method": "notifications/progress",
                  "params": {"progressToken": token, "progress": step + 1, "total": arguments["count"]}})
        answer(request, text("done"))
    elif tool == "hang":
        pass
    elif tool == "crash":
        sys.stderr.write(arguments.get("stderr", "") + "\n")
        sys.stderr.flush()
        os._exit(arguments.get("code", 3))
    elif tool == "garbage":
        send_raw(b"Listening on stdio\n\n[]\n{\"jsonrpc\":\"2.0\"}\n\xff\xfe\n" + b"[" * 100000 + b"\n")
        answer(request, text("after garbage"))
    elif tool == "huge":
        out.write(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"' % request["id"])
        left = arguments["bytes"]
        chunk = b"x" * 65536
        while left > 0:
            out.write(chunk[:left])
            left -= len(chunk)
        send_raw(b'"}]}}\n')
    elif tool == "half":
        send_raw(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[' % request["id"])
        os._exit(0)
    elif tool == "twice":
        answer(request, text("first"))
        answer(request, text("second"))
    elif tool == "elicit":
        question = "question-%d" % len(questions)
        questions[question] = request
        send({"jsonrpc": "2.0", "id": question, "method": "elicitation/create", "params": {"message": "?"}})
    elif tool in ("wait", "begin"):
        result = text("x" * arguments.get("bytes", 0))
        line = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode() + b"\n"
        begun = len(line) // 2 if tool == "begin" else 0
        if begun:
            send_raw(line[:begun])
        waiting.append(line[begun:])
    elif tool == "notify":
        send({"jsonrpc": "2.0", "method": arguments["method"], "params": arguments["params"]})
        answer(request, text("said"))
    elif tool == "release":
        release()
        answer(request, text("released"))
    else:
        send({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32602, "message": "no such tool"}})


def main():
    if "--ignore-sigterm" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    questions = {}
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if log:
            log.write(json.dumps(message) + "\n")
        method = message.get("method")
        if method == "initialize":
            if "--crash-at-start" in sys.argv:
                os._exit(1)
            if "--mute" in sys.argv:
                continue
            answer(message, {"protocolVersion": "2025-11-25",
                             "capabilities": {"tools": {}, "logging": {}, "resources": {"subscribe": True}},
                             "serverInfo": {"name": "fake", "version": str(os.getpid())}})
        elif method == "tools/list":
            answer(message, {"tools": []})
        elif method == "tools/call":
            call(message, questions)
        elif method is None and message.get("id") in questions:
            answer(questions.pop(message["id"]), text(json.dumps(message.get("result", message.get("error")))))
        elif "id" in message and method is not None:
            answer(message, {})
    if "--ignore-sigterm" in sys.argv:
        while True:
            signal.pause()


main()
