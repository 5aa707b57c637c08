#!/usr/bin/python3
"""org.hal9000 for tests of clients: the D-Bus API of dbus/*.xml on this machine's own processes instead of containers.

A worker is a tmux server that runs the command, as in a real one; Exec starts a process here. What has no meaning
without an engine (limits, images) is only kept. Prints "ready" when the name is owned.

usage: fake_hal9000d.py FOLDER      (the bus is DBUS_SYSTEM_BUS_ADDRESS; sockets and logs live in FOLDER)
"""
import fcntl
import hashlib
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
import time

import dbus
import dbus.service
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

ROOT = "/org/hal9000"
PROPERTIES = "org.freedesktop.DBus.Properties"
OPTION_TYPES = {
    "name": dbus.String, "profile": dbus.String, "image": dbus.String, "command": dbus.Array, "env": dbus.Dictionary,
    "memory": dbus.UInt64, "cpus": dbus.Double, "pids": dbus.UInt64, "read_only": dbus.Boolean, "network": dbus.String,
    "servers": dbus.Array, "claim": dbus.String, "request_id": dbus.String, "wait": dbus.Boolean,
}


def error(name, message):
    return dbus.DBusException(message, name=f"org.hal9000.Error.{name}")


def check_options(options, known):
    for key, value in options.items():
        if key not in known:
            raise error("InvalidArgument", f"unknown option '{key}'")
        if not isinstance(value, known[key]):
            raise error("InvalidArgument", f"option '{key}' has the wrong type")


