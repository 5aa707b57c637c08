"""A reverse proxy that adds a worker's token: the suite's client sends no Authorization header.

Bytes pass as they come, so event streams do. Only the heads of requests are changed: the token is added, and the proxy's
own address becomes the server's; any other Host stays what it is.
"""

import asyncio
import re
import threading


class Proxy:
    def __init__(self, port, path, token):
        self.upstream = port
        self.path = path
        self.token = token
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0))
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(timeout=10)

    async def serve(self, reader, writer):
        try:
            theirs, ours = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.close()
            return
        directions = [asyncio.ensure_future(self.requests(reader, ours)), asyncio.ensure_future(self.answers(theirs, writer))]
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        for direction in directions:
            direction.cancel()
        for end in (writer, ours):
            end.close()

    async def answers(self, reader, writer):
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass

    async def requests(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                writer.write(self.changed(head).encode("latin-1"))
                length = re.search(r"(?im)^content-length: *(\d+)", head)
                if length:
                    writer.write(await reader.readexactly(int(length[1])))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass

    def changed(self, head):
        request, headers = head.split("\r\n", 1)
        request = request.replace(" /mcp ", f" {self.path} ")
        headers = re.sub(rf"(?im)^host: *(127\.0\.0\.1|localhost):{self.port}(?=\r)", rf"Host: \1:{self.upstream}", headers)
        return f"{request}\r\nAuthorization: Bearer {self.token}\r\n{headers}"
