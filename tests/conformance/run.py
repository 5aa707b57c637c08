#!/usr/bin/env python3
"""Runs the server scenarios of the official conformance suite against one stdio server, reached in several ways.

The server is tests/conformance/fixture; it can also serve HTTP by itself, which is what the others are measured by.

usage: run.py --build BUILD [--peers] [--remote] [--write] [--revision REVISION] [--scenario NAME]
  --peers   supergateway and mcp-proxy, too
  --remote  the fixture's own HTTP as a remote server, too
  --write   put the tables into docs/MCP.md
"""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time

from gateway import PATH as gateway_path
from gateway import Gateway
from proxy import Proxy

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DOCUMENT = ROOT / "docs" / "MCP.md"
REVISIONS = ["2025-06-18", "2025-11-25", "2026-07-28"]
OURS = {"HAL-9000 shared": "shared", "HAL-9000 session": "session"}
# The fixture's own HTTP as a remote server behind the gateway.
REMOTES = {"remote shared": "shared", "remote session": "session"}
# In front of the same server, but it speaks only revisions that the client does not. A process a session: the suite's
# requests say they can do now this and now that, and a process is told once.
TRANSLATING = "HAL-9000 translating"
FIRST_WITHOUT_HANDSHAKE = "2026-07-28"
PEERS = ["supergateway --stateful", "mcp-proxy"]
START_SECONDS = 30
SUITE_SECONDS = 100


class Score(collections.namedtuple("Score", "passed failed warned")):
    """The checks of one scenario; a scenario that could check nothing has passed none."""

    def __str__(self):
        return f"{self.passed}/{self.failed}" + ("w" if self.warned else "")


class Suite:
    """What is installed: the suite, the node that runs it and the fixture, the peers."""

    def __init__(self):
        script = ROOT / "tests/support/mcp_servers.sh"
        self.folder = pathlib.Path(
            subprocess.run([script, HERE], check=True, text=True, stdout=subprocess.PIPE, timeout=300).stdout.strip())
        machine = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
        self.node = self.folder / f"node_modules/node-linux-{machine}/bin/node"
        self.fixture = [str(self.node), str(HERE / "fixture/server.mjs"), str(self.folder)]
        self.environment = {**os.environ, "PATH": f"{self.node.parent}:{os.environ['PATH']}"}

    def program(self, name):
        return [str(self.node), str((self.folder / "node_modules/.bin" / name).resolve())]

    def run(self, url, revision, scenario=None):
        """Scores by scenario."""
        with tempfile.TemporaryDirectory(prefix="hal9000-conformance-") as results:
            wanted = ["--scenario", scenario] if scenario else ["--suite", "all"]
            command = [*self.program("conformance"), "server", "--url", url, *wanted, "--spec-version", revision, "-o", results]
            done = subprocess.run(command, capture_output=True, text=True, timeout=SUITE_SECONDS, env=self.environment)
            scores, complaints = {}, {}
            for file in sorted(pathlib.Path(results).glob("server-*/checks.json")):
                name = file.parent.name.removeprefix("server-")[:-len("-0000-00-00T00-00-00-000Z")]
                checks = json.loads(file.read_text())
                count = collections.Counter(check["status"] for check in checks)
                scores[name] = Score(count["SUCCESS"], count["FAILURE"], count["WARNING"])
                complaints[name] = [f"{check['id']}: {check.get('errorMessage')}" for check in checks
                                    if check["status"] in ("FAILURE", "WARNING")]
        if not scores:
            raise RuntimeError(f"the suite did not run:\n{done.stdout}\n{done.stderr}")
        return scores, complaints


# The ways to the fixture. Each is a context that gives a URL.


