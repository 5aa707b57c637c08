#!/usr/bin/python3
"""A stand-in for the Messages API, so that the real Claude Code runs whole turns without its cloud.

messages_api.py --script FILE [--record FILE] [--host 127.0.0.1] [--port 0] [--key KEY]

The script is a JSON list of steps, the answers of the model in their order:
  {"tool": "mcp__NAME__TOOL", "input": {...}}          calls a tool
  {"tools": [{"tool": ..., "input": {...}}, ...]}      calls several in one answer
  {"text": "..."}                                      says something and ends the turn
  {"error": "overloaded_error", "status": 529}         an error of the API
Each may have "say" (text before a tool call), "pause_ms" (wait before answering) and "expect" (text that must occur in the
latest message, a tool's result for instance; the answer is a text that begins with SCRIPT MISMATCH if it does not).

The step is found from the conversation itself: it has as many answers of the model as steps are done. So one server
serves any number of conversations. After the last step the answer is "(the script has ended)". Requests without tools
(titles, summaries and the like) are not part of a script and are answered with "ok".

What arrives is appended to the record, one JSON object a line: method, path, headers (no key), body. On stdout stands one
line, "listening on PORT". SIGTERM ends the server.
"""

import argparse
import http.server
import json
import pathlib
import signal
import sys
import threading
import time
import urllib.parse

MAX_BODY_BYTES = 64 * 1024 * 1024
SECRET_HEADERS = {"x-api-key", "authorization", "cookie", "proxy-authorization"}
PIECE_CHARS = 24


def text_of(content):
    """All text in a message's content, tools' results included."""
    if isinstance(content, str):
        return content
    parts = []
    for block in content or []:
        if isinstance(block, dict):
            parts.append(block.get("text") or text_of(block.get("content") or ""))
    return "\n".join(parts)


def tool_blocks(index, calls):
    for number, call in enumerate(calls):
        yield {
            "type": "tool_use",
            "id": f"toolu_{index:04d}_{number:02d}",
            "name": call["tool"],
            "input": call.get("input", {}),
        }


def answer_blocks(step, index, latest):
    """The content blocks of one answer and its stop reason."""
    if "expect" in step and step["expect"] not in latest:
        return [{"type": "text", "text": f"SCRIPT MISMATCH: no {step['expect']!r} in {latest[:2000]!r}"}], "end_turn"
    calls = step.get("tools") or ([step] if "tool" in step else [])
    blocks = []
    said = step.get("say") or step.get("text")
    if said:
        blocks.append({"type": "text", "text": said})
    blocks += tool_blocks(index, calls)
    return blocks, "tool_use" if calls else "end_turn"


class Script:
    def __init__(self, steps):
        if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
            raise ValueError("a script is a list of objects")
        for step in steps:
            if not step.keys() & {"tool", "tools", "text", "error"}:
                raise ValueError(f"a step needs tool, tools, text or error: {step}")
        self.steps = steps

    def step(self, body):
        messages = body.get("messages") or []
        if not body.get("tools"):
            return {"text": "ok"}, 0, ""
        index = sum(1 for message in messages if message.get("role") == "assistant")
        latest = text_of(messages[-1].get("content")) if messages else ""
        if index >= len(self.steps):
            return {"text": "(the script has ended)"}, index, latest
        return self.steps[index], index, latest


def events(message):
    """The server-sent events of a streamed answer."""
    start = {**message, "content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
    yield {"type": "message_start", "message": start}
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            empty, whole = {"type": "text", "text": ""}, block["text"]
        else:
            empty, whole = {**block, "input": {}}, json.dumps(block["input"])
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for at in range(0, len(whole), PIECE_CHARS):
            piece = whole[at : at + PIECE_CHARS]
            if block["type"] == "text":
                delta = {"type": "text_delta", "text": piece}
            else:
                delta = {"type": "input_json_delta", "partial_json": piece}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None},
        "usage": {"output_tokens": message["usage"]["output_tokens"]},
    }
    yield {"type": "message_stop"}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address, script, record, key):
        super().__init__(address, Handler)
        self.script = script
        self.record_path = record
        self.key = key
        self.lock = threading.Lock()
        self.answers = 0

    def record(self, entry):
        if self.record_path:
            with self.lock, open(self.record_path, "a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")

    def next_id(self):
        with self.lock:
            self.answers += 1
            return f"msg_{self.answers:08d}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "messages-api"

    def log_message(self, *_):
        pass

    def read_body(self):
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            self.close_connection = True
            return None
        return self.rfile.read(length)

    def send_json(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def send_error_object(self, status, kind, text):
        self.send_json(status, {"type": "error", "error": {"type": kind, "message": text}})

    def send_events(self, items):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for item in items:
            data = f"event: {item['type']}\ndata: {json.dumps(item)}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def authorized(self):
        key = self.server.key
        if key is None:
            return True
        return self.headers.get("x-api-key") == key or self.headers.get("Authorization") == f"Bearer {key}"

    def handle_request(self):
        raw = self.read_body()
        if raw is None:
            self.send_error_object(413, "request_too_large", "the body is too large")
            return
        path = urllib.parse.urlsplit(self.path).path
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = {"unparsable_bytes": len(raw)} if self.command != "POST" else None
        headers = {name: value for name, value in self.headers.items() if name.lower() not in SECRET_HEADERS}
        auth = sorted(name.lower() for name in self.headers if name.lower() in SECRET_HEADERS)
        self.server.record({"method": self.command, "path": self.path, "auth": auth, "headers": headers, "body": body})
        if not path.startswith("/v1/"):
            self.send_json(200, {})
        elif not self.authorized():
            self.send_error_object(401, "authentication_error", "invalid x-api-key")
        elif self.command == "POST" and path == "/v1/messages":
            self.answer_messages(body)
        elif self.command == "POST" and path == "/v1/messages/count_tokens":
            self.send_json(200, {"input_tokens": max(1, len(raw) // 4)})
        elif self.command in ("GET", "HEAD") and path == "/v1/models":
            self.send_json(200, {"data": [], "has_more": False, "first_id": None, "last_id": None})
        else:
            self.send_error_object(404, "not_found_error", f"no {self.command} {path}")

    def answer_messages(self, body):
        if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
            self.send_error_object(400, "invalid_request_error", "the body is no request for a message")
            return
        step, index, latest = self.server.script.step(body)
        if "pause_ms" in step:
            time.sleep(step["pause_ms"] / 1000)
        if "error" in step:
            self.send_error_object(step.get("status", 500), step["error"], "as the script says")
            return
        content, reason = answer_blocks(step, index, latest)
        message = {
            "id": self.server.next_id(),
            "type": "message",
            "role": "assistant",
            "model": body.get("model", "unknown"),
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 10,
                "output_tokens": 10,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
            },
        }
        if body.get("stream"):
            self.send_events(events(message))
        else:
            self.send_json(200, message)

    do_GET = do_HEAD = do_POST = handle_request


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--script", type=pathlib.Path, required=True)
    parser.add_argument("--record", type=pathlib.Path)
    parser.add_argument("--key", help="refuse requests that do not carry it")
    arguments = parser.parse_args()
    try:
        script = Script(json.loads(arguments.script.read_text()))
    except (OSError, ValueError) as problem:
        sys.exit(f"messages_api.py: {arguments.script}: {problem}")
    server = Server((arguments.host, arguments.port), script, arguments.record, arguments.key)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))
    print(f"listening on {server.server_address[1]}", flush=True)
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
