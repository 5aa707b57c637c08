"""A private bus, a fake daemon and a terminal for tests of claudy."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import conftest

SOURCE = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("HAL_BUILD_DIR", SOURCE / "build"))
DEADLINE = 60 * float(os.environ.get("HAL_TEST_TIME_FACTOR", "1"))


class Stage:
    """Everything claudy needs, in a folder of its own; ends all it started."""

    def __init__(self, daemon=True):
        self.with_daemon = daemon
        self.program = str(BUILD / "src/claudy/claudy")
        self.folder = tempfile.mkdtemp(prefix="hal-")
        self.bus = self.daemon = None
        self.projects = 0

    def __enter__(self):
        self.start_bus()
        self.environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self.address, "LC_ALL": "C.UTF-8"}
        self.environment.pop("TMUX", None)
        if self.with_daemon:
            self.start_daemon()
        return self

    def start_bus(self):
        self.bus = subprocess.Popen(["dbus-daemon", "--session", "--nofork", "--print-address=1",
                                     f"--address=unix:path={self.folder}/bus"], stdout=subprocess.PIPE, text=True)
        self.read_line(self.bus.stdout)
        self.address = f"unix:path={self.folder}/bus"  # without the id of this one: a next one is the same to clients

    def __exit__(self, *_):
        self.end_daemon()
        # The workers of a daemon that was killed live on, as they should, and a screen that never came up.
        for tmux in [*Path(self.folder).glob("*/tmux*"), *Path(self.folder).glob("screen-*")]:
            subprocess.run(["tmux", "-S", str(tmux), "kill-server"], capture_output=True, timeout=DEADLINE,
                           check=False)
        self.bus.kill()
        self.bus.wait()
        self.bus.stdout.close()
        shutil.rmtree(self.folder)

    def start_daemon(self):
        self.daemon = subprocess.Popen([sys.executable, str(SOURCE / "tests/fakes/fake_hal9000d.py"), self.folder],
                                       stdout=subprocess.PIPE, env=self.environment, text=True)
        assert self.read_line(self.daemon.stdout) == "ready\n"

    def end_daemon(self, kill=False):
        if self.daemon is not None:
            if kill:
                self.daemon.kill()
            else:
                self.daemon.terminate()
            self.daemon.wait(DEADLINE)
            self.daemon.stdout.close()
            self.daemon = None

    def claudy(self, *arguments, **options):
        """Runs it to its end, without a terminal."""
        if "input" not in options:
            options["stdin"] = subprocess.DEVNULL
        return subprocess.run([self.program, *arguments], capture_output=True, text=True, env=self.environment,
                              timeout=DEADLINE, cwd=self.folder, check=False, **options)

    def shell(self, script):
        path = f"{Path(self.program).parent}:{self.environment['PATH']}"
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=DEADLINE,
                              stdin=subprocess.DEVNULL, env={**self.environment, "PATH": path}, check=False)

    def project(self):
        """A new directory."""
        self.projects += 1
        path = os.path.join(self.folder, f"project{self.projects}")
        os.mkdir(path)
        return path

    def spawn(self, *command):
        """A running worker on a new project; its name."""
        run = self.claudy("spawn", self.project(), "--", *command)
        assert run.returncode == 0, run.stderr
        return run.stdout.strip()

    def calls(self):
        """What the fake daemon has noted."""
        with open(os.path.join(self.folder, "calls"), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    @staticmethod
    def read_line(stream):
        line = conftest.read_line(stream)
        assert line, "the stream ended"
        return line + "\n"

    @staticmethod
    def wait_for(condition):
        """For what has no event to wait for: a screen, a file."""
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.02)


class Screen:
    """A terminal as a person has it, with a shell in it: tmux, outside of any worker."""

    def __init__(self, stage, rows=24, columns=80):
        self.stage = stage
        self.socket = tempfile.mktemp(prefix="screen-", dir=stage.folder)
        path = f"{Path(stage.program).parent}:{stage.environment['PATH']}"
        environment = {**stage.environment, "PATH": path, "PS1": "$ ", "ENV": "", "TERM": "xterm-256color"}
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), "sh", "-i",
                  env=environment)
        self.wait("$")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tmux("kill-server", check=False)

    def tmux(self, *words, check=True, **options):
        return subprocess.run(["tmux", "-S", self.socket, *words], check=check, capture_output=True, text=True,
                              timeout=DEADLINE, **options).stdout

    def type(self, *keys):
        """tmux's names of keys, or texts."""
        self.tmux("send-keys", *keys)

    def run(self, command):
        self.type("-l", command)
        self.type("Enter")

    def text(self):
        return self.tmux("capture-pane", "-p")

    def wait(self, words):
        self.stage.wait_for(lambda: words in self.text())

    def shows(self, variable):
        """One of tmux's own words on the pane, such as alternate_on."""
        return self.tmux("display-message", "-p", f"#{{{variable}}}").strip()

    def resize(self, rows, columns):
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))
