"""The real hal9000-gateway in front of one server, for one worker with a token; we play the hal9000d of both."""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import threading

LINK_VERSION = 2
WORKER = "conformance"
SERVER = "fixture"


def kill(process):
    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(process.pid, signal.SIGKILL)


class Gateway:
    """Serves http://127.0.0.1:PORT/mcp/fixture; `command` is started whenever the gateway asks for a process."""

    def __init__(self, program, command, mode, log):
        self.command = command
        self.log = log
        self.token = f"{WORKER}.{os.urandom(16).hex()}"
        self.numbers = itertools.count(1)
        self.processes = {}
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.program = subprocess.Popen([program, "--link-fd", str(theirs.fileno())], pass_fds=[theirs.fileno()], stderr=log)
        theirs.close()
        listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = listening.getsockname()[1]
        self.path = f"/mcp/{SERVER}"
        self.introduce(mode, listening)
        self.reader = threading.Thread(target=self.answer, daemon=True)
        self.reader.start()

    def introduce(self, mode, listening):
        hello = self.receive()
        if not hello or hello["kind"] != "hello" or hello["version"] != LINK_VERSION:
            raise RuntimeError(f"the gateway does not speak version {LINK_VERSION} of the link: {hello}")
        self.send({"kind": "hello", "version": LINK_VERSION})
        limits = dict.fromkeys(("max_sessions", "max_requests", "request_timeout_ms", "idle_timeout_ms"), 0)
        self.send({"kind": "server_set", "name": SERVER, "mode": mode, **limits})
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as relays:
            relays.bind("")  # an abstract name nobody knows: this worker comes by HTTP only
            relays.listen()
            worker = {"kind": "worker_add", "id": WORKER, "owner": 1000, "servers": [SERVER], "token": self.token}
            self.send(worker, relays.fileno())
        with listening:
            listening.setblocking(False)
            self.send({"kind": "http_listen", "network": "here"}, listening.fileno())

    def send(self, message, *fds):
        socket.send_fds(self.link, [json.dumps(message).encode()], fds)

    def receive(self):
        try:
            data = self.link.recv(1 << 20)
        except OSError:
            return None
        return json.loads(data) if data else None

    def answer(self):
        """What hal9000d does when a process is asked for or given back."""
        while message := self.receive():
            if message["kind"] == "instance_request":
                self.start(message)
            elif message["kind"] == "instance_release":
                kill(self.processes[message["instance"]])

    def start(self, request):
        number = next(self.numbers)
        process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
                                   start_new_session=True)
        self.processes[number] = process
        attach = {"kind": "instance_attach", "server": SERVER, "instance": number}
        if "session" in request:
            attach["session"] = request["session"]
        self.send(attach, process.stdin.fileno(), process.stdout.fileno())
        process.stdin.close()
        process.stdout.close()
        threading.Thread(target=self.watch, args=(number, process), daemon=True).start()

    def watch(self, number, process):
        code = process.wait()
        with contextlib.suppress(OSError):  # so has the gateway
            self.send({"kind": "instance_gone", "server": SERVER, "instance": number, "reason": f"ended with {code}"})

    def close(self):
        self.program.terminate()
        code = self.program.wait(timeout=10)
        self.link.close()
        for process in self.processes.values():
            kill(process)
            process.wait()
        return code
