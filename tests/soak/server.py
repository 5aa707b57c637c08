#!/usr/bin/env python3
"""The MCP server of the soak: answers out of order, at its own time, in its own ways, or not at all.

What it answers carries `who` and `serial` of the call's arguments, so that an answer that reaches another is seen. Tools:
  echo      at once, with a text of `bytes` bytes beside it
  slow      after `ms`; with `late` even if it was cancelled meanwhile
  progress  `count` steps of `ms`, each told, then the answer
  touch     tells that `uri` has changed if anybody has subscribed to it, then answers
  ask       asks its client (elicitation), then gives the answer back
  twice     answers twice
  garbage   writes what is no message, then answers
  fail      answers with an error
  hang      never answers
  stall     reads and writes nothing for `ms`, then answers
  crash     exits with `code`, half an answer written if `half`
  state     what is open: calls, questions, subscriptions
"""
import heapq
import itertools
import json
import os
import select
import sys
import time


class Server:
    def __init__(self):
        self.open = {}  # calls that are not answered, by id
        self.questions = {}
        self.subscriptions = set()
        self.timers = []
        self.order = itertools.count()

    def send(self, message):
        self.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    @staticmethod
    def write(data):
        while data:
            data = data[os.write(1, data):]

    def notify(self, method, **params):
        self.send({"method": method, "params": params})

    def after(self, milliseconds, function):
        heapq.heappush(self.timers, (time.monotonic() + milliseconds / 1000, next(self.order), function))

    def run(self):
        unread = b""
        while True:
            left = max(0, self.timers[0][0] - time.monotonic()) if self.timers else None
            if select.select([0], [], [], left)[0]:
                data = os.read(0, 1 << 18)
                if not data:
                    return
                *lines, unread = (unread + data).split(b"\n") if b"\n" in data else [unread + data]
                for line in lines:
                    self.take(json.loads(line))
            while self.timers and self.timers[0][0] <= time.monotonic():
                heapq.heappop(self.timers)[2]()

    def take(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method is None:
            if call := self.questions.pop(message["id"], None):
                error = message.get("error")
                self.answer(call, refused=error["code"]) if error else self.answer(call, answer=message["result"])
        elif method == "notifications/cancelled":
            self.open.pop(params["requestId"], None)
        elif "id" not in message:
            pass
        elif method == "tools/call":
            self.open[message["id"]] = params
            self.call(message["id"], params["name"], params["arguments"])
        else:
            self.request(message["id"], method, params)

    def request(self, call, method, params):
        result = {}
        if method == "initialize":
            capabilities = {"tools": {"listChanged": True}, "resources": {"subscribe": True}, "logging": {}}
            result = {"protocolVersion": "2025-11-25", "capabilities": capabilities,
                      "serverInfo": {"name": "soak", "version": str(os.getpid())}}
        elif method == "tools/list":
            result = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}
        elif method == "resources/subscribe":
            self.subscriptions.add(params["uri"])
        elif method == "resources/unsubscribe":
            self.subscriptions.discard(params["uri"])
        self.send({"id": call, "result": result})

    def answer(self, call, late=False, **more):
        """Nothing if it was cancelled."""
        params = self.open.pop(call, None)
        if params or late:
            self.put(call, (params or late)["arguments"], **more)

    def put(self, call, arguments, **more):
        value = {"who": arguments["who"], "serial": arguments["serial"], **more}
        self.send({"id": call, "result": {"content": [], "structuredContent": value}})

    def call(self, call, tool, arguments):
        getattr(self, f"tool_{tool}")(call, arguments)

    def tool_echo(self, call, arguments):
        self.answer(call, text="x" * arguments.get("bytes", 0))

    def tool_slow(self, call, arguments):
        late = self.open[call] if arguments["late"] else False
        self.after(arguments["ms"], lambda: self.answer(call, late))

    def tool_progress(self, call, arguments):
        self.after(arguments["ms"], lambda: self.step(call, arguments, 1))

    def step(self, call, arguments, number):
        if call not in self.open:
            return
        self.notify("notifications/progress", progressToken=self.open[call]["_meta"]["progressToken"], progress=number,
                    message=f"{arguments['who']} {arguments['serial']}")
        if number == arguments["count"]:
            self.answer(call)
        else:
            self.after(arguments["ms"], lambda: self.step(call, arguments, number + 1))

    def tool_touch(self, call, arguments):
        if arguments["uri"] in self.subscriptions:
            self.notify("notifications/resources/updated", uri=arguments["uri"])
        self.answer(call)

    def tool_ask(self, call, arguments):
        question = f"q{next(self.order)}"
        self.questions[question] = call
        self.send({"id": question, "method": "elicitation/create",
                   "params": {"message": f"{arguments['who']} {arguments['serial']}",
                              "requestedSchema": {"type": "object", "properties": {}}}})

    def tool_twice(self, call, arguments):
        self.answer(call)
        self.put(call, arguments)

    def tool_garbage(self, call, _):
        self.write(b"Listening on stdio\n\n[]\n{\"jsonrpc\":\"2.0\"}\n\xff\xfe\n" + b"[" * 1000 + b"\n")
        self.answer(call)

    def tool_fail(self, call, _):
        del self.open[call]
        self.send({"id": call, "error": {"code": -32602, "message": "as it was asked to"}})

    def tool_hang(self, call, arguments):
        pass

    def tool_stall(self, call, arguments):
        time.sleep(arguments["ms"] / 1000)
        self.answer(call)

    def tool_crash(self, call, arguments):
        if arguments["half"]:
            self.write(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[' % 0)
        os._exit(arguments["code"])

    def tool_state(self, call, _):
        others = [params["name"] for other, params in self.open.items() if other != call]
        self.answer(call, calls=others, questions=len(self.questions), subscriptions=sorted(self.subscriptions))


try:
    Server().run()
except BrokenPipeError:
    sys.exit(0)