def set_size(terminal, rows, columns):
    """By the path of the program's side: who keeps it open would hide its end, or the client's."""
    fd = os.open(terminal, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    finally:
        os.close(fd)


class Exported(dbus.service.Object):
    """An object with one interface whose properties are a dictionary."""

    def __init__(self, daemon, path, interface, properties):
        super().__init__(daemon.bus, path)
        self.daemon, self.path, self.interface, self.properties = daemon, path, interface, properties

    @dbus.service.method(PROPERTIES, in_signature="s", out_signature="a{sv}")
    def GetAll(self, _interface):
        return self.properties

    @dbus.service.signal(PROPERTIES, signature="sa{sv}as")
    def PropertiesChanged(self, interface, changed, invalidated):
        pass

    def change(self, **values):
        self.properties.update(values)
        self.PropertiesChanged(self.interface, values, [])


class Worker(Exported):
    INTERFACE = "org.hal9000.Worker1"

    def __init__(self, daemon, number, owner, workspace, options):
        self.id = f"{number:012x}"
        digest = hashlib.sha256(workspace.encode()).hexdigest()[:8]
        name = str(options.get("name", f"{os.path.basename(workspace)}-{digest}"))
        self.programs = {}
        self.folder = os.path.join(daemon.folder, self.id)
        os.mkdir(self.folder)
        self.exit_file = os.path.join(self.folder, "exit")
        super().__init__(daemon, f"{ROOT}/worker/{self.id}", self.INTERFACE, {
            "Id": self.id, "Name": name, "State": "creating", "Reason": "", "Owner": dbus.UInt32(owner),
            "Workspace": workspace, "Profile": str(options.get("profile", "default")),
            "Image": str(options.get("image", "hal9000/worker-minimal")), "ContainerId": "c" + self.id,
            "Pid": dbus.UInt32(0), "Servers": dbus.Array(options.get("servers", ["memory"]), signature="s"),
            "CreatedUSec": dbus.UInt64(time.time() * 1e6), "LastActivityUSec": dbus.UInt64(0),
            "MemoryCurrent": dbus.UInt64(52 << 20), "MemoryMax": dbus.UInt64(options.get("memory", 4 << 30)),
            "CPUUsageNSec": dbus.UInt64(1_500_000_000), "CPUMax": dbus.Double(options.get("cpus", 2.0)),
            "TasksCurrent": dbus.UInt64(3), "TasksMax": dbus.UInt64(options.get("pids", 100)),
            "Restarts": dbus.UInt32(0), "ExitCode": dbus.Int32(-1)})
        self.environment = {str(k): str(v) for k, v in options.get("env", {}).items()}
        self.command = [str(word) for word in options.get("command", ["claude"])]
        self.options = dict(options)

    def tmux_socket(self):
        """One server a life: that of the life before may still be ending."""
        return os.path.join(self.folder, f"tmux{self.properties['Restarts']}")

    def tmux(self, *words, **options):
        return subprocess.run(["tmux", "-S", self.tmux_socket(), *words], check=True,
                              capture_output=True, text=True, **options)

    def start(self):
        """The command under tmux; its end is seen by the pipe it holds."""
        conf = os.path.join(os.path.dirname(__file__), "../../docker/worker/tmux.conf")
        read_end, write_end = os.pipe()
        life = int(self.properties["Restarts"])
        GLib.io_add_watch(read_end, GLib.PRIORITY_LOW, GLib.IO_HUP, self.on_command_end, life)
        wrapper = '"$@"; echo $? >"$HAL_EXIT_FILE"'
        environment = {**os.environ, **self.environment, "HAL_EXIT_FILE": self.exit_file}
        subprocess.run(["tmux", "-S", self.tmux_socket(), "-f", conf, "new-session", "-d", "-x", "80",
                        "-y", "24", "sh", "-c", wrapper, "sh", *self.command],
                       check=True, env=environment, cwd=self.properties["Workspace"], pass_fds=[write_end])
        os.close(write_end)
        self.change(State="running", Pid=dbus.UInt32(os.getpid()))

    def on_command_end(self, fd, _condition, life):
        os.close(fd)
        if life != self.properties["Restarts"]:
            return False
        try:
            with open(self.exit_file, encoding="ascii") as file:
                code = int(file.read())
        except (OSError, ValueError):
            code = 137
        if self.properties["State"] not in ("exited", "failed"):
            self.change(State="exited", ExitCode=dbus.Int32(code), Pid=dbus.UInt32(0))
        return False

    def need_running(self):
        if self.properties["State"] not in ("running", "unhealthy"):
            raise error("Busy", f"worker {self.properties['Name']} is {self.properties['State']}")

    def remember(self, process, terminal=None):
        number = str(len(self.programs) + 1)
        program = {"code": None, "waiting": [], "terminal": terminal}
        self.programs[number] = program

        def on_exit(_pid, status):
            program["code"] = os.waitstatus_to_exitcode(status)
            if program["code"] < 0:
                program["code"] = 128 - program["code"]
            for reply in program["waiting"]:
                reply(program["code"])

        GLib.child_watch_add(GLib.PRIORITY_DEFAULT, process.pid, on_exit)
        process.returncode = 0  # GLib reaps it
        return number

    def on_terminal(self, command, options, **more):
        master, slave = pty.openpty()
        terminal = os.ttyname(slave)
        set_size(terminal, int(options.get("rows", 24)), int(options.get("columns", 80)))
        try:
            process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                       preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), **more)
            return dbus.types.UnixFd(master), self.remember(process, terminal)
        except OSError as failure:
            raise error("NotFound", f"{command[0]}: {failure.strerror}") from None
        finally:
            os.close(master)
            os.close(slave)

    @dbus.service.method(INTERFACE, in_signature="a{sv}", out_signature="hs")
    def Attach(self, options):
        check_options(options, {"rows": dbus.UInt16, "columns": dbus.UInt16, "term": dbus.String})
        self.need_running()
        return self.on_terminal(["tmux", "-S", self.tmux_socket(), "attach"], options,
                                env={**os.environ, "TERM": str(options.get("term", "xterm-256color"))})

    @dbus.service.method(INTERFACE, in_signature="asa{sv}", out_signature="hs")
    def Exec(self, argv, options):
        check_options(options, {"rows": dbus.UInt16, "columns": dbus.UInt16, "terminal": dbus.Boolean,
                                "env": dbus.Dictionary, "cwd": dbus.String, "stderr": dbus.types.UnixFd})
        self.need_running()
        command = [str(word) for word in argv]
        cwd = str(options.get("cwd", self.properties["Workspace"]))
        env = {**os.environ, **{str(k): str(v) for k, v in options.get("env", {}).items()}}
        if options.get("terminal"):
            return self.on_terminal(command, options, cwd=cwd, env=env)
        ours, theirs = socket.socketpair()
        errors = options["stderr"].take() if "stderr" in options else theirs.fileno()
        try:
            process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=errors, cwd=cwd, env=env)
        except OSError as failure:
            raise error("NotFound", f"{command[0]}: {failure.strerror}") from None
        finally:
            if "stderr" in options:
                os.close(errors)
            theirs.close()
        stream = dbus.types.UnixFd(ours)
        ours.close()
        return stream, self.remember(process)

    @dbus.service.method(INTERFACE, in_signature="s", out_signature="i", async_callbacks=("reply", "fail"))
    def WaitExec(self, number, reply, fail):
        program = self.programs.get(str(number))
        if program is None:
            fail(error("NotFound", "no such program"))
        elif program["code"] is not None:
            reply(program["code"])
        else:
            program["waiting"].append(reply)

    @dbus.service.method(INTERFACE, in_signature="sqq")
    def ResizeTerminal(self, number, rows, columns):
        with open(os.path.join(self.folder, "sizes"), "a", encoding="ascii") as file:
            file.write(f"{number} {rows} {columns}\n")
        program = self.programs.get(str(number))
        if program is None or program["terminal"] is None:
            raise error("NotFound", "no such terminal")
        set_size(program["terminal"], rows, columns)

    @dbus.service.method(INTERFACE, in_signature="s")
    def Send(self, text):
        self.need_running()
        for part in re.findall(r"[^\n]+|\n", str(text)):
            self.tmux("send-keys", *(["Enter"] if part == "\n" else ["-l", "--", part]))

    @dbus.service.method(INTERFACE, in_signature="u", out_signature="s")
    def Capture(self, lines):
        self.need_running()
        return self.tmux("capture-pane", "-p", *(["-S", f"-{lines}"] if lines else [])).stdout

    @dbus.service.method(INTERFACE, in_signature="a{sv}", out_signature="h")
    def Logs(self, options):
        check_options(options, {"follow": dbus.Boolean, "tail": dbus.UInt32, "timestamps": dbus.Boolean})
        lines = [f"line {n}\n" for n in range(1, 6)]
        if "tail" in options:
            lines = lines[-int(options["tail"]):] if options["tail"] else []
        if options.get("timestamps"):
            lines = [f"2026-01-01T00:00:00Z {line}" for line in lines]
        read_end, write_end = os.pipe()
        os.write(write_end, "".join(lines).encode())
        stream = dbus.types.UnixFd(read_end)
        os.close(read_end)
        if options.get("follow"):
            self.daemon.followed.append(write_end)
        else:
            os.close(write_end)
        return stream

    @dbus.service.method(INTERFACE, in_signature="u")
    def Stop(self, timeout_ms):
        self.daemon.note("Stop", self.properties["Name"], int(timeout_ms))
        self.end("exited", 143)

    def end(self, state, code):
        if self.properties["State"] in ("exited", "failed"):
            return
        self.change(State=state, ExitCode=dbus.Int32(code), Pid=dbus.UInt32(0))
        subprocess.run(["tmux", "-S", self.tmux_socket(), "kill-server"], capture_output=True, check=False)

    @dbus.service.method(INTERFACE, in_signature="s")
    def Kill(self, name):
        self.daemon.note("Kill", self.properties["Name"], str(name))
        if name not in ("SIGKILL", "KILL", "9", "TERM"):
            raise error("InvalidArgument", f"'{name}' is no signal")
        self.end("failed", 137)

    @dbus.service.method(INTERFACE)
    def Remove(self):
        self.end("exited", 137)
        self.remove_from_connection()
        del self.daemon.workers[self.id]
        self.daemon.InterfacesRemoved(self.path, [self.INTERFACE])

    @dbus.service.method(INTERFACE)
    def Restart(self):
        self.end("exited", 137)
        self.change(Restarts=dbus.UInt32(self.properties["Restarts"] + 1), ExitCode=dbus.Int32(-1))
        self.start()

    @dbus.service.method(INTERFACE)
    def Pause(self):
        self.need_running()
        self.change(State="unhealthy", Reason="paused")

    @dbus.service.method(INTERFACE)
    def Resume(self):
        self.need_running()
        self.change(State="running", Reason="")

    @dbus.service.method(INTERFACE, in_signature="a{sv}")
    def SetLimits(self, limits):
        names = {"memory": "MemoryMax", "cpus": "CPUMax", "pids": "TasksMax"}
        check_options(limits, {key: OPTION_TYPES[key] for key in names})
        self.change(**{names[key]: value for key, value in limits.items()})


