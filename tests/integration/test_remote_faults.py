"""What a server elsewhere may do to hal9000-remote, and the way there: sizes, pace, TLS, proxies."""
import pathlib
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from conftest import DEADLINE
from remote_support import EVENTS, INITIALIZE, Mcp, Remote, Server, event, http, request, result, text_of

SECRET = "Bearer 9f8e7d6c5b4a"


# -- what a server does wrong

@pytest.mark.parametrize("status, code, words", [
    (401, -32053, "HTTP status 401 (Unauthorized)"), (403, -32053, "HTTP status 403 (Forbidden)"),
    (429, -32051, "HTTP status 429 (Too Many Requests); Retry-After: 120"),
    (503, -32055, "HTTP status 503 (Service Unavailable); Retry-After: 120"),
    (418, -32603, "HTTP status 418; Retry-After: 120")])
def test_a_refusal_says_host_and_status_and_nothing_of_the_headers(status, code, words):
    refusal = http(status, b"<html>go away</html>", WWW_Authenticate="Bearer realm=hidden", Retry_After="120",
                   X_Secret="hidden")
    with Server(Mcp(tools_call=lambda *_: refusal)) as server, \
            Remote(server.url + "?key=hidden", headers={"Authorization": SECRET}) as remote:
        remote.initialize()
        error = remote.ask(request(1, "tools/call", name="x"))["error"]
        assert error["code"] == code
        assert error["message"].startswith(f"{server.host}: answered with {words}")
        assert "hidden" not in error["message"] and "9f8e7d6c5b4a" not in error["message"]


@pytest.mark.parametrize("identity", [{"id": None}, {}, {"id": 1}])
def test_a_refusal_in_the_servers_own_words(identity):
    refusal = http(400, {"jsonrpc": "2.0", **identity, "error": {"code": -32022, "message": "no such version"}})
    with Server(Mcp(tools_call=lambda *_: refusal)) as server, Remote(server.url) as remote:
        remote.initialize()
        error = remote.ask(request(1, "tools/call", name="x"))["error"]
        if identity:
            assert error == {"code": -32022, "message": "no such version"}
        else:
            assert "HTTP status 400" in error["message"]


@pytest.mark.parametrize("answer, words", [
    (http(200, b"<html>", Content_Type="text/html"), "answered the request with what is no message (text/html)"),
    (http(202), "answered the request with nothing (HTTP status 202)"),
    (http(200, {"jsonrpc": "2.0", "id": 77, "result": {}}), "answered something else than was asked"),
    (http(200, b"[" * 100_000, Content_Type="application/json"), "answered the request with what is no message"),
    (EVENTS + event(result(77)), "the stream ended before the answer"),
    (EVENTS + event("{nonsense"), "the stream ended before the answer"),
    (b"SSH-2.0-x\r\n\r\n", ""),
    (b"HTTP/1.1 200 x\r\nContent-Length: 100\r\nContent-Type: application/json\r\n\r\n{", "may or may not have run"),
    (b"HTTP/1.1 200 x\r\n" + b"X: y\r\n" * 20_000, "bytes of header")])
def test_an_answer_that_is_none_is_one_clear_error(answer, words):
    def call(_, connection):
        connection.send(answer)
        connection.cut()

    with Server(Mcp(tools_call=call)) as server, Remote(server.url) as remote:
        remote.initialize()
        message = text_of(remote.ask(request(1, "tools/call", name="x")))
        assert message.startswith(server.host) and words in message, message
        remote.nothing_comes()


def test_a_connection_that_breaks_before_the_answer_does_not_make_a_call_run_twice():
    runs = []

    def call(made, connection):
        runs.append(made.message["id"])
        connection.cut()  # on a connection that has served before, where libraries try again by themselves

    with Server(Mcp(tools_call=call)) as server, Remote(server.url) as remote:
        remote.initialize()
        for number in range(5):
            remote.nothing_comes()
            error = remote.ask(request(number, "tools/call", name="x"))["error"]
            assert error["code"] == -32000 and "may or may not have run" in error["message"]
        assert runs == [0, 1, 2, 3, 4]


