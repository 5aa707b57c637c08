"""Server1.Trace of the real hal9000d and gateway, and `claudy server trace` on it."""
import json
import os
import select
import signal
import subprocess

import pytest

from conftest import BUILD, DEADLINE, PREFIX, Failed
from test_bus import ALICE, echo_servers, eventually

PATH, INTERFACE = "/org/hal9000/server/echo", "org.hal9000.Server1"


class Trace:
    """The lines of one trace, which runs from here on."""

    def __init__(self, caller, **options):
        number = caller.call(PATH, INTERFACE, "Trace", "a{sv}", options)["fd"]
        self.file = open(f"/proc/{caller.process.pid}/fd/{number}", "rb", buffering=0)
        self.bytes = b""

    def silent(self):
        return not self.bytes and not select.select([self.file], [], [], 0)[0]

    def next(self):
        """The next line; nothing at the end."""
        while b"\n" not in self.bytes:
            assert select.select([self.file], [], [], DEADLINE)[0], "no line came"
            read = os.read(self.file.fileno(), 65536)
            if not read:
                return None
            self.bytes += read
        line, self.bytes = self.bytes.split(b"\n", 1)
        return json.loads(line)


def call(system, text="x"):
    return json.loads(system.caller().call(PATH, INTERFACE, "Call", "ss", "echo", json.dumps({"text": text})))


def answers(system):
    """Whether a gateway is there, after the former one's end."""
    try:
        return bool(call(system))
    except Failed:
        return False


def claudy(system, *arguments, **options):
    return system.start([BUILD / "src/claudy/claudy", "server", "trace", *arguments], stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE, text=True, **options)


def gateway_of(system):
    children = subprocess.run(["pgrep", "-P", str(system.daemon.pid), "hal9000-gatewa"], capture_output=True,
                              text=True, check=True).stdout.split()
    assert len(children) == 1
    return int(children[0])


def started(system, *arguments):
    """A claudy that has shown something."""
    trace = claudy(system, "echo", *arguments)

    def shows():
        call(system)
        return select.select([trace.stdout], [], [], 0)[0]
    eventually(shows)
    return trace


@pytest.mark.parametrize("mode", ["shared", "session"])
def test_root_sees_all_and_others_nothing_of_it(system, mode):
    system.start_daemon(servers=echo_servers(system, mode))
    of_root, with_payloads = Trace(system.caller()), Trace(system.caller(), payloads=["b", True])
    of_alice = Trace(system.caller(ALICE))
    call(system, "a secret")
    lines = [of_root.next() for _ in range(5)]
    assert [(line["from"], line["kind"], line.get("method")) for line in lines] == [
        ("client", "request", "initialize"), ("server", "result", "initialize"),
        ("client", "notification", "notifications/initialized"), ("client", "request", "echo"),
        ("server", "result", "echo")]
    assert lines[4]["outcome"] == "ok" and lines[4]["duration_usec"] > 0
    assert all(line["worker"] == "" for line in lines)
    assert "a secret" not in json.dumps(lines)
    assert "a secret" in [with_payloads.next() for _ in range(4)][3]["payload"]
    assert of_alice.silent()


def test_a_trace_ends_with_its_server(system):
    system.start_daemon(servers=echo_servers(system))
    of_root, of_alice = Trace(system.caller()), Trace(system.caller(ALICE))
    trace = started(system)
    system.configure(servers={})
    system.caller().manager("Reload")
    assert of_alice.next()["end"] == "server-removed"
    assert of_alice.next() is None
    line = of_root.next()
    while "end" not in line:
        line = of_root.next()
    assert line["reason"] == "server echo was removed"
    _, errors = trace.communicate(timeout=DEADLINE)
    assert (trace.returncode, errors) == (0, "claudy: the trace is over: server echo was removed\n")


@pytest.mark.parametrize("how, sentence", [(signal.SIGTERM, "the trace is over: the gateway is stopping"),
                                           (signal.SIGKILL, "the daemon or its gateway ended meanwhile")])
def test_a_trace_ends_with_the_gateway(system, how, sentence):
    system.start_daemon(servers=echo_servers(system))
    trace = started(system)
    os.kill(gateway_of(system), how)
    _, errors = trace.communicate(timeout=DEADLINE)
    assert trace.returncode == 3
    assert sentence in errors
    eventually(lambda: answers(system))
    started(system).kill()


def test_a_trace_ends_with_the_daemon(system):
    system.start_daemon(servers=echo_servers(system))
    trace = started(system, "--json")
    assert system.end_daemon() == 0
    output, errors = trace.communicate(timeout=DEADLINE)
    assert trace.returncode == 3
    assert all(json.loads(line) for line in output.splitlines())
    assert "over" in errors or "ended" in errors


def test_traces_are_bounded_and_bad_options_refused(system):
    system.start_daemon(servers=echo_servers(system))
    alice = system.new_caller(ALICE)
    traces = [Trace(alice) for _ in range(4)]
    with pytest.raises(Failed) as refused:
        Trace(alice)
    assert refused.value.name == PREFIX + "LimitExceeded"
    run = claudy(system, "echo", user=ALICE, group=ALICE, extra_groups=[])
    _, errors = run.communicate(timeout=DEADLINE)
    assert run.returncode == 6
    assert "traced 4 times" in errors
    for trace in traces:
        trace.file.close()
    alice.end()
    eventually(lambda: can_trace(system.caller(ALICE)))
    for options, name in (({"worker": ["s", "0a"]}, "NotFound"), ({"worker": ["s", "/"]}, "InvalidArgument"),
                          ({"payloads": ["s", "yes"]}, "InvalidArgument"), ({"all": ["b", True]}, "InvalidArgument")):
        with pytest.raises(Failed) as refused:
            Trace(system.caller(), **options)
        assert refused.value.name == PREFIX + name


def can_trace(caller):
    try:
        Trace(caller).file.close()
    except Failed:
        return False
    return True
