#!/usr/bin/python3
"""What a hundred workers cost the daemon and the gateway. Prints the table of docs/PERFORMANCE.md.

  many_workers.py [WORKERS]      default 100

Needs root, an engine (DOCKER_HOST) and a build (HAL_BUILD_DIR). One system of its own, without a pool; workers of
tests/support/small_image.py that run `sleep infinity`; what is more than one owner may have is warm. The quiet
10 s begin when all that was measured before is answered.
"""

import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

import dbus

HERE = pathlib.Path(__file__).resolve().parent
for folder in ("engine", "support"):
    sys.path.insert(0, str(HERE.parent / folder))
import small_image  # noqa: E402
from conftest import run  # noqa: E402
from system import System  # noqa: E402

IMAGE = "hal9000/test-small"
CALLS = 100
QUIET = 10
PER_OWNER = 64


def resident(pid):
    """MiB."""
    line = next(line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def own_memory(pid):
    """MiB that are the process's alone: of the heap, and of files nobody else has mapped."""
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty", "Private_Clean"))) / 1024


def run_time(pid):
    """Nanoseconds of CPU and turns on a CPU."""
    used, _, turns = pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(used), int(turns)


def milliseconds(call):
    times = []
    for _ in range(CALLS + 1):
        begin = time.monotonic()
        call()
        times.append((time.monotonic() - begin) * 1000)
    return times[1:]  # the first warms up


def spawn(system, project, name):
    command = ["busctl", "--system", "--timeout=120", "call", "org.hal9000", "/org/hal9000", "org.hal9000.Manager1", "Spawn", "sa{sv}",
               str(project), "2", "name", "s", name, "command", "as", "2", "sleep", "infinity"]
    subprocess.run(command, env=system.environment, check=True, capture_output=True)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hal9000-bench-", dir="/var/tmp"))
    small_image.build(IMAGE, dict(os.environ))
    system = System(folder, os.environ["DOCKER_HOST"], f"bench-{uuid.uuid4().hex[:6]}", {})
    (system.config / "conf.d/zz-small.toml").write_text(
        f'[parent]\nimage = "{IMAGE}"\n[profile.base]\nimage = "{IMAGE}"\nforeign_images = ["{IMAGE}"]\nmemory = "32M"\n')
    project = folder / "project"
    project.mkdir()
    try:
        system.start()
        system.until_parent_runs()
        daemon, gateway = system.daemon.pid, int(run("pgrep", "-P", system.daemon.pid).split()[0])
        empty = {pid: (resident(pid), own_memory(pid)) for pid in (daemon, gateway)}
        begin = time.monotonic()
        warm = max(0, count - PER_OWNER)
        for number in range(count - warm):
            spawn(system, project, f"w{number}")
        if warm:
            system.claudy("pool", "scale", str(warm), str(warm))
            system.until_warm(warm, 600)
        made = time.monotonic() - begin
        bus = dbus.bus.BusConnection(system.environment["DBUS_SYSTEM_BUS_ADDRESS"])
        root = bus.get_object("org.hal9000", "/org/hal9000", introspect=False)
        manager = dbus.Interface(root, "org.hal9000.Manager1")
        objects = dbus.Interface(root, "org.freedesktop.DBus.ObjectManager")
        assert len(manager.ListWorkers()) == count
        listed = milliseconds(manager.ListWorkers)
        managed = milliseconds(objects.GetManagedObjects)
        full = {pid: (resident(pid), own_memory(pid)) for pid in (daemon, gateway)}
        time.sleep(40)  # each worker leaves a timer or two from its start, which fire once
        before = {pid: run_time(pid) for pid in (daemon, gateway)}
        time.sleep(QUIET)
        after = {pid: run_time(pid) for pid in (daemon, gateway)}

        print(f"{count} workers ({warm} of them warm) made in {made:.1f} s; load {os.getloadavg()[0]:.1f}\n")
        print("| figure | now | goal |\n|---|---|---|")
        for name, pid, goal in (("hal9000d", daemon, "15"), ("hal9000-gateway", gateway, "")):
            print(f"| {name} resident, MiB (its own part) | {full[pid][0]:.1f} ({full[pid][1]:.1f}); "
                  f"without workers {empty[pid][0]:.1f} ({empty[pid][1]:.1f}) | {goal} |")
        for name, times, goal in (("ListWorkers", listed, "2"), ("GetManagedObjects", managed, "")):
            print(f"| {name} over all, ms: median (p99) of {CALLS} | {statistics.median(times):.2f} ({sorted(times)[-2]:.2f}) | {goal} |")
        for name, pid in (("hal9000d", daemon), ("hal9000-gateway", gateway)):
            used, turns = (after[pid][part] - before[pid][part] for part in (0, 1))
            print(f"| {name} idle for {QUIET} s: CPU ms (wake-ups) | {used / 1e6:.2f} ({turns}) | watchdog only |")
    finally:
        system.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