def stop(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def directly(suite, _build, log, _revision):
    process = subprocess.Popen([*suite.fixture, "--http"], stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        stop(process)
        process.stdout.close()


def translated(suite, revision):
    return [*suite.fixture, "--legacy" if revision >= FIRST_WITHOUT_HANDSHAKE else "--modern"]


def ours(mode, program=lambda suite, _revision: suite.fixture):
    """`program` tells what the gateway starts."""
    @contextlib.contextmanager
    def through_gateway(suite, build, log, revision):
        gateway = Gateway(build, mode, program(suite, revision), log)
        proxy = Proxy(gateway.port, gateway_path, gateway.token)
        try:
            yield proxy.url
        finally:
            proxy.close()
            code = gateway.close()
        if code != 0:
            raise RuntimeError(f"hal9000-gateway ended with {code}")

    return through_gateway


def remote(mode):
    @contextlib.contextmanager
    def through_gateway(suite, build, log, revision):
        with directly(suite, build, log, revision) as url:
            settings = json.dumps({"url": url, "transport": "http", "headers": {}, "timeout_ms": 60_000, "proxy": ""})
            script = f"(echo '{settings}'; exec cat) | {build}/src/remote/hal9000-remote fixture"
            with ours(mode, lambda *_: ["/bin/sh", "-c", script])(suite, build, log, revision) as through:
                yield through

    return through_gateway


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def peer(name, arguments):
    @contextlib.contextmanager
    def through_peer(suite, _build, log, _revision):
        port = free_port()
        command = [*suite.program(name), *arguments(port, suite.fixture)]
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=suite.environment)
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{name} did not start")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            stop(process)

    return through_peer


WAYS = {
    "direct": directly,
    **{name: ours(mode) for name, mode in OURS.items()},
    **{name: remote(mode) for name, mode in REMOTES.items()},
    TRANSLATING: ours("session", translated),
    PEERS[0]: peer("supergateway", lambda port, fixture: [
        "--stdio", " ".join(fixture), "--outputTransport", "streamableHttp", "--stateful", "--port", str(port)]),
    PEERS[1]: peer("mcp-proxy", lambda port, fixture: [
        "--host", "127.0.0.1", "--port", str(port), "--server", "stream", "--", *fixture]),
}


def measure(suite, build, way, revision, log, scenario=None):
    with WAYS[way](suite, build, log, revision) as url:
        return suite.run(url, revision, scenario)


# Tables.


def summary(scores):
    good = sum(score.failed == 0 for score in scores.values())
    return f"{good} of {len(scores)} ({'–'.join(str(sum(column)) for column in zip(*scores.values()))})"


def tables(results):
    """`results`: revision -> way -> scenario -> Score."""
    ways = list(dict.fromkeys(way for by_way in results.values() for way in by_way))
    header = f"| {' | '.join(ways)} |\n|{' --- |' * (len(ways) + 1)}"
    lines = [f"| revision {header}"]
    lines += [f"| {revision} | {' | '.join(summary(by_way[way]) for way in ways)} |" for revision, by_way in results.items()]
    for revision in [revision for revision in ("2025-11-25", "2026-07-28") if revision in results]:
        by_way = results[revision]
        lines += ["", f"| scenario, {revision} {header}"]
        for scenario in sorted(by_way[ways[0]]):
            cells = [by_way[way].get(scenario, "-") for way in ways]
            lines.append(f"| {scenario} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def write(text):
    before, rest = DOCUMENT.read_text().split("<!-- conformance: begin -->\n")
    after = rest.split("<!-- conformance: end -->")[1]
    DOCUMENT.write_text(f"{before}<!-- conformance: begin -->\n{text}\n<!-- conformance: end -->{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--remote", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--revision", action="append", choices=REVISIONS)
    parser.add_argument("--scenario")
    options = parser.parse_args()
    log = open(options.build / "conformance.log", "w")  # of the gateway, the peers and the fixture
    suite = Suite()
    results = {}
    for revision in options.revision or REVISIONS:
        results[revision] = {}
        for way in WAYS:
            if (way in PEERS and not options.peers) or (way in REMOTES and not options.remote):
                continue
            begin = time.monotonic()
            scores, complaints = measure(suite, options.build, way, revision, log, options.scenario)
            results[revision][way] = scores
            print(f"{revision} {way}: {summary(scores)} in {time.monotonic() - begin:.1f} s", file=sys.stderr)
            for scenario, lines in complaints.items():
                log.writelines(f"{revision} {way}: {scenario}: {line}\n" for line in lines)
    text = tables(results)
    print(text)
    if options.write:
        write(text)


if __name__ == "__main__":
    main()
