"""64 clients, three servers and their ends: every answer comes once, to whom has asked, and nothing is left.

HAL_SOAK_SECONDS   how long (default 120)
HAL_SOAK_SEED      the clients' wishes of an earlier run
"""

import os
import pathlib

import pytest

import soak

SECONDS = float(os.environ.get("HAL_SOAK_SECONDS", "120"))
# What a gateway at rest may have grown by, whatever it did between: the allocator keeps some of what large messages took.
GROWN_KIB = 8 * 1024


@pytest.fixture(scope="module", name="outcome")
def outcome_fixture():
    seed = os.environ.get("HAL_SOAK_SEED")
    return soak.run(pathlib.Path(os.environ["HAL_BUILD_DIR"]), SECONDS, int(seed) if seed else None)


@pytest.mark.parametrize("kind", ["lost", "doubled", "misrouted", "order", "content", "error", "http", "closed", "refused", "relay"])
def test_nothing_is(outcome, kind):
    assert not outcome.violations.get(kind), f"seed {outcome.seed}"


def test_everything_happened(outcome):
    """Each way, each kind of end and each trouble; else the rest shows little."""
    done = outcome.counts
    for server in ("shared", "steady", "session"):
        assert done["answered", server, "tools/call"] > SECONDS
    assert {kind for what, kind, _ in done if what == "lives"} == {"relay", "socket", "http"}
    assert {how for what, _, how in done if what == "lives"} >= {"polite", "signal", "cut", "half", "ended"}
    assert {where for what, where, _ in done if what == "trouble"} >= {"gateway", "client", "shared"}
    assert done["trouble", "gateway", "restart"] == soak.RESTARTS
    assert done["errors", "shared", "-32603"] > 0


def test_nothing_leaks(outcome):
    assert not outcome.violations.get("leak")
    assert outcome.third["gateway"] == outcome.end["gateway"] != outcome.fresh["gateway"]
    assert outcome.fresh["fds"] == outcome.third["fds"] == outcome.end["fds"]
    assert outcome.end["anonymous_kib"] - outcome.third["anonymous_kib"] < GROWN_KIB
    assert (outcome.exit_code, outcome.left) == (0, [])


def test_counters_are_exact(outcome):
    assert outcome.counted == outcome.expected


def test_counters_add_up(outcome):
    """Between the two rests: what was answered was counted, and what was counted was asked."""
    for server, end in outcome.end["servers"].items():
        begin = outcome.third["servers"][server]
        seen = {name: end[name] - begin[name] for name in ("requests", "calls", "answered", "errors", "refused")}
        ours = outcome.end["counts"] - outcome.third["counts"]
        asked, answered = ({name: count for (what, at, name), count in ours.items() if (what, at) == (kind, server)}
                           for kind in ("asked", "answered"))
        assert answered["tools/call"] <= seen["calls"] <= asked["tools/call"], server
        assert sum(answered.values()) <= seen["answered"] <= seen["requests"], server
        assert seen["refused"] == 0