class Server(Exported):
    INTERFACE = "org.hal9000.Server1"

    def __init__(self, daemon, name, mode):
        super().__init__(daemon, f"{ROOT}/server/{name}", self.INTERFACE, {
            "Name": name, "State": "running", "Reason": "", "Mode": mode, "Unit": "", "MainPID": dbus.UInt32(4711),
            "Sessions": dbus.UInt32(1), "Restarts": dbus.UInt32(0), "Requests": dbus.UInt64(12),
            "Errors": dbus.UInt64(1), "ToolCalls": dbus.UInt64(10), "RefusedCalls": dbus.UInt64(2),
            "BytesReceived": dbus.UInt64(2048), "BytesSent": dbus.UInt64(4096),
            "Latency": dbus.Array([(dbus.UInt64(16), dbus.UInt64(9)), (dbus.UInt64(4096), dbus.UInt64(3))],
                                  signature="(tt)"),
            "SessionList": dbus.Array([dbus.Struct(
                ("01234567", "worker1", dbus.UInt32(0), *[dbus.UInt64(n) for n in (12, 10, 2, 1, 2048, 4096)],
                 dbus.Array([(dbus.UInt64(32), dbus.UInt64(1))], signature="(tt)")),
                signature="ssutttttta(tt)")], signature="(ssutttttta(tt))"),
            "ProtocolVersion": "2025-06-18",
            "ServerInfo": json.dumps({"name": name, "version": "1"})})

    @dbus.service.method(INTERFACE)
    def Start(self):
        self.change(State="running", MainPID=dbus.UInt32(4711))

    @dbus.service.method(INTERFACE)
    def Stop(self):
        self.change(State="stopped", MainPID=dbus.UInt32(0))

    @dbus.service.method(INTERFACE)
    def Restart(self):
        self.change(Restarts=dbus.UInt32(self.properties["Restarts"] + 1))

    @dbus.service.method(INTERFACE, in_signature="ss", out_signature="s")
    def Call(self, method, params):
        params = json.loads(params or "{}")
        if method == "tools/call":
            failed = params["name"] != "echo"
            text = f"there is no tool {params['name']}" if failed else json.dumps(params["arguments"])
            return json.dumps({"content": [{"type": "text", "text": text}], "isError": failed})
        if method != "tools/list":
            raise error("NotFound", f"the server does not know {method}")
        schema = {"type": "object", "properties": {"text": {}, "times": {}}, "required": ["text"]}
        pages = {None: {"tools": [{"name": "echo", "description": "Says it\nagain", "inputSchema": schema}],
                        "nextCursor": "2"}, "2": {"tools": [{"name": "fail"}]}}
        return json.dumps({**pages.get(params.get("cursor"), pages[None]), "params": params})


    @dbus.service.method(INTERFACE, in_signature="a{sv}", out_signature="h")
    def Trace(self, options):
        check_options(options, {"payloads": dbus.Boolean, "worker": dbus.String})
        self.daemon.note("Trace", {key: str(value) for key, value in options.items()})
        common = {"time": 1700000000000001, "session": "01234567", "worker": "w1", "owner": 0}
        lines = [{**common, "from": "client", "kind": "request", "method": "tools/call", "tool": "echo", "id": 1,
                  "bytes": 70, **({"payload": "{\"x\":1}"} if options.get("payloads") else {})},
                 {**common, "from": "server", "kind": "error", "method": "tools/call", "tool": "echo", "id": 1,
                  "bytes": 2048, "duration_usec": 1500, "outcome": "error"},
                 {"lost": 3}]
        end = {"memory": {"end": "worker-gone", "reason": "worker w1 is gone"},
               "thinking": {"end": "stopped", "reason": "hal9000d was restarted"}}
        read_end, write_end = os.pipe()
        if options.get("worker"):
            lines.append(end[self.properties["Name"]])
            os.write(write_end, "".join(json.dumps(line) + "\n" for line in lines).encode())
            os.close(write_end)
        else:
            os.write(write_end, "".join(json.dumps(line) + "\n" for line in lines).encode())
            self.daemon.followed.append(write_end)
        stream = dbus.types.UnixFd(read_end)
        os.close(read_end)
        return stream


