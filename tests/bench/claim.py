#!/usr/bin/python3
"""How long a claim takes, against what it replaces. Prints the table of docs/PERFORMANCE.md.

  claim.py [CLAIMS]        default 100

Needs root, an engine with our images (DOCKER_HOST) and a build (HAL_BUILD_DIR). One system of its own, with a pool of
10. Each figure is of one run; those with a partner are pairs in turn, and the ratio is the median of the pairs'.

  claim to command started   Pool1.Claim by a D-Bus client that is connected already, to its answer: project and home
                             mounted, Claude's configuration merged, the command's execve done. The pool is full and
                             calm before each. In pairs with `docker exec CONTAINER true`, which on a calm machine takes
                             some 57 ms: what a claim through the engine would cost at least.
  10 at once                 from the first call to the last answer, from a pool of 10
  claim to Claude's prompt   from the call until the prompt is on the screen of an attached terminal, against `claude`
                             of the same image started on the same host in a terminal, with the same home and project
  miss                       Manager1.Spawn with claim=never against `docker run` of the same image and limits
"""

import os
import pathlib
import pty
import re
import select
import shutil
import signal
import statistics
import sys
import tempfile
import time
import uuid

import dbus
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "engine"))
from conftest import run  # noqa: E402
from system import System  # noqa: E402

IMAGE = "hal9000/worker-minimal"
SIZE = 10
LIMITS = ["--memory=4g", "--memory-swap=4g", "--cpus=2", "--pids-limit=100", "--read-only", "--tmpfs=/tmp", "--tmpfs=/run",
          "--cap-drop=ALL", "--security-opt=no-new-privileges"]
# What stands below the box Claude Code waits in.
PROMPT = re.compile(rb"\? for shortcuts|shift\+tab|for agents|Try \"|\xe2\x9d\xaf")
PROMPT_DEADLINE = 60


def milliseconds(function):
    begin = time.monotonic()
    value = function()
    return (time.monotonic() - begin) * 1000, value


def quantile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


class Client:
    """A connected D-Bus client."""

    def __init__(self, system):
        self.system = system
        self.bus = dbus.bus.BusConnection(system.environment["DBUS_SYSTEM_BUS_ADDRESS"], mainloop=DBusGMainLoop())
        self.pool = self.at("/org/hal9000/pool", "Pool1")
        self.manager = self.at("/org/hal9000", "Manager1")

    def at(self, path, interface):
        return dbus.Interface(self.bus.get_object("org.hal9000", path, introspect=False), f"org.hal9000.{interface}")

    def claim(self, project, name, command=("sleep", "infinity"), **handlers):
        options = {"command": dbus.Array(command, signature="s"), "name": name}
        return self.pool.Claim(str(project), dbus.Dictionary(options, signature="sv"), timeout=60, **handlers)

    def spawn(self, project, name):
        options = {"command": dbus.Array(["sleep", "infinity"], signature="s"), "name": name, "claim": "never"}
        return self.manager.Spawn(str(project), dbus.Dictionary(options, signature="sv"), timeout=60)

    def remove(self, path):
        self.at(path, "Worker1").Remove(timeout=60)


def bench_claims(client, project, count):
    claims, execs = [], []
    holder = client.system.containers("parent")[0]
    for number in range(count + 1):
        client.system.until_warm(SIZE)
        one, path = milliseconds(lambda number=number: client.claim(project, f"c{number}"))
        client.remove(path)
        client.system.until_warm(SIZE)
        other, _ = milliseconds(lambda: client.system.docker("exec", holder, "/bin/true"))
        if number:  # the first warms up
            claims.append(one)
            execs.append(other)
    return claims, execs


def bench_at_once(client, project):
    client.system.until_warm(SIZE)
    loop, paths, errors = GLib.MainLoop(), [], []

    def answered(path=None, error=None):
        (paths if path else errors).append(path or error)
        if len(paths) + len(errors) == SIZE:
            loop.quit()

    begin = time.monotonic()
    for number in range(SIZE):
        client.claim(project, f"a{number}", reply_handler=answered, error_handler=lambda error: answered(error=error))
    loop.run()
    elapsed = (time.monotonic() - begin) * 1000
    for path in paths:
        client.remove(path)
    assert not errors, errors
    return elapsed


def until_prompt(fd):
    seen, deadline = b"", time.monotonic() + PROMPT_DEADLINE
    while time.monotonic() < deadline:
        if select.select([fd], [], [], 1)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:
                break
            seen = (seen + data)[-200_000:]
            if PROMPT.search(seen):
                return
            if b"\x1b[6n" in data:  # where is the cursor?
                os.write(fd, b"\x1b[1;1R")
    sys.exit(f"no prompt within {PROMPT_DEADLINE} s: {seen[-2000:]!r}")


