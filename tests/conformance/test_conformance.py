"""Through the gateway the suite finds what it finds at the same server directly, and no peer does better."""

import functools
import os
import pathlib
import re

import pytest

import run

BUILD = pathlib.Path(os.environ["HAL_BUILD_DIR"])
LOGS = pathlib.Path(os.environ.get("HAL_CHECK_LOGS", BUILD))
# A server that asks by requests does not choose the keys of inputRequests, which two scenarios name; a third one gives a
# process that has to start 600 ms.
UNTRANSLATABLE = {"input-required-result-basic-elicitation", "input-required-result-ignore-extra-params", "server-stateless"}


@functools.cache
def suite():
    return run.Suite()


@functools.cache
def measured(way, revision):
    with open(LOGS / "conformance.log", "a") as log:
        return run.measure(suite(), BUILD, way, revision, log)


def bad(scores):
    return {name: str(score) for name, score in scores.items() if score.failed or score.warned}


@pytest.mark.parametrize("revision", run.REVISIONS)
def test_fixture_has_everything(revision):
    scores, complaints = measured("direct", revision)
    assert len(scores) == {"2025-06-18": 27, "2025-11-25": 33, "2026-07-28": 40}[revision]
    assert not bad(scores), complaints


@pytest.mark.parametrize("revision", run.REVISIONS)
@pytest.mark.parametrize("way", [*run.OURS, *run.REMOTES])
def test_same_as_direct(way, revision):
    direct, _ = measured("direct", revision)
    ours, complaints = measured(way, revision)
    assert set(ours) == set(direct)
    assert bad(ours) == bad(direct), complaints
    # A server behind stdio has no stream of HTTP that it could close early.
    fewer = {name for name in ours if ours[name].passed < direct[name].passed}
    assert fewer <= {"server-sse-polling"}, fewer


@pytest.mark.parametrize("revision", run.REVISIONS)
def test_translated(revision):
    scores, complaints = measured(run.TRANSLATING, revision)
    assert set(bad(scores)) <= (UNTRANSLATABLE if revision == run.FIRST_WITHOUT_HANDSHAKE else set()), complaints


@pytest.mark.parametrize("way", run.PEERS)
def test_better_than_peers(way):
    theirs, _ = measured(way, "2025-11-25")
    assert len(bad(theirs)) > max(len(bad(measured(ours, "2025-11-25")[0])) for ours in run.OURS)


def test_table_is_current():
    """Its lines of the server that speaks all revisions; run.py --peers --write makes it new."""
    ways = ["direct", *run.OURS]
    for revision in run.REVISIONS:
        cells = [run.summary(measured(way, revision)[0]) for way in ways]
        assert re.search(rf"(?m)^\| {revision} \| {re.escape(' | '.join(cells))} \|", run.DOCUMENT.read_text()), cells
