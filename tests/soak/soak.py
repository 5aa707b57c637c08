#!/usr/bin/env python3
"""64 clients use three servers through the gateway for a while, with random ends of clients, servers and the gateway.

  soak.py [--build DIR] [--seconds 120] [--seed N]

Every answer is checked; see client.py for what is asked and world.py for the troubles. A seed gives the same clients the
same wishes; what meets whom is still the machine's. Prints what was done and what was wrong.
"""

import argparse
import asyncio
import dataclasses
import os
import pathlib
import random
import sys
import tempfile

from world import World

RESTARTS = 5


@dataclasses.dataclass
class Outcome:
    seed: int
    violations: dict
    counts: dict
    fresh: dict  # the gateway at rest: before the first client,
    third: dict  # after a third of the time, when it has been killed once and restarted some times,
    end: dict  # and at the end
    expected: dict  # what a little known traffic should add to a server's counters,
    counted: dict  # and what it does
    exit_code: int
    left: list  # processes


async def soak(build, folder, seed, seconds, factor):
    world = World(build, folder, seed, factor)
    await world.start()
    try:
        fresh = await world.rest()
        world.running.set()
        await asyncio.sleep(seconds / 6)
        await world.kill_gateway()
        for _ in range(RESTARTS):
            await asyncio.sleep(seconds / 6 / RESTARTS)
            await world.restart_gateway()
        third = await world.rest()
        world.running.set()
        await asyncio.sleep(seconds * 2 / 3)
        end = await world.rest()
        expected = await world.known_traffic()
        before = end["servers"]["steady"]
        after = await world.until("the counters", lambda status: all(
            status["servers"]["steady"][name] - before[name] >= number for name, number in expected.items())
            and status["servers"]["steady"]["sessions"] == 0)
        counted = {name: after["servers"]["steady"][name] - before[name] for name in expected}
    finally:
        exit_code = await world.close()
    return Outcome(seed, dict(world.violations), world.counts, fresh, third, end, expected, counted, exit_code, left(folder))


def left(folder):
    """Processes that name the folder."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if any(word.startswith(str(folder).encode()) for word in words):
            found.append(b" ".join(words).decode())
    return found


def run(build, seconds, seed=None):
    seed = seed if seed is not None else random.SystemRandom().randrange(10**6)
    print(f"soak: seed {seed}, {seconds} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="hal9000-soak-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        outcome = asyncio.run(soak(build, folder, seed, seconds, float(os.environ.get("HAL_TEST_TIME_FACTOR", "1"))))
        for moment in ("fresh", "third", "end"):
            at = getattr(outcome, moment)
            print(f"{moment}: {at['fds']} fds, {at['anonymous_kib']} KiB anonymous, {at['resident_kib']} KiB resident")
        for what, count in sorted(outcome.counts.items()):
            print(*what, count)
        for kind, texts in outcome.violations.items():
            print(f"-- {kind}: {len(texts)}", *texts[:10], sep="\n   ")
        if outcome.violations or outcome.exit_code:
            print((folder / "log").read_text(errors="replace")[-20000:])
    return outcome


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=os.environ.get("HAL_BUILD_DIR", "build"))
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args()
    outcome = run(arguments.build.absolute(), arguments.seconds, arguments.seed)
    print(outcome.expected, outcome.counted, outcome.exit_code, outcome.left)
    sys.exit(bool(outcome.violations))


if __name__ == "__main__":
    main()
