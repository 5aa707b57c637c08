"""One client of one server: asks for random things, many at once, and checks whatever comes."""

import asyncio
import collections
import json
import random
import time

from wires import HttpWire, RelayWire, SocketWire

WIRES = {"relay": RelayWire, "socket": SocketWire, "http": HttpWire}
ENDS = ["polite", "polite", "signal", "cut", "cut", "half"]
AT_ONCE = 8
URIS = [f"soak:{number}" for number in range(6)]
SIZES = [100] * 60 + [10_000] * 10 + [200_000] * 3 + [2_000_000]

# What a client asks for, with weights; shared and session servers also do what ends or stops them.
CALM = {"echo": 40, "progress": 12, "slow": 8, "cancel": 8, "touch": 8, "subscribe": 5, "unsubscribe": 3, "ask": 5,
        "twice": 2, "garbage": 2, "list": 3, "ping": 3, "level": 1, "nothing": 2}
WILD = {**CALM, "crash": 0.15, "hang": 0.4, "stall": 0.2}

SERVER_GONE, NOT_STARTED, TIMED_OUT, METHOD_NOT_FOUND, INVALID_PARAMS = -32603, -32055, -32001, -32601, -32602


class Call:
    def __init__(self, what, method, params, serial, identity):
        self.what, self.method, self.params, self.serial, self.identity = what, method, params, serial, identity
        self.key = json.dumps(identity)
        self.started = time.monotonic()
        self.steps = 0
        self.cancelled = False
        self.answer = asyncio.get_running_loop().create_future()


