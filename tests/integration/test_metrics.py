"""hal9000-metrics as a scraper sees it, over a private bus."""
import concurrent.futures
import http.client
import json
import os
import signal
import socket
import subprocess

import pytest
from claudy_support import BUILD, DEADLINE, Stage
from prometheus_client.openmetrics.parser import text_string_to_metric_families

PROGRAM = str(BUILD / "src/metrics/hal9000-metrics")


class Metrics:
    """The program with a socket as systemd would give it."""

    def __init__(self, environment):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = listening.getsockname()[1]
            fd = listening.fileno()
            self.process = subprocess.Popen(
                ["bash", "-c", f'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" 3<&{fd}', PROGRAM], pass_fds=[fd], env=environment)

    def request(self, method="GET", path="/metrics", body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type"), answer.read().decode()
        finally:
            connection.close()

    def scrape(self):
        status, kind, text = self.request()
        assert (status, kind) == (200, "application/openmetrics-text; version=1.0.0; charset=utf-8"), text
        return {(sample.name, *sorted(sample.labels.items())): sample.value
                for family in text_string_to_metric_families(text) for sample in family.samples}

    def close(self):
        self.process.terminate()
        assert self.process.wait(DEADLINE) == 0


@pytest.fixture
def stage():
    with Stage() as stage:
        yield stage


@pytest.fixture
def metrics(stage):
    metrics = Metrics(stage.environment)
    yield metrics
    metrics.close()


def test_figures_are_those_of_the_bus(stage, metrics):
    stage.spawn("cat")
    found = metrics.scrape()
    assert found["hal9000_up",] == 1
    assert found["hal9000_info", ("version", "0.1.0")] == 1
    assert found["hal9000_state", ("hal9000_state", "running")] == 1
    assert found["hal9000_state", ("hal9000_state", "degraded")] == 0
    assert found["hal9000_engine_up",] == 1
    assert found["hal9000_workers", ("state", "running")] == 1
    assert found["hal9000_pool_warm",] == 1
    assert found["hal9000_pool_claims_total", ("result", "hit")] == 7
    assert found["hal9000_pool_claim_seconds_bucket", ("le", "0.004096")] == 6
    assert found["hal9000_pool_claim_seconds_bucket", ("le", "+Inf")] == 7
    assert found["hal9000_server_requests_total", ("server", "memory")] == 12
    assert found["hal9000_server_answer_seconds_bucket", ("le", "0.004096"), ("server", "memory")] == 12
    worker = json.loads(stage.claudy("ls", "--json").stdout)[0]
    labels = (("owner", str(worker["owner"])), ("profile", worker["profile"]), ("worker", worker["id"]))
    assert found["hal9000_worker_memory_max_bytes", *labels] == worker["memory_max"]


def test_a_daemon_that_does_not_run_is_told_and_not_started(stage, metrics):
    stage.end_daemon()
    assert metrics.scrape()["hal9000_up",] == 0
    stage.start_daemon()
    assert metrics.scrape()["hal9000_up",] == 1


def test_a_daemon_that_does_not_answer_is_not_up(stage, metrics):
    stage.daemon.send_signal(signal.SIGSTOP)
    try:
        assert metrics.scrape()["hal9000_up",] == 0
    finally:
        stage.daemon.send_signal(signal.SIGCONT)
    assert metrics.scrape()["hal9000_up",] == 1


def test_a_new_bus_is_found(stage, metrics):
    assert metrics.scrape()["hal9000_up",] == 1
    stage.end_daemon(kill=True)
    stage.bus.kill()
    stage.bus.wait()
    assert metrics.scrape()["hal9000_up",] == 0
    os.unlink(f"{stage.folder}/bus")
    stage.bus.stdout.close()
    stage.start_bus()
    stage.start_daemon()
    assert metrics.scrape()["hal9000_up",] == 1


@pytest.mark.parametrize("method, path, body, status", [
    ("GET", "/", None, 404), ("GET", "/metrics/x", None, 404), ("POST", "/metrics", "x", 405),
    ("DELETE", "/metrics", None, 405), ("GET", "/metrics", "x" * 100, 413), ("HEAD", "/metrics", None, 200),
])
def test_other_requests_are_refused(metrics, method, path, body, status):
    assert metrics.request(method, path, body)[0] == status


def test_what_is_no_http_is_closed(metrics):
    with socket.create_connection(("127.0.0.1", metrics.port), timeout=DEADLINE) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00 this is no HTTP\r\n\r\n")
        while connection.recv(4096):
            pass
    assert metrics.scrape()["hal9000_up",] == 1


def test_many_scrapers_at_once_are_all_answered(metrics):
    with concurrent.futures.ThreadPoolExecutor(24) as threads:
        scrapes = list(threads.map(lambda _: metrics.scrape(), range(96)))
    assert all(found["hal9000_up",] == 1 for found in scrapes)


def test_without_sockets_it_says_who_starts_it():
    run = subprocess.run([PROGRAM], capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert run.returncode == 1
    assert "systemctl enable --now hal9000-metrics.socket" in run.stderr