class Parent(Exported):
    INTERFACE = "org.hal9000.Parent1"

    def __init__(self, daemon):
        super().__init__(daemon, f"{ROOT}/parent", self.INTERFACE, {
            "State": "running", "Reason": "", "ContainerId": "p1", "Pid": dbus.UInt32(1), "ChromaContainerId": "c1",
            "ChromaHealth": "healthy"})

    @dbus.service.method(INTERFACE)
    def RestartChroma(self):
        self.daemon.note("RestartChroma")


class Pool(Exported):
    INTERFACE = "org.hal9000.Pool1"
    TYPES = {"min": dbus.UInt32, "max": dbus.UInt32, "idle_timeout_usec": dbus.UInt64}

    def __init__(self, daemon):
        super().__init__(daemon, f"{ROOT}/pool", self.INTERFACE, {
            "Min": dbus.UInt32(2), "Max": dbus.UInt32(5), "IdleTimeoutUSec": dbus.UInt64(300_000_000),
            "Target": dbus.UInt32(2), "Warm": dbus.UInt32(1), "Starting": dbus.UInt32(1), "Claimed": dbus.UInt32(0),
            "Hits": dbus.UInt64(7), "Misses": dbus.UInt64(3),
            "ClaimTimes": dbus.Array([(dbus.UInt64(4096), dbus.UInt64(6)), (dbus.UInt64(2**64 - 1), dbus.UInt64(1))],
                                     signature="(tt)"),
            "Pressure": "none", "Drained": False,
            "Reason": "1 is being made"})

    @dbus.service.method(INTERFACE, in_signature="a{sv}")
    def Configure(self, settings):
        check_options(settings, self.TYPES)
        if settings.get("min", 0) > settings.get("max", 5):
            raise error("InvalidArgument", f"min {settings['min']} must not be more than max")
        self.change(**{{"min": "Min", "max": "Max", "idle_timeout_usec": "IdleTimeoutUSec"}[key]: value
                       for key, value in settings.items()})

    @dbus.service.method(INTERFACE, in_signature="u", out_signature="o")
    def Warm(self, count):
        failed = "making workers keeps failing" if count == 13 else ""
        self.change(Warm=dbus.UInt32(count))
        return self.daemon.run_job(failed)

    @dbus.service.method(INTERFACE, out_signature="o")
    def Drain(self):
        self.change(Warm=dbus.UInt32(0), Drained=True)
        return self.daemon.run_job("")

    @dbus.service.method(INTERFACE, out_signature="u")
    def Cleanup(self):
        return 4