class Client:
    def __init__(self, world, kind, server, worker, name, seed):
        self.world, self.kind, self.server, self.name = world, kind, server, name
        self.random = random.Random(seed)
        self.wire = WIRES[kind](world.place, worker, server)
        self.wire.on_message, self.wire.on_closed = self.on_message, self.on_closed
        self.wire.on_broken = self.on_broken
        self.calls = {}  # open, by their id as JSON text; cancelled ones too, whose answer may be on its way
        self.serials = 0
        self.perhaps = set()  # what it has ever subscribed to, each once
        self.subscribed = set()  # what it surely is subscribed to
        self.updated = collections.Counter()
        self.news = {}  # events of those who wait for it
        self.born = time.monotonic()
        self.how = self.random.choice(ENDS)
        self.gone = False
        self.over = asyncio.Event()

    def wrong(self, kind, text):
        self.world.wrong(kind, f"{self.name} ({self.kind}, {self.server}): {text}")

    def hit(self, what, moment):
        """Whether something from outside can be felt here since then."""
        faults = self.world.faults
        return faults.any_since(what, moment) or (self.kind == "http" and faults.any_since("restart", moment))

    # Life.

    async def live(self, actions, pause):
        """Until it has done so many things, or the other side ends it, or leave() tells it to go."""
        running = set()
        try:
            await self.wire.open()
        except ConnectionError as problem:
            if not self.hit("gateway", self.born):
                self.wrong("refused", str(problem))
            return
        try:
            await self.greet()
            for _ in range(actions):
                if await self.over_within(self.random.expovariate(1 / pause)):
                    break
                running = {task for task in running if not task.done()}
                if len(running) < AT_ONCE:
                    running.add(asyncio.create_task(self.act()))
            if self.how == "polite" and not self.gone:
                await self.finish(running)
        finally:
            await self.end(running)

    async def over_within(self, seconds):
        try:
            await asyncio.wait_for(self.over.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True

    def leave(self, how):
        self.how = how
        self.over.set()

    async def begin(self):
        await self.wire.open()
        await self.greet()

    async def greet(self):
        await self.ask("initialize", "initialize", {
            "protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}, "roots": {}},
            "clientInfo": {"name": self.name, "version": "1"}})
        await self.send({"method": "notifications/initialized"})

    async def finish(self, running):
        """What hangs is given up, the rest is waited for."""
        for call in [call for call in self.calls.values() if call.what == "hang" and not call.cancelled]:
            await self.cancel(call)
        if running:
            await asyncio.wait(running)

    async def end(self, running):
        for task in running:
            task.cancel()
        try:
            code = await asyncio.wait_for(self.wire.end(self.how), self.world.deadline)
            if code not in (None, 0):
                self.wrong("relay", f"ended with {code} after {self.how}")
        except asyncio.TimeoutError:
            self.wrong("lost", f"does not end after {self.how}")
        await asyncio.gather(*running, return_exceptions=True)

    def on_broken(self, text):
        """The relay ends a long line that a gateway's death has cut off: a part of it was given out before."""
        if self.kind != "relay" or not self.world.faults.any_since("gateway", self.born):
            self.wrong("content", text)

    def on_closed(self):
        """By the gateway: with a process of its own that has ended, all answered; or because the gateway was killed."""
        self.gone = True
        self.over.set()
        left = [call for call in self.calls.values() if not call.cancelled]
        for call in left:
            call.answer.cancel()  # over HTTP a session that is over answers with 404
        if self.wire.survives_gateway:
            return self.wrong("closed", "the relay ended")
        if self.hit("gateway", self.born):
            return None
        if self.server != "session" or (self.kind == "socket" and left):
            self.wrong("closed", f"the gateway ended the session, {[call.what for call in left]} open")
        return None

    # What it does.

    async def act(self):
        kinds = CALM if self.server == "steady" else WILD
        what = self.random.choices(list(kinds), kinds.values())[0]
        try:
            await getattr(self, f"do_{what}")()
        except (asyncio.CancelledError, ConnectionError):
            pass  # the client is ending

    async def do_echo(self):
        size = self.random.choice(SIZES)
        result = await self.tool("echo", bytes=size)
        if result and len(result["text"]) != size:
            self.wrong("content", f"{len(result['text'])} bytes instead of {size}")

    async def do_progress(self):
        count = self.random.randint(1, 6)
        call = await self.start_tool("progress", count=count, ms=self.random.randint(0, 30))
        if await self.result_of(call) and call.steps != count:
            self.wrong("order", f"{call.steps} steps of {count} before the answer")

    async def do_slow(self):
        await self.tool("slow", ms=self.random.randint(1, 1500), late=False)

    async def do_cancel(self):
        call = await self.start_tool("slow", ms=self.random.randint(1, 400), late=self.random.random() < 0.5)
        await asyncio.sleep(self.random.uniform(0, 0.2))
        if not call.answer.done():
            await self.cancel(call)

    async def do_hang(self):
        call = await self.start_tool("hang")
        if self.random.random() < 0.5:
            await self.cancel(call)
        else:
            await self.result_of(call)

    async def do_stall(self):
        await self.tool("stall", ms=self.random.randint(10, 500))

    async def do_crash(self):
        with self.world.faults.of(self.server):
            await self.tool("crash", code=self.random.randint(0, 9), half=self.random.random() < 0.5)

    async def do_twice(self):
        await self.tool("twice")

    async def do_garbage(self):
        await self.tool("garbage")

    async def do_ask(self):
        result = await self.tool("ask")
        if not result:
            return
        if "answer" in result:
            if result["answer"].get("content") != {"who": self.name, "serial": result["serial"]}:
                self.wrong("misrouted", f"the answer to my question is {result['answer']}")
        elif result["refused"] != METHOD_NOT_FOUND or self.server == "session":
            self.wrong("error", f"a question was refused: {result}")

    async def do_list(self):
        await self.ask("list", "tools/list", {})

    async def do_ping(self):
        await self.ask("ping", "ping", {})

    async def do_level(self):
        await self.ask("level", "logging/setLevel", {"level": self.random.choice(["debug", "error"])})

    async def do_nothing(self):
        """What the server does not know, and says so itself."""
        await self.ask("nothing", "soak/nothing", {})

    async def do_subscribe(self):
        uri = self.random.choice(URIS)
        if uri not in self.perhaps:
            self.perhaps.add(uri)
            if await self.ask("subscribe", "resources/subscribe", {"uri": uri}) is not None:
                self.subscribed.add(uri)

    async def do_unsubscribe(self):
        if self.subscribed:
            uri = self.random.choice(sorted(self.subscribed))
            self.subscribed.discard(uri)  # what is under way may still come
            await self.ask("unsubscribe", "resources/unsubscribe", {"uri": uri})

    async def do_touch(self):
        uri = self.random.choice(URIS)
        before, sure = self.updated[uri], uri in self.subscribed
        result = await self.tool("touch", uri=uri)
        if not result or not sure or uri not in self.subscribed or self.updated[uri] != before:
            return
        if self.kind != "http":
            self.wrong("order", f"no news of {uri} before the answer")
            return
        try:  # it comes on another stream
            await asyncio.wait_for(self.news.setdefault(uri, asyncio.Event()).wait(), self.world.deadline)
        except asyncio.TimeoutError:
            self.wrong("lost", f"no news of {uri}")

    # Asking.

    async def tool(self, name, **arguments):
        return await self.result_of(await self.start_tool(name, **arguments))

    async def start_tool(self, name, **arguments):
        self.serials += 1
        params = {"name": name, "arguments": {"who": self.name, "serial": self.serials, **arguments}}
        return await self.start(name, "tools/call", params, self.serials)

    async def ask(self, what, method, params):
        self.serials += 1
        return await self.result_of(await self.start(what, method, params, self.serials))

    async def start(self, what, method, params, serial):
        # All clients use the same ids, numbers and strings.
        identity = self.random.choice([serial, str(serial), f"{serial} \u00e9\"\\"])
        if what == "progress":
            params["_meta"] = {"progressToken": identity}
        call = Call(what, method, params, serial, identity)
        self.calls[call.key] = call
        if self.kind == "http" and what == "progress" and self.random.random() < 0.2:
            self.wire.break_streams.add(identity)
        self.world.count("asked", self.server, method)
        await self.send({"id": identity, "method": method, "params": params})
        return call

    async def result_of(self, call):
        """The result; nothing for an error, which has been checked."""
        try:
            return await asyncio.wait_for(asyncio.shield(call.answer), self.world.deadline)
        except asyncio.TimeoutError:
            self.wrong("lost", f"no answer to {call.what} {call.key}")
        except asyncio.CancelledError:
            if not self.gone:
                raise
        return None

    async def cancel(self, call):
        call.cancelled = True
        call.answer.cancel()
        await self.send({"method": "notifications/cancelled", "params": {"requestId": call.identity}})

    async def send(self, message):
        await self.wire.send({"jsonrpc": "2.0", **message})

    # What comes.

    def on_message(self, message):
        if "http" in message:
            self.wrong("http", f"{message['http']} {message['text']} for {json.dumps(message['of'])[:200]}")
        elif "method" not in message:
            self.on_answer(message)
        elif "id" in message:
            self.on_question(message)
        else:
            self.on_notification(message["method"], message.get("params", {}))

    def on_answer(self, message):
        call = self.calls.pop(json.dumps(message.get("id")), None)
        if call is None:
            return self.wrong("doubled", f"not asked for, or answered before: {json.dumps(message)[:300]}")
        if "error" in message:
            result = self.on_error(call, message["error"])
        else:
            result = self.checked(call, message["result"])
            self.world.count("answered", self.server, call.method)
        if not call.answer.done():
            call.answer.set_result(result)
        return None

    def checked(self, call, result):
        if call.method != "tools/call":
            return result
        value = result.get("structuredContent", {})
        if (value.get("who"), value.get("serial")) != (self.name, call.serial):
            self.wrong("misrouted", f"{call.what} {call.serial} got {json.dumps(result)[:300]}")
            return None
        return value

    def on_error(self, call, error):
        code, waited = error["code"], time.monotonic() - call.started
        self.world.count("errors", self.server, str(code))
        if code in (SERVER_GONE, NOT_STARTED):
            if not self.hit(self.server, call.started):
                self.wrong("error", f"{call.what} failed without a reason after {waited:.1f} s: {error}")
        elif code == TIMED_OUT:
            if waited < self.world.request_timeout * 0.9:
                self.wrong("error", f"{call.what} timed out after {waited:.1f} s: {error}")
        elif (call.what, code) != ("fail", INVALID_PARAMS):
            self.wrong("error", f"{call.what} after {waited:.1f} s: {error}")

    def on_question(self, message):
        params = message.get("params", {})
        who, _, serial = params.get("message", "").rpartition(" ")
        if message["method"] != "elicitation/create" or who != self.name:
            self.wrong("misrouted", f"a question of another: {json.dumps(message)[:300]}")
        answer = {"action": "accept", "content": {"who": self.name, "serial": int(serial or 0)}}
        self.wire.spawn(self.send({"id": message["id"], "result": answer}))

    def on_notification(self, method, params):
        if method == "notifications/progress":
            call = self.calls.get(json.dumps(params["progressToken"]))
            if call is None:
                self.wrong("order", f"progress of what is answered or was not asked: {params}")
            elif params["message"] != f"{self.name} {call.serial}":
                self.wrong("misrouted", f"progress {params} for {call.serial}")
            else:
                call.steps += 1
                if params["progress"] != call.steps:
                    self.wrong("order", f"step {params['progress']} after {call.steps - 1}")
        elif method == "notifications/resources/updated":
            if params["uri"] not in self.perhaps:
                self.wrong("misrouted", f"news of {params['uri']}, which nobody here has subscribed to")
            self.updated[params["uri"]] += 1
            self.news.pop(params["uri"], asyncio.Event()).set()
        elif method not in ("notifications/cancelled", "notifications/tools/list_changed"):
            self.wrong("misrouted", f"{method} {params}")
