"""hal9000-remote: what must work, sessions that are lost, and the program itself."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading

import pytest

from conftest import DEADLINE
from remote_support import (EVENTS, INITIALIZE, INITIALIZED, PROGRAM, Mcp, Remote, Server, ended_by, event, http,
                            request, result, text_of)

SECRET = "Bearer 9f8e7d6c5b4a"


# -- what must work

def test_requests_carry_what_the_protocol_asks_for_and_the_session_is_given_back():
    with Server(Mcp()) as server, Remote(server.url, headers={"Authorization": SECRET}) as remote:
        remote.initialize()
        first = server.next_message("initialize")
        assert "mcp-session-id" not in first.headers and "mcp-protocol-version" not in first.headers
        assert remote.ask(request("a", "tools/list"))["result"] == {}
        later = server.next_message("tools/list")
        assert later.headers["mcp-session-id"] == "session-1"
        assert later.headers["mcp-protocol-version"] == "2025-11-25"
        assert later.headers["content-type"] == "application/json"
        assert {one.strip() for one in later.headers["accept"].split(",")} == {"application/json", "text/event-stream"}
        assert later.headers["authorization"] == SECRET
        assert remote.end() == 0
        farewell = server.next(lambda made: made.method == "DELETE")
        assert farewell.headers["mcp-session-id"] == "session-1"
        assert farewell.headers["authorization"] == SECRET


def test_nothing_follows_initialized_before_the_server_has_taken_it():
    taken = threading.Event()
    order = []

    def initialized(*_):
        assert not order
        taken.wait(0.2)
        order.append("initialized")
        return http(202)

    def listing(made, _):
        order.append("tools/list")
        return http(200, result(made.message["id"]))

    with Server(Mcp(notifications_initialized=initialized, tools_list=listing)) as server, Remote(server.url) as remote:
        remote.initialize()
        remote.ask(request(1, "tools/list"))
        assert order == ["initialized", "tools/list"]


def test_an_answer_may_be_json_on_several_lines():
    pretty = json.dumps(result(7, text="a\nb"), indent=2).replace("\n", "\r\n").encode()
    script = Mcp(tools_list=lambda *_: http(200, pretty, Content_Type="application/json; charset=utf-8"))
    with Server(script) as server, Remote(server.url) as remote:
        remote.initialize()
        assert remote.ask(request(7, "tools/list"))["result"] == {"text": "a\nb"}


def test_an_answer_may_be_a_stream_with_messages_before_it():
    progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}}

    def call(made, _):
        answer = json.dumps(result(made.message["id"], ok=True), indent=1).replace("\n", "\ndata: ")
        return EVENTS + b"\xef\xbb\xbf: hello\r\n\r\n" + event(progress).replace(b"\n", b"\r\n") + event(answer)

    with Server(Mcp(tools_call=call)) as server, Remote(server.url) as remote:
        remote.initialize()
        remote.send(request(1, "tools/call", name="x"))
        assert remote.receive() == progress
        assert remote.receive() == result(1, ok=True)


def test_a_question_of_the_server_and_its_answer():
    answered = threading.Event()

    def call(made, connection):
        connection.send(EVENTS + event(request("q", "roots/list")))
        assert answered.wait(DEADLINE)
        return event(result(made.message["id"], ok=True))

    def response(made, _):
        assert made.message == result("q", roots=[])
        answered.set()
        return http(202)

    with Server(Mcp(tools_call=call, response=response)) as server, Remote(server.url) as remote:
        remote.initialize()
        remote.send(request(1, "tools/call", name="x"))
        assert remote.receive() == request("q", "roots/list")
        remote.send(result("q", roots=[]))
        assert remote.receive() == result(1, ok=True)


def test_the_stream_for_what_belongs_to_no_request_comes_back_where_it_was():
    changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    asked = []

    def get(made, connection):
        asked.append(made.headers.get("last-event-id"))
        assert made.headers["accept"] == "text/event-stream"
        if len(asked) == 1:
            return EVENTS + b"retry: 100\n\n" + event(changed, 41)  # and the end of the connection
        connection.send(EVENTS + event(changed, 42))
        assert connection.gone()
        return None

    def closing(made, connection):
        answer = get(made, connection)
        if answer:
            connection.send(answer)
            connection.cut()

    with Server(Mcp(get=closing)) as server, Remote(server.url) as remote:
        remote.initialize()
        assert remote.receive() == changed
        assert remote.receive() == changed
        assert asked == [None, "41"]
        remote.end()


def test_a_broken_stream_is_taken_up_and_the_request_never_posted_twice():
    posted = []

    def call(made, connection):
        posted.append(made)
        connection.send(EVENTS + b"id: 1\nretry: 50\ndata:\n\n")
        connection.cut()

    def get(made, _):
        if "last-event-id" not in made.headers:
            return http(405)
        assert made.headers["last-event-id"] == "1"
        return EVENTS + event(result(5, ok=True), 2)

    with Server(Mcp(tools_call=call, get=get)) as server, Remote(server.url) as remote:
        remote.initialize()
        assert remote.ask(request(5, "tools/call", name="x"))["result"] == {"ok": True}
        assert len(posted) == 1


def test_a_request_that_names_its_revision_needs_no_session():
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    with Server(Mcp()) as server, Remote(server.url) as remote:
        assert remote.ask(request(1, "tools/call", name="süß", _meta=meta))["result"] == {}
        made = server.next_message("tools/call")
        assert made.headers["mcp-protocol-version"] == "2026-07-28"
        assert made.headers["mcp-method"] == "tools/call"
        assert made.headers["mcp-name"] == "=?base64?c8O8w58=?="
        assert "mcp-session-id" not in made.headers
        assert remote.ask(request(2, "resources/read", uri="file:///a b", _meta=meta))["result"] == {}
        assert server.next_message("resources/read").headers["mcp-name"] == "file:///a b"


def test_arguments_go_into_headers_where_their_tool_says_so():
    """A tool whose schema has not come by is asked for once the server refuses the call."""
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "progressToken": "mine"}
    properties = {"city": {"type": "string", "x-mcp-header": "City"}, "days": {"type": "integer", "x-mcp-header": "Days"}}
    pages = {None: {"tools": [], "nextCursor": "2"},
             "2": {"tools": [{"name": "weather", "inputSchema": {"type": "object", "properties": properties}}]}}

    def call(made, _):
        if "mcp-param-city" in made.headers:
            return http(200, result(made.message["id"]))
        return http(400, {"jsonrpc": "2.0", "id": made.message["id"],
                          "error": {"code": -32020, "message": "Mcp-Param-City header is required"}})

    def listing(made, _):
        return http(200, {"jsonrpc": "2.0", "id": made.message["id"],
                          "result": pages[made.message["params"].get("cursor")]})

    def weather(number):
        return request(number, "tools/call", name="weather", arguments={"city": "Köln", "days": 3}, _meta=meta)

    with Server(Mcp(tools_call=call, tools_list=listing)) as server, Remote(server.url) as remote:
        assert remote.ask(weather(1))["result"] == {}
        assert "mcp-param-city" not in server.next_message("tools/call").headers
        asked = server.next_message("tools/list")
        assert "progressToken" not in asked.message["params"]["_meta"]
        made = server.next_message("tools/call")
        assert made.headers["mcp-param-city"] == "=?base64?S8O2bG4=?="
        assert made.headers["mcp-param-days"] == "3"
        assert remote.ask(weather(2))["result"] == {}
        assert server.next_message("tools/call").headers["mcp-param-days"] == "3"


@pytest.mark.parametrize("status", [200, 500])
def test_headers_that_stay_refused_are_the_servers_own_error(status):
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}

    def call(made, _):
        return http(400, {"jsonrpc": "2.0", "id": made.message["id"], "error": {"code": -32020, "message": "no"}})

    def listing(made, _):
        return http(status, result(made.message["id"], tools=[]))

    with Server(Mcp(tools_call=call, tools_list=listing)) as server, Remote(server.url) as remote:
        answer = remote.ask(request(1, "tools/call", name="x", arguments={}, _meta=meta))
        assert answer["id"] == 1 and answer["error"] == {"code": -32020, "message": "no"}


def test_to_cancel_a_request_without_session_ends_its_connection():
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    acknowledged = {"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": {}}
    gone = threading.Event()

    def listen(_, connection):
        connection.send(EVENTS + event(acknowledged))
        assert connection.gone()
        gone.set()

    with Server(Mcp(subscriptions_listen=listen)) as server, Remote(server.url) as remote:
        remote.send(request("l", "subscriptions/listen", _meta=meta))
        assert remote.receive() == acknowledged
        remote.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "l"}})
        assert gone.wait(DEADLINE)
        remote.nothing_comes()


def test_a_cancellation_is_passed_on():
    with Server(Mcp(tools_call=lambda _, connection: connection.gone() and None)) as server, \
            Remote(server.url) as remote:
        remote.initialize()
        remote.send(request(9, "tools/call", name="x"))
        server.next_message("tools/call")
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9}}
        remote.send(cancelled)
        assert server.next_message("notifications/cancelled").message == cancelled
        remote.nothing_comes()


def test_many_requests_at_once_are_answered_each_by_its_own():
    def call(made, _):
        return http(200, result(made.message["id"], text=made.message["params"]["name"]))

    with Server(Mcp(tools_call=call)) as server, Remote(server.url) as remote:
        remote.initialize()
        remote.send(*(request(number, "tools/call", name=f"n{number}") for number in range(1, 301)))
        answers = {}
        for _ in range(300):
            message = remote.receive()
            assert answers.setdefault(message["id"], message) is message, "answered twice"
        for number in range(1, 301):
            assert answers[number].get("result", answers[number]) == {"text": f"n{number}"}


# -- the old transport

def test_the_old_transport():
    streams = []

    def script(made, connection):
        if made.method == "GET":
            streams.append(connection)
            connection.send(EVENTS + event("/messages?session=1", name="endpoint"))
            assert connection.gone()
            return None
        assert made.target == "/messages?session=1"
        message = made.message
        if message["method"] == "initialize":
            streams[-1].send(event(result(message["id"], protocolVersion="2024-11-05", capabilities={},
                                          serverInfo={"name": "old", "version": "1"})))
        elif message["method"] == "ping":
            streams[-1].send(event(result(message["id"])))
        elif message["method"] == "break":
            streams[-1].cut()
        return http(202, b"Accepted")

    with Server(script) as server, Remote(server.url, transport="sse") as remote:
        assert remote.initialize()["protocolVersion"] == "2024-11-05"
        remote.nothing_comes()
        assert "may or may not have run" in text_of(remote.ask(request(1, "break")))
        remote.nothing_comes()  # in a session begun anew
        assert len(streams) == 2


def test_the_old_transport_names_no_endpoint_elsewhere():
    def script(_, connection):
        connection.send(EVENTS + event("http://127.0.0.1:1/messages", name="endpoint"))
        assert connection.gone()

    with Server(script) as server, Remote(server.url, transport="sse") as remote:
        assert text_of(remote.ask(INITIALIZE)) == f"{server.host}: names an endpoint that is not on the same server"


# -- sessions that are lost

def test_a_lost_session_is_begun_anew_and_told_what_the_old_one_knew():
    script = Mcp(capabilities={"tools": {"listChanged": True}})
    open_call = threading.Event()

    def call(made, connection):
        if made.message["params"]["name"] == "open":
            open_call.set()
            connection.gone()
            return None
        if made.headers["mcp-session-id"] not in script.valid:
            return http(404)
        return http(200, result(made.message["id"], session=made.headers["mcp-session-id"]))

    script.methods["tools_call"] = call
    with Server(script) as server, Remote(server.url) as remote:
        remote.initialize()
        for message in (request(1, "logging/setLevel", level="debug"), request(2, "resources/subscribe", uri="a:b"),
                        request(3, "resources/subscribe", uri="a:c"), request(4, "resources/unsubscribe", uri="a:c")):
            assert remote.ask(message)["result"] == {}
        remote.send(request("open", "tools/call", name="open"))
        assert open_call.wait(DEADLINE)
        while not server.seen.empty():
            server.seen.get()
        script.valid.clear()
        remote.send(request("next", "tools/call", name="x"))
        failed = remote.receive()
        assert failed["id"] == "open" and failed["error"]["code"] == -32000
        assert text_of(failed) == (f"{server.host}: does not know the session any more; "
                                   "the call may or may not have run")
        assert remote.receive() == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        # What was refused has not run: it is the one thing that is sent again.
        assert remote.receive() == result("next", session="session-2")
        told = [server.next(lambda made: made.method == "POST").message for _ in range(6)]
        assert [one["method"] for one in told[:3]] == ["tools/call", "initialize", "notifications/initialized"]
        assert told[1]["params"] == INITIALIZE["params"]
        beside = {one["method"]: one["params"] for one in told[3:]}
        assert beside == {"logging/setLevel": {"level": "debug"}, "resources/subscribe": {"uri": "a:b"},
                          "tools/call": {"name": "x"}}


def test_a_session_that_cannot_be_begun_anew_is_tried_again_with_the_next_request():
    script = Mcp()
    with Server(script) as server, Remote(server.url) as remote:
        remote.initialize()
        remote.nothing_comes()
        port = server.port
        server.close()  # another one comes to its place
        answer = remote.ask(request(1, "ping"))
        assert answer["error"]["code"] in (-32055, -32000), answer
        with Server(Mcp(), port=port) as fresh:
            assert remote.ask(request(2, "ping"))["result"] == {}
            assert fresh.next_message("initialize")


def test_a_server_that_is_down_at_the_start_is_told_and_asked_again():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    with Remote(f"http://127.0.0.1:{port}/mcp") as remote:
        answer = remote.ask(INITIALIZE)
        assert answer["error"] == {"code": -32055,
                                   "message": f"127.0.0.1:{port}: cannot connect: Connection refused"}
        with Server(Mcp(), port=port):
            remote.initialize()
            remote.nothing_comes()


# -- the program

def test_what_is_no_settings_line_ends_it_without_being_repeated(tmp_path):
    for line in (b"nonsense hidden", b'{"url":"ftp://hidden"}', b'{"url":"https://u:hidden@host/","transport":"http"}',
                 b'{"url":"https://host/","transport":"http","headers":{"a":["hidden"]},"timeout_ms":1}'):
        with open(tmp_path / "log", "w+b") as log:
            remote = Remote("http://127.0.0.1:1/", log=log)
            remote.kill()
            process = subprocess.run([remote.process.args[0], "far"], input=line + b"\n", stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, timeout=DEADLINE, check=False)
            assert process.returncode == 78 and b"settings" in process.stderr
            assert b"hidden" not in process.stderr and process.stdout == b""


def test_no_other_process_of_its_user_can_look_into_it():
    if os.geteuid() != 0:
        pytest.skip("needs root, to be another user")
    with tempfile.TemporaryDirectory() as folder, Server(Mcp()) as server:
        os.chmod(folder, 0o755)
        program = shutil.copy(PROGRAM, folder)
        with Remote(server.url, headers={"Authorization": SECRET}, program=program, user=65534) as remote:
            remote.initialize()
            process = pathlib.Path(f"/proc/{remote.process.pid}")
            assert "Uid:\t65534\t" in (process / "status").read_text(encoding="ascii")
            for name in ("environ", "mem", "fd", "maps"):
                assert (process / name).stat().st_uid == 0, name


def test_it_ends_with_its_client_and_by_a_signal():
    with Server(Mcp()) as server:
        with Remote(server.url) as remote:
            remote.initialize()
            assert remote.end() == 0
        with Remote(server.url) as remote:
            remote.initialize()
            remote.nothing_comes()
            assert ended_by(remote.process) == 0


def test_what_is_no_message_of_the_client_is_answered():
    with Server(Mcp()) as server, Remote(server.url) as remote:
        remote.initialize()
        remote.send(b"{nonsense")
        assert remote.receive()["error"]["code"] == -32700
        remote.send(b'{"jsonrpc":"2.0","id":3}')
        answer = remote.receive()
        assert answer["id"] == 3 and answer["error"]["code"] == -32600
        remote.send(INITIALIZED, b'[{"jsonrpc":"2.0","id":"b","method":"ping"}]')
        assert remote.receive() == result("b")