def claimed_prompt(client, project, name):
    client.system.until_warm(SIZE)

    def to_prompt():
        path = client.claim(project, name, ("claude",))
        stream, _ = client.at(path, "Worker1").Attach(dbus.Dictionary({"rows": dbus.UInt16(30), "columns": dbus.UInt16(100)}, signature="sv"))
        fd = stream.take()
        until_prompt(fd)
        os.close(fd)
        return path

    elapsed, path = milliseconds(to_prompt)
    client.remove(path)
    return elapsed


def bare_prompt(program, project, home, environment):
    def to_prompt():
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(project)
            os.execve(program, ["claude"], {"HOME": str(home), "PATH": os.environ["PATH"], "TERM": "tmux-256color", "LANG": "C.UTF-8", **environment})
        until_prompt(fd)
        return pid, fd

    elapsed, (pid, fd) = milliseconds(to_prompt)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(fd)
    return elapsed


def bench_prompt(client, project, folder, pairs):
    system = client.system
    container = system.docker("create", IMAGE).strip()
    program = system.docker("run", "--rm", "--entrypoint", "sh", IMAGE, "-c", "readlink -f $(command -v claude)").strip()
    system.docker("cp", "--follow-link", f"{container}:{program}", folder / "claude")
    system.docker("rm", container)
    client.system.until_warm(SIZE)
    client.remove(client.claim(project, "home"))  # makes the home
    home = folder / "home"
    shutil.copytree(system.state / "user" / str(os.getuid()), home)
    # The same answers to the same questions for the place the project has on the host.
    state = (home / ".claude.json").read_text().replace('"/workspace"', f'"{project}"')
    (home / ".claude.json").write_text(state)
    environment = {"DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    claimed, bare = [], []
    for number in range(pairs + 1):
        one, other = claimed_prompt(client, project, f"p{number}"), bare_prompt(folder / "claude", project, home, environment)
        if number:
            claimed.append(one)
            bare.append(other)
    return claimed, bare


def bench_miss(client, project, pairs):
    system = client.system
    holder = system.containers("parent")[0]
    spawned, ran = [], []
    for number in range(pairs + 1):
        system.until_warm(SIZE)
        one, path = milliseconds(lambda number=number: client.spawn(project, f"m{number}"))
        command = ["docker", "run", "--detach", f"--label=org.hal9000.instance={system.instance}", f"--network=container:{holder}",
                   f"--volume={project}:/workspace", *LIMITS, "--entrypoint=/usr/bin/sleep", IMAGE, "infinity"]
        other, container = milliseconds(lambda command=command: run(*command, env=system.environment))
        client.remove(path)
        system.docker("rm", "--force", container.strip())
        if number:
            spawned.append(one)
            ran.append(other)
    return spawned, ran


def row(what, values, goal):
    print(f"| {what} | {statistics.median(values):.1f} | {quantile(values, 0.99):.1f} | {min(values):.1f} to {max(values):.1f} | {len(values)} | {goal} |")


def ratio(ours, theirs):
    return statistics.median(a / b for a, b in zip(ours, theirs))


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hal9000-bench-", dir="/var/tmp"))
    system = System(folder, os.environ["DOCKER_HOST"], f"bench-{uuid.uuid4().hex[:6]}", {}, pool=(SIZE, SIZE))
    project = folder / "project"
    project.mkdir()
    try:
        system.start()
        system.until_parent_runs()
        client = Client(system)
        print("| figure | median ms | p99 ms | range ms | times | goal |\n|---|---|---|---|---|---|")
        claims, execs = bench_claims(client, project, count)
        row("claim to command started", claims, f"p50 10, p99 40; is {ratio(claims, execs):.2f} x docker exec")
        row("`docker exec`", execs, "")
        row("10 claims at once, all served", [bench_at_once(client, project) for _ in range(count)], "100")
        claimed, bare = bench_prompt(client, project, folder, count)
        row("claim to Claude's prompt", claimed, f"1.1 x bare; is {ratio(claimed, bare):.2f}")
        row("`claude` bare on the host to its prompt", bare, "")
        spawned, ran = bench_miss(client, project, count)
        row("miss (cold spawn)", spawned, f"1.15 x docker run; is {ratio(spawned, ran):.2f}")
        row("`docker run`", ran, "")
    finally:
        system.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
