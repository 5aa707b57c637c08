"""The three ways to the gateway: the relay as a process, a bare socket as the relay has one, and HTTP.

A wire hands each message to `on_message` and tells `on_closed` once if the other side has ended it. `end(how)` ends it:
  polite   as a client ends that is done
  cut      everything is closed at once, as by SIGKILL
  half     the same in the middle of a message
  signal   SIGINT where there is a process, else as polite
"""

import asyncio
import contextlib
import json
import signal

LINE_BYTES = 1 << 26
HALF = b'{"jsonrpc":"2.0","id":"half","method":"tools/call","params":{"name":"echo","argum'


class Wire:
    survives_gateway = False

    def __init__(self):
        self.on_message = self.on_closed = self.on_broken = None
        self.tasks = set()
        self.ended = False

    def spawn(self, coroutine):
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.done)

    def done(self, task):
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.on_broken(repr(task.exception()))

    def closed(self):
        if not self.ended:
            self.ended = True
            self.on_closed()

    async def stop_tasks(self):
        tasks = [task for task in self.tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class LineWire(Wire):
    """Lines to a writer, lines from a reader."""

    async def read_lines(self):
        try:
            while line := await self.reader.readline():
                if not line.endswith(b"\n"):
                    break  # cut off by the gateway's end
                try:
                    message = json.loads(line)
                except ValueError:
                    self.on_broken(f"no JSON, {len(line)} bytes: {line[:60]!r}…")
                else:
                    self.on_message(message)
        except ConnectionError:
            pass
        self.closed()

    async def send(self, message):
        with contextlib.suppress(ConnectionError):  # the reader finds out
            self.writer.write(json.dumps(message).encode() + b"\n")
            await self.writer.drain()


class SocketWire(LineWire):
    def __init__(self, place, worker, server):
        super().__init__()
        self.path, self.server = place.socket(worker), server

    async def open(self):
        try:
            self.reader, self.writer = await asyncio.open_unix_connection(self.path, limit=LINE_BYTES)
        except FileNotFoundError as problem:
            raise ConnectionError(problem) from problem
        self.writer.write(json.dumps({"hal9000": 1, "server": self.server}).encode() + b"\n")
        answer = json.loads(await self.reader.readline() or b"{}")
        if "session" not in answer:
            self.writer.transport.abort()
            raise ConnectionError(f"refused: {answer}")
        self.spawn(self.read_lines())

    async def end(self, how):
        self.ended = True
        if how == "half":
            self.writer.write(HALF)
        if how in ("cut", "half"):
            self.writer.transport.abort()
        else:
            self.writer.close()
        await self.stop_tasks()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class RelayWire(LineWire):
    survives_gateway = True

    def __init__(self, place, worker, server):
        super().__init__()
        self.command = [str(place.relay), server, "--socket", place.socket(worker)]

    async def open(self):
        self.process = await asyncio.create_subprocess_exec(
            *self.command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE_BYTES)
        self.reader, self.writer = self.process.stdout, self.process.stdin
        self.spawn(self.read_lines())

    async def end(self, how):
        """The exit code, where the relay was to end by itself."""
        self.ended = True
        if how == "half":
            self.writer.write(HALF)
        if self.process.returncode is None:
            if how in ("cut", "half"):
                self.process.send_signal(signal.SIGKILL)
            elif how == "signal":
                self.process.send_signal(signal.SIGINT)
        self.writer.close()
        code = await self.process.wait()
        await self.stop_tasks()
        return None if how in ("cut", "half") else code


class HttpWire(Wire):
    """Streamable HTTP as a client library has it: connections kept for the next request, and one for the GET stream."""

    def __init__(self, place, worker, server):
        super().__init__()
        self.place, self.port, self.token, self.server = place, place.port, place.token(worker), server
        self.session = None
        self.idle = []
        self.busy = set()
        self.break_streams = set()  # ids of requests whose stream is to break after its first event

    async def open(self):
        pass

    async def connection(self):
        if self.idle:
            return self.idle.pop()
        return await asyncio.open_connection("127.0.0.1", self.port, limit=LINE_BYTES)

    def head(self, method, headers):
        fields = {"Host": f"127.0.0.1:{self.port}", "Authorization": f"Bearer {self.token}",
                  "Accept": "application/json, text/event-stream", **headers}
        if self.session:
            fields["Mcp-Session-Id"] = self.session
        lines = [f"{method} /mcp/{self.server} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    @contextlib.asynccontextmanager
    async def exchange(self, head, body=b""):
        """Status, headers and reader of an answer; the connection is kept if all of it was read."""
        reader, writer = connection = await self.connection()
        self.busy.add(writer)
        whole = False
        try:
            writer.write(head + body)
            await writer.drain()
            status, fields = await read_head(reader)
            yield status, fields, reader
            whole = True
        finally:
            self.busy.discard(writer)
            if whole and not self.ended:
                self.idle.append(connection)
            else:
                writer.transport.abort()

    async def send(self, message):
        if message.get("method") == "initialize" or "id" not in message or "method" not in message:
            await self.post(message)
        else:
            self.spawn(self.post(message))
        if message.get("method") == "notifications/initialized":
            self.spawn(self.listen())

    async def post(self, message):
        body = json.dumps(message).encode()
        head = self.head("POST", {"Content-Type": "application/json", "Content-Length": len(body)})
        last, breaks = None, message.get("id") in self.break_streams
        try:
            async with self.exchange(head, body) as (status, fields, reader):
                if status == 200 and fields["content-type"] == "text/event-stream":
                    async for last, data in read_events(reader):
                        self.deliver(data)
                        if breaks and data:
                            raise BreakOff
                    return
                text = await reader.readexactly(int(fields.get("content-length", 0)))
        except BreakOff:
            return await self.listen(last)
        except (ConnectionError, asyncio.IncompleteReadError):
            return self.closed()
        if status == 200:
            if "mcp-session-id" in fields:
                self.session = fields["mcp-session-id"]
                self.place.http_sessions[self.session] = self
            self.deliver(text)
        elif status == 404:
            self.over()
        elif status != 202:
            self.on_message({"http": status, "text": text.decode(errors="replace"), "of": message})

    async def listen(self, last=None):
        """The standing stream; or what follows the event `last` of a stream that broke."""
        of_a_request = last is not None
        while not self.ended:
            head = self.head("GET", {"Last-Event-ID": last} if last else {})
            try:
                async with self.exchange(head) as (status, fields, reader):
                    if status == 200:
                        async for event, data in read_events(reader):
                            last = event or last
                            self.deliver(data)
                    else:
                        text = await reader.readexactly(int(fields.get("content-length", 0)))
            except (ConnectionError, asyncio.IncompleteReadError):
                return self.closed()
            if status == 404:
                return self.over()
            if status != 200:
                return self.on_message({"http": status, "text": text.decode(errors="replace"), "of": last})
            if of_a_request:
                return

    def deliver(self, data):
        if data and not self.ended:
            self.on_message(json.loads(data))

    def over(self):
        self.place.http_sessions.pop(self.session, None)
        self.closed()

    async def end(self, how):
        if how == "half" and not self.ended:
            with contextlib.suppress(ConnectionError, OSError):
                _, writer = await self.connection()
                self.busy.add(writer)
                writer.write(self.head("POST", {"Content-Type": "application/json", "Content-Length": 1000}) + HALF)
        self.ended = True
        await self.stop_tasks()
        for writer in [*self.busy, *(writer for _, writer in self.idle)]:
            writer.transport.abort()
        self.busy, self.idle = set(), []
        if how in ("polite", "signal"):
            await self.delete()

    async def delete(self):
        """Also for the session of a client that was cut off: it would stay for half an hour."""
        if self.place.http_sessions.pop(self.session, None):
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                async with self.exchange(self.head("DELETE", {})) as (status, _, _):
                    assert status in (204, 404), f"DELETE gave {status}"


class BreakOff(Exception):
    pass


async def read_head(reader):
    text = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = text.strip().split("\r\n")
    return int(first.split()[1]), {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


async def read_events(reader):
    """Event id and data of each event of a chunked stream, to its end."""
    unread = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        unread += await reader.readexactly(size)
        await reader.readexactly(2)
        *events, unread = unread.split(b"\n\n")
        for event in events:
            fields = dict(line.split(b": ", 1) for line in event.split(b"\n") if b": " in line and line[:1] != b":")
            if b"data" in fields or b"id" in fields:
                yield fields.get(b"id", b"").decode() or None, fields.get(b"data", b"")
    await reader.readexactly(2)