class Job(Exported):
    INTERFACE = "org.hal9000.Job1"

    def __init__(self, daemon, number, message):
        super().__init__(daemon, f"{ROOT}/job/{number}", self.INTERFACE, {
            "Id": dbus.UInt32(number), "State": "finished", "Message": message, "Result": "failed" if message else "done"})


class Daemon(Exported):
    INTERFACE = "org.hal9000.Manager1"
    MANAGER = "org.freedesktop.DBus.ObjectManager"

    def __init__(self, bus, folder):
        self.bus, self.folder = bus, folder
        self.workers, self.followed, self.requests, self.created = {}, [], {}, 0
        super().__init__(self, ROOT, self.INTERFACE, {
            "Version": "0.1.0", "State": "running", "NWorkers": dbus.UInt32(0),
            "Engine": dbus.Dictionary({"available": True, "version": "20.10", "reason": ""}, signature="sv"),
            "Features": dbus.Array(["fake"], signature="s")})
        self.parent = Parent(self)
        self.pool = Pool(self)
        self.jobs = []
        self.servers = [Server(self, "memory", "shared"), Server(self, "thinking", "session")]

    def note(self, *words):
        with open(os.path.join(self.folder, "calls"), "a", encoding="utf-8") as file:
            file.write(json.dumps(words) + "\n")

    def run_job(self, failure):
        """One that ends before the call is answered, and is told so at once."""
        job = Job(self, len(self.jobs) + 1, failure)
        self.jobs.append(job)
        self.JobRemoved(job.properties["Id"], job.path, job.properties["Result"])
        return job.path

    @dbus.service.signal(INTERFACE, signature="uos")
    def JobRemoved(self, number, job, result):
        pass

    def spawn(self, workspace, options, sender):
        check_options(options, OPTION_TYPES)
        owner = self.bus.get_unix_user(sender)
        request = options.get("request_id")
        if request and request in self.requests:
            return self.requests[request].path
        if options.get("image") == "absent":
            raise error("NotFound", "there is no image 'absent'")
        if options.get("name") == "forbidden":
            raise dbus.DBusException("spawning is not allowed", name="org.freedesktop.DBus.Error.AccessDenied")
        if options.get("name") == "unavailable":
            raise error("Unavailable", "the engine does not answer")
        self.created += 1
        worker = Worker(self, self.created, owner, workspace, options)
        name = worker.properties["Name"]
        if any(w.properties["Name"] == name and w.properties["State"] not in ("exited", "failed")
               for w in self.workers.values()):
            worker.remove_from_connection()
            raise error("AlreadyExists", f"there is a live worker '{name}'")
        self.workers[worker.id] = worker
        if request:
            self.requests[request] = worker
        self.InterfacesAdded(worker.path, {Worker.INTERFACE: worker.properties})
        if options.get("wait", True):
            worker.start()
        else:
            GLib.timeout_add(300, worker.start)
        self.change(NWorkers=dbus.UInt32(len(self.workers)))
        return worker.path

    @dbus.service.method(INTERFACE, in_signature="ha{sv}", out_signature="o", sender_keyword="sender")
    def SpawnAt(self, directory, options, sender=None):
        fd = directory.take()
        try:
            return self.spawn(os.readlink(f"/proc/self/fd/{fd}"), options, sender)
        finally:
            os.close(fd)

    @dbus.service.method(INTERFACE, in_signature="s", out_signature="o")
    def GetWorker(self, id_or_name):
        for worker in self.workers.values():
            if id_or_name in (worker.id, worker.properties["Name"]):
                return worker.path
        raise error("NotFound", f"no worker '{id_or_name}'")

    @dbus.service.method(MANAGER, out_signature="a{oa{sa{sv}}}")
    def GetManagedObjects(self):
        objects = [self.parent, self.pool, *self.servers, *self.workers.values()]
        return {thing.path: {thing.interface: thing.properties} for thing in objects}

    @dbus.service.signal(MANAGER, signature="oa{sa{sv}}")
    def InterfacesAdded(self, path, interfaces):
        pass

    @dbus.service.signal(MANAGER, signature="oas")
    def InterfacesRemoved(self, path, interfaces):
        pass


def main():
    DBusGMainLoop(set_as_default=True)
    loop = GLib.MainLoop()
    daemon = Daemon(dbus.SystemBus(), sys.argv[1])
    name = dbus.service.BusName("org.hal9000", daemon.bus)
    GLib.unix_signal_add(GLib.PRIORITY_HIGH, signal.SIGTERM, loop.quit)
    print("ready", flush=True)
    loop.run()
    for worker in daemon.workers.values():
        worker.end("exited", 143)
    del name


if __name__ == "__main__":
    main()
