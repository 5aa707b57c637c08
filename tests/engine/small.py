"""A system over tests/support/small_image.py: workers are made in a tenth of a second, and there is no Claude Code in them."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import uuid
from contextlib import contextmanager

from conftest import ROOT
from system import CLAUDY, System

sys.path.insert(0, str(ROOT / "tests/support"))
import small_image  # noqa: E402

IMAGE = "hal9000/test-small"
POOL = 2
SETTINGS = f'[parent]\nimage = "{IMAGE}"\n[profile.base]\nimage = "{IMAGE}"\nforeign_images = ["{IMAGE}*"]\nmemory = "64M"\n'


@contextmanager
def small_system(engine_host, through=None, servers=None):
    """A system, not started yet; `through` gives another socket for its daemon, in the system's folder."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hal9000-small-", dir="/var/tmp"))
    small_image.build(IMAGE, {**os.environ, "DOCKER_HOST": engine_host})
    host = through(folder) if through else engine_host
    system = System(folder / "s", host, f"test-{uuid.uuid4().hex[:6]}", servers or {}, pool=(POOL, POOL))
    system.environment["DOCKER_HOST"] = engine_host  # what the test asks is not the daemon's
    (system.config / "conf.d/zz-small.toml").write_text(SETTINGS)
    try:
        yield system
    finally:
        system.close()
        print(system.log.read_text())  # shown by pytest where a test failed
        shutil.rmtree(folder)


def run_in(system, worker, *command):
    """What the program says; nothing where it cannot be started yet."""
    done = subprocess.run([CLAUDY, "exec", worker, "--", *command], env=system.environment, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout
