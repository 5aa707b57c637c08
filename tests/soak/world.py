"""What the clients of the soak live in: the gateway, its servers, and the troubles that befall them."""

import asyncio
import collections
import contextlib
import json
import os
import pathlib
import random
import signal
import sys
import time

from client import Client
from unit import Unit

HERE = pathlib.Path(__file__).resolve().parent
WORKERS = 8
KINDS = ["relay"] * 24 + ["socket"] * 20 + ["http"] * 20
SERVERS = ["shared", "steady", "shared", "session"]
PAUSE = 0.15  # of one client between two things it does, on average
TROUBLE = 3.0  # between two blows from outside


class Faults:
    """When who was hit. What happens within `slack` after a blow may be its consequence."""

    def __init__(self, slack):
        self.slack, self.spans = slack, collections.defaultdict(list)

    @contextlib.contextmanager
    def of(self, *servers):
        span = [time.monotonic(), None]
        for server in servers:
            self.spans[server].append(span)
        try:
            yield
        finally:
            span[1] = time.monotonic()

    def any_since(self, server, moment):
        spans = self.spans[server]
        while spans and spans[0][1] is not None and spans[0][1] + 600 < time.monotonic():
            spans.pop(0)
        return any(end is None or end + self.slack >= moment for _, end in spans)


class Place:
    """Where the gateway can be reached."""

    def __init__(self, build, folder):
        self.folder, self.relay, self.port = folder, build / "src/relay/hal9000-mcp", None
        self.http_sessions = {}

    def socket(self, worker):
        return f"{self.folder}/w{worker}.sock"

    @staticmethod
    def token(worker):
        return f"w{worker}.secret"


class World:
    def __init__(self, build, folder, seed, factor=1.0):
        self.build, self.folder, self.random = build, folder, random.Random(seed)
        self.deadline, self.request_timeout = 120 * factor, 20 * factor
        self.place, self.faults = Place(build, folder), Faults(10 * factor)
        self.violations = collections.defaultdict(list)
        self.counts = collections.Counter()
        self.running, self.resting = asyncio.Event(), asyncio.Condition()
        self.clients = {}  # by slot
        self.tasks = []
        self.asking = asyncio.Lock()
        self.fds_at_rest = None

    def wrong(self, kind, text):
        if len(self.violations[kind]) < 100:
            self.violations[kind].append(text)

    def count(self, *what):
        self.counts[what] += 1

    # The gateway and its daemon.

    async def start(self):
        log = open(self.folder / "log", "wb")
        self.unit = Unit(self.build / "src/gateway/hal9000-gateway", self.folder, log)
        await self.unit.start()
        self.driver = await asyncio.create_subprocess_exec(
            str(self.build / "tests/soak/soak_driver"), self.unit.path, str(self.folder),
            str(WORKERS), str(int(self.request_timeout * 1000)), sys.executable, "-SIu", str(HERE / "server.py"),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log)
        self.place.port = int(await self.driver.stdout.readline())
        await self.until("the gateway", lambda status: status["connected"])
        self.tasks = [asyncio.create_task(self.slot(number)) for number in range(len(KINDS))]
        self.tasks.append(asyncio.create_task(self.trouble()))

    async def status(self):
        async with self.asking:
            self.driver.stdin.write(b"status\n")
            return json.loads(await self.driver.stdout.readline())

    async def until(self, what, condition):
        """The status for which it holds; it is asked for, as nobody tells of its changes."""
        end = time.monotonic() + self.deadline
        while not condition(status := await self.status()):
            if time.monotonic() > end:
                self.wrong("leak", f"never came: {what}: {json.dumps(status)}")
                break
            await asyncio.sleep(0.1)
        return status

    def children(self):
        """Process ids by the server's name."""
        found = collections.defaultdict(list)
        for pid in pathlib.Path(f"/proc/{self.driver.pid}/task/{self.driver.pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                found[pathlib.Path(os.readlink(f"/proc/{pid}/cwd")).name].append(int(pid))
        return found

    async def kill_gateway(self):
        with self.faults.of("gateway", *set(SERVERS)):
            await self.unit.kill()
            await self.until("another gateway", lambda status: status["connected"])
        self.count("trouble", "gateway", "kill")

    async def restart_gateway(self):
        """For clients over HTTP it is a blow like another, for all others nothing."""
        with self.faults.of("restart"):
            await self.unit.restart()
            await self.until("the next gateway", lambda status: status["connected"])
        self.count("trouble", "gateway", "restart")

    async def close(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.driver.stdin.close()
        try:
            code = await asyncio.wait_for(self.driver.wait(), 30)
        except asyncio.TimeoutError:
            self.driver.kill()
            code = await self.driver.wait()
        return code or await self.unit.close()

    # Clients.

    async def slot(self, number):
        """One client after the other, of the same kind at the same server."""
        kind, server, worker = KINDS[number], SERVERS[number % len(SERVERS)], number % WORKERS
        chance = random.Random(self.random.random())
        for life in range(10**9):
            await self.running.wait()
            client = self.clients[number] = Client(self, kind, server, worker, f"c{number}.{life}", chance.random())
            try:
                await client.live(chance.randint(10, 200), PAUSE)
                if kind == "http" and client.wire.session:
                    await client.wire.delete()
            except Exception as problem:  # a mistake of ours, or an answer nobody has thought of
                client.wrong("content", repr(problem))
            self.count("lives", kind, client.how if not client.gone else "ended")
            async with self.resting:
                del self.clients[number]
                self.resting.notify_all()
            await client.over_within(PAUSE)

    async def pause(self):
        """All clients end as they should; what is open is waited for."""
        self.running.clear()
        for client in self.clients.values():
            client.leave("polite")
        async with self.resting:
            await self.resting.wait_for(lambda: not self.clients)

    # Troubles.

    async def trouble(self):
        while True:
            await asyncio.sleep(self.random.expovariate(1 / TROUBLE))
            await self.running.wait()
            if self.random.random() < 0.5:
                await self.hit_server()
            elif self.clients:
                client = self.clients[self.random.choice(sorted(self.clients))]
                client.leave(self.random.choice(["cut", "half", "signal"]))
                self.count("trouble", "client", client.how)

    async def hit_server(self):
        """Killed, or stopped for a while: it reads and writes nothing."""
        children = self.children()
        name = self.random.choice(["shared", "session"])
        if not children[name]:
            return
        pid, stopped = self.random.choice(children[name]), self.random.random() < 0.4
        with self.faults.of(name), contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP if stopped else signal.SIGKILL)
            if stopped:
                await asyncio.sleep(self.random.uniform(0.1, 1))
                os.kill(pid, signal.SIGCONT)
        self.count("trouble", name, "stop" if stopped else "kill")

    # At rest.

    async def rest(self):
        """Nobody uses anything: what the gateway still has then, it would have for ever."""
        await self.pause()
        for server in ("shared", "steady"):
            await self.nothing_is_open(server)
        status = await self.until("an end of all sessions and processes", lambda status: all(
            one["sessions"] == 0 and one["instances"] == 0 for one in status["servers"].values()))
        pid = self.unit.pid
        self.fds_at_rest = self.fds_at_rest or self.fds(pid)
        await self.until("closed connections", lambda _: self.fds(pid) == self.fds_at_rest)
        memory = dict(line.split(":") for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
        return {"gateway": pid, "fds": self.fds(pid), "anonymous_kib": int(memory["RssAnon"].split()[0]),
                "resident_kib": int(memory["VmRSS"].split()[0]), "servers": status["servers"], "counts": self.counts.copy()}

    @staticmethod
    def fds(pid):
        return len(os.listdir(f"/proc/{pid}/fd"))

    async def nothing_is_open(self, server):
        """The server was told of everything that nobody waits for any more."""
        probe = Client(self, "socket", server, 0, f"probe-{server}", 0)
        await probe.begin()
        end = time.monotonic() + self.deadline
        while state := await probe.tool("state"):
            if not state["calls"] and not state["questions"] and not state["subscriptions"]:
                break
            if time.monotonic() > end:
                self.wrong("leak", f"open at {server}, with nobody there: {state}")
                break
            await asyncio.sleep(0.1)
        probe.how = "polite"
        await probe.end(set())

    async def known_traffic(self):
        """A little of it, by every way, at one server: what it should add to the counters."""
        for kind in ("relay", "socket", "http"):
            client = Client(self, kind, "steady", 1, f"known-{kind}", 0)
            await client.begin()
            for _ in range(5):
                await client.tool("echo", bytes=1000)
            await client.ask("list", "tools/list", {})
            await client.ask("ping", "ping", {})
            await client.tool("fail")
            client.how = "polite"
            await client.end(set())
        return {"requests": 3 * 9, "answered": 3 * 9, "calls": 3 * 6, "errors": 3, "refused": 0}