def test_many_answers_at_once_that_nobody_reads_are_all_there_later():
    text = "y" * 900_000

    def call(made, _):
        return http(200, result(made.message["id"], text=text))

    with Server(Mcp(tools_call=call)) as server, Remote(server.url) as remote:
        remote.initialize()
        remote.send(*(request(number, "tools/call", name="x") for number in range(150)))
        for _ in range(150):
            server.next_message("tools/call")
        answers = [remote.receive() for _ in range(150)]
        assert {one["id"] for one in answers} == set(range(150))
        assert all(one["result"]["text"] == text for one in answers)


def test_two_answers_to_one_request_are_one():
    def call(made, _):
        return EVENTS + event(result(made.message["id"], first=True)) + event(result(made.message["id"], first=False))

    with Server(Mcp(tools_call=call)) as server, Remote(server.url) as remote:
        remote.initialize()
        assert remote.ask(request(1, "tools/call", name="x"))["result"] == {"first": True}
        remote.nothing_comes()


def test_no_answer_in_time_is_told_and_cancelled():
    with Server(Mcp(tools_call=lambda _, connection: connection.gone() and None)) as server, \
            Remote(server.url, timeout_ms=300) as remote:
        remote.initialize()
        error = remote.ask(request(3, "tools/call", name="x"))["error"]
        assert error["code"] == -32001 and "may or may not have run" in error["message"]
        assert server.next_message("notifications/cancelled").message["params"]["requestId"] == 3


def test_redirects_are_followed_on_the_same_server_only():
    elsewhere = Server(lambda *_: http(200))

    def script(made, connection):
        if made.target == "/mcp":
            return http(307, Location="/new")
        if made.target == "/new" and made.method == "POST" and made.message["method"] == "away":
            return http(307, Location=f"http://{elsewhere.host}/?x=hidden")
        if made.target == "/new" and made.method == "POST" and made.message["method"] == "circle":
            return http(308, Location="/new")
        return mcp(made, connection)

    mcp = Mcp()
    with elsewhere, Server(script) as server, Remote(server.url, headers={"Authorization": SECRET}) as remote:
        remote.initialize()
        made = server.next(lambda one: one.target == "/new")
        assert made.message == INITIALIZE and made.headers["authorization"] == SECRET
        assert text_of(remote.ask(request(1, "away"))) == (
            f"{server.host}: redirects to http://{elsewhere.host}, another server, which is not followed")
        assert "redirects in a circle" in text_of(remote.ask(request(2, "circle")))
        assert elsewhere.seen.empty()


# -- size and pace

