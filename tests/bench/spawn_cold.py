#!/usr/bin/python3
"""Cold spawn against `docker run` with the same image and limits, whole processes, in pairs.

Needs root, an engine with our images (DOCKER_HOST) and a build (HAL_BUILD_DIR). Prints medians and the ratio; the
goal is 1.15 at most. Both sides end with a running container; a spawn has also mounted the project and the user's home,
written the MCP servers into Claude's configuration, and started the command in tmux.

  spawn_cold.py [PAIRS]
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "engine"))
from system import System  # noqa: E402

IMAGE = "hal9000/worker-minimal"
LIMITS = ["--memory=4g", "--memory-swap=4g", "--cpus=2", "--pids-limit=100", "--read-only", "--tmpfs=/tmp", "--tmpfs=/run",
          "--cap-drop=ALL", "--security-opt=no-new-privileges"]


def timed(command, environment):
    begin = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    elapsed = (time.monotonic() - begin) * 1000
    if done.returncode:
        sys.exit(f"{command}: {done.stderr}")
    return elapsed, done.stdout


def main():
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory(prefix="hal9000-bench-") as folder:
        system = System(pathlib.Path(folder), os.environ["DOCKER_HOST"], f"bench-{uuid.uuid4().hex[:6]}", {})
        project = pathlib.Path(folder) / "project"
        project.mkdir()
        try:
            system.start()
            system.until_parent_runs()
            holder = system.containers("parent")[0]
            spawns, runs = [], []
            for number in range(pairs + 1):
                spawn = ["busctl", "--system", "call", "org.hal9000", "/org/hal9000", "org.hal9000.Manager1", "Spawn", "sa{sv}",
                         str(project), "2", "name", "s", f"b{number}", "command", "as", "2", "sleep", "infinity"]
                run = ["docker", "run", "--detach", f"--label=org.hal9000.instance={system.instance}", f"--network=container:{holder}",
                       f"--volume={project}:/workspace", *LIMITS, "--entrypoint=/usr/bin/sleep", IMAGE, "infinity"]
                spawned, _ = timed(spawn, system.environment)
                ran, container = timed(run, system.environment)
                system.claudy("rm", f"b{number}")
                system.docker("rm", "--force", container.strip())
                if number:  # the first pair warms up
                    spawns.append(spawned)
                    runs.append(ran)
        finally:
            system.close()
    ratio = statistics.median(a / b for a, b in zip(spawns, runs))
    print(f"cold spawn, {pairs} pairs: Spawn {statistics.median(spawns):.0f} ms, docker run {statistics.median(runs):.0f} ms (medians)")
    print(f"ratio of pairs, median: {ratio:.2f}   (min {min(a / b for a, b in zip(spawns, runs)):.2f}, max {max(a / b for a, b in zip(spawns, runs)):.2f})")


main()
