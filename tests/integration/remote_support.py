"""The real hal9000-remote, and an HTTP server that says exactly what a test tells it to."""
import json
import os
import queue
import select
import signal
import socket
import subprocess
import threading
import time

from conftest import BUILD, DEADLINE

PROGRAM = BUILD / "src/remote/hal9000-remote"
INITIALIZE = {"jsonrpc": "2.0", "id": 0, "method": "initialize",
              "params": {"protocolVersion": "2025-11-25", "capabilities": {"roots": {}},
                         "clientInfo": {"name": "test", "version": "1"}}}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def request(identity, method, **params):
    return {"jsonrpc": "2.0", "id": identity, "method": method, "params": params}


def result(identity, **members):
    return {"jsonrpc": "2.0", "id": identity, "result": members}


def text_of(message):
    return message["error"]["message"]


class Remote:
    """hal9000-remote as a child; the test is its client."""

    def __init__(self, url, transport="http", headers=None, timeout_ms=30_000, proxy="", log=subprocess.DEVNULL, env=None,
                 program=PROGRAM, user=None):
        self.process = subprocess.Popen([str(program), "far"], user=user, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=log, env={"LC_ALL": "C.UTF-8", **(env or {})})
        self.buffer = b""
        self.send({"url": url, "transport": transport, "headers": headers or {}, "timeout_ms": timeout_ms, "proxy": proxy})

    def send(self, *messages):
        for message in messages:
            self.process.stdin.write((message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n")
        self.process.stdin.flush()

    def line(self):
        end = time.monotonic() + DEADLINE
        pieces = [self.buffer]
        while b"\n" not in pieces[-1]:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            assert ready, "nothing came"
            pieces.append(os.read(self.process.stdout.fileno(), 1 << 20))
            assert pieces[-1], "it has ended"
        line, self.buffer = b"".join(pieces).split(b"\n", 1)
        return line

    def receive(self):
        return json.loads(self.line())

    def ask(self, message):
        """The answer to a request; what comes before it must be none of another."""
        self.send(message)
        return self.answer(message["id"])

    def answer(self, identity):
        while True:
            message = self.receive()
            if "method" not in message:
                assert message["id"] == identity, message
                return message

    def initialize(self):
        answer = self.ask(INITIALIZE)
        assert "result" in answer, answer
        self.send(INITIALIZED)
        return answer["result"]

    def nothing_comes(self):
        """A ping, which all servers here answer, comes back before anything else."""
        assert self.ask(request("nothing else", "ping"))["result"] == {}

    def end(self):
        self.process.stdin.close()
        try:
            return self.process.wait(DEADLINE)
        finally:
            self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        if not self.process.stdin.closed:
            self.process.stdin.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


class Request:
    def __init__(self, line, header, body):
        self.method, self.target, _ = line.split(" ")
        self.headers = {name.lower(): value.strip() for name, value in (one.split(":", 1) for one in header)}
        self.body = body

    @property
    def message(self):
        return json.loads(self.body)


def http(status, body=b"", **headers):
    """A whole answer; the name of a header has _ for -."""
    if not isinstance(body, bytes):
        headers.setdefault("Content_Type", "application/json")
        body = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


EVENTS = b"HTTP/1.1 200 x\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def event(message, identity=None, name=None):
    data = message if isinstance(message, str) else json.dumps(message)
    text = f"id: {identity}\n" if identity is not None else ""
    text += f"event: {name}\n" if name else ""
    return (text + f"data: {data}\n\n").encode()


class Connection:
    def __init__(self, server, stream):
        self.server = server
        self.stream = stream

    def send(self, data):
        self.stream.sendall(data)

    def cut(self):
        """With what was sent still to be read, then an end that HTTP does not expect."""
        self.stream.shutdown(socket.SHUT_RDWR)

    def gone(self):
        """Waits until the client has closed its end."""
        self.stream.settimeout(DEADLINE)
        return self.stream.recv(1) == b""


class Server:
    """Calls `script(request, connection)` in a thread of the connection; bytes that it returns are sent."""

    def __init__(self, script, tls=None, port=0):
        self.script = script
        self.tls = tls
        self.seen = queue.Queue()
        self.failures = []
        self.streams = []
        self.listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://{self.host}/mcp"

    def accept(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            self.streams.append(stream)
            threading.Thread(target=self.serve, args=[stream], daemon=True).start()

    def serve(self, stream):
        try:
            if self.tls:
                stream = self.tls.wrap_socket(stream, server_side=True)
            reader = stream.makefile("rb")
            while line := reader.readline().decode().rstrip():
                header = []
                while one := reader.readline().decode().rstrip():
                    header.append(one)
                made = Request(line, header, b"")
                made.body = reader.read(int(made.headers.get("content-length", 0)))
                self.seen.put(made)
                answer = self.script(made, Connection(self, stream))
                if answer is not None:
                    stream.sendall(answer)
        except OSError:
            pass
        except Exception as error:  # the test's own: it is told at the end
            self.failures.append(error)
        finally:
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            stream.close()

    def next(self, matches=lambda _: True):
        """The next request that fits."""
        end = time.monotonic() + DEADLINE
        while True:
            made = self.seen.get(timeout=max(0.001, end - time.monotonic()))
            if matches(made):
                return made

    def next_message(self, method):
        return self.next(lambda made: made.method == "POST" and made.message.get("method") == method)

    def close(self):
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
        for stream in self.streams:
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        assert not self.failures, self.failures

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Mcp:
    """A script that is a small MCP server with sessions; `methods` and `get` say what a test wants otherwise."""

    def __init__(self, get=None, capabilities=None, **methods):
        self.sessions = 0
        self.valid = set()
        self.get = get
        self.capabilities = capabilities or {}
        self.methods = methods

    def __call__(self, made, connection):
        if made.method == "DELETE":
            return http(200)
        if made.method == "GET":
            return self.get(made, connection) if self.get else http(405)
        message = made.message
        method = message.get("method", "response").replace("/", "_")
        if method == "initialize" and method not in self.methods:
            self.sessions += 1
            self.valid = {f"session-{self.sessions}"}
            return http(200, result(message["id"], protocolVersion="2025-11-25", capabilities=self.capabilities,
                                    serverInfo={"name": "scripted", "version": "1"}),
                        Mcp_Session_Id=f"session-{self.sessions}")
        if method in self.methods:
            return self.methods[method](made, connection)
        if "mcp-session-id" in made.headers and made.headers["mcp-session-id"] not in self.valid:
            return http(404)
        return http(200, result(message["id"])) if "id" in message and "method" in message else http(202)


def ended_by(process, number=signal.SIGTERM):
    process.send_signal(number)
    return process.wait(DEADLINE)