def test_large_messages_pass_both_ways():
    text = "x" * (20 << 20)

    def call(made, _):
        return EVENTS + event(result(made.message["id"], text=made.message["params"]["text"]))

    with Server(Mcp(tools_call=call)) as server, Remote(server.url) as remote:
        remote.initialize()
        for number in (1, 2):
            assert remote.ask(request(number, "tools/call", text=text))["result"]["text"] == text


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_over_the_limit_is_an_error_and_no_more(stream):
    def call(_, connection):
        if stream:
            connection.send(EVENTS + b"data: {")
        else:
            connection.send(b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{")
        for _ in range(66):
            connection.send(b" " * (1 << 20))
        return b"}\n\n"

    with Server(Mcp(tools_call=call)) as server, Remote(server.url) as remote:
        remote.initialize()
        error = remote.ask(request(1, "tools/call", name="x"))["error"]
        assert error == {"code": -32052, "message": f"{server.host}: answered with more than {64 << 20} bytes"}
        remote.nothing_comes()


def test_a_client_that_does_not_read_stops_the_server():
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x" * 10_000}}
    sent = []
    stuck = threading.Event()

    def get(_, connection):
        connection.send(EVENTS)
        connection.stream.settimeout(1)
        try:
            for number in range(20_000):
                connection.send(event(note))
                sent.append(number)
        except socket.timeout:
            stuck.set()

    with Server(Mcp(get=get)) as server, Remote(server.url) as remote:
        remote.initialize()
        assert stuck.wait(DEADLINE), "200 MB went somewhere"
        status = pathlib.Path(f"/proc/{remote.process.pid}/status").read_text(encoding="ascii")
        resident = int(status.split("VmRSS:")[1].split()[0])
        assert resident < 40 << 10, f"{resident} KiB"
        for _ in range(len(sent)):
            assert remote.receive() == note
        server.failures.clear()


# -- TLS

@pytest.fixture(name="certificate", scope="module")
def certificate_fixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")

    def make(name):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem", "-days", "2", "-subj",
                        f"/CN={name}", "-addext", f"subjectAltName={name}"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
        return context, str(folder / f"{name}.pem")

    return make


def test_tls_with_a_certificate_that_is_trusted(certificate):
    context, file = certificate("IP:127.0.0.1")
    with Server(Mcp(), tls=context) as server, Remote(server.url, env={"SSL_CERT_FILE": file}) as remote:
        remote.initialize()
        remote.nothing_comes()


def test_tls_with_a_certificate_that_nobody_knows(certificate):
    context, _ = certificate("IP:127.0.0.1")
    with Server(Mcp(), tls=context) as server, Remote(server.url, headers={"Authorization": SECRET}) as remote:
        error = remote.ask(INITIALIZE)["error"]
        assert error["code"] == -32055 and "certificate" in error["message"], error
        assert server.seen.empty()


def test_tls_with_a_certificate_of_another_host(certificate):
    context, file = certificate("DNS:elsewhere.example")
    with Server(Mcp(), tls=context) as server, Remote(server.url, env={"SSL_CERT_FILE": file}) as remote:
        error = remote.ask(INITIALIZE)["error"]
        assert error["code"] == -32055 and server.host in error["message"], error
        assert server.seen.empty()


def test_http_2_where_the_server_has_it(certificate, tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    _, file = certificate("IP:127.0.0.1")
    script = tmp_path / "server.js"
    script.write_text("""
        const { readFileSync } = require('fs');
        const [key, cert] = ['.key', '.pem'].map(end => readFileSync(process.argv[2].replace('.pem', end)));
        const server = require('http2').createSecureServer({ key, cert }, (request, response) => {
            let body = '';
            request.on('data', data => (body += data));
            request.on('end', () => {
                const { id } = JSON.parse(body);
                response.writeHead(200, { 'content-type': 'text/event-stream' });
                response.write(': hello\\n\\n');
                response.end('data: ' + JSON.stringify({ jsonrpc: '2.0', id, result: { http: request.httpVersion,
                    text: 'x'.repeat(1 << 20) } }) + '\\n\\n');
            });
        });
        server.listen(0, '127.0.0.1', () => console.log(server.address().port));
    """)
    process = subprocess.Popen([node, script, file], stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline())
        with Remote(f"https://127.0.0.1:{port}/", env={"SSL_CERT_FILE": file}) as remote:
            remote.send(*(request(number, "x") for number in range(16)))
            answers = [remote.receive() for _ in range(16)]
            assert {one["id"] for one in answers} == set(range(16))
            assert all(one["result"]["http"] == "2.0" and len(one["result"]["text"]) == 1 << 20 for one in answers)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# -- the way there

def test_a_proxy_is_used_if_the_configuration_names_one():
    with Server(Mcp()) as proxy, Remote("http://far.example/mcp", proxy=f"http://{proxy.host}") as remote:
        remote.initialize()
        assert proxy.next_message("initialize").target == "http://far.example/mcp"


def test_a_proxy_of_the_environment_is_not_used():
    with Server(Mcp()) as server, Remote(server.url, env={"http_proxy": "http://127.0.0.1:1"}) as remote:
        remote.initialize()
        remote.nothing_comes()


def test_a_host_without_an_address():
    with Remote("http://no-such-host.invalid/mcp") as remote:
        error = remote.ask(INITIALIZE)["error"]
        assert error["code"] == -32055 and error["message"].startswith("no-such-host.invalid:80: "), error
