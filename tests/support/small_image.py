"""An image of some 6 MiB that can be a worker and, with a ChromaDB that only has a heartbeat, the parent: busybox, tmux
and what they need."""

import io
import pathlib
import re
import subprocess
import tarfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
APPLETS = ("sh", "cat", "sleep", "ls", "id", "touch", "wc", "env", "echo", "true", "head", "mkdir", "rm", "mount")


def archive():
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:

        def folder(path, mode=0o755, owner=0):
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, owner, owner
            tar.addfile(entry)

        def text(path, content, mode=0o644):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content.encode()), mode
            tar.addfile(entry, io.BytesIO(content.encode()))

        for path in ("dev", "proc", "sys", "run", "etc", "etc/hal9000", "home", "usr/local/bin", "bin"):
            folder(path)
        folder("tmp", 0o1777)
        for path in ("workspace", "home/claude"):
            folder(path, owner=1000)
        text("etc/passwd", "root:x:0:0::/:/bin/sh\nclaude:x:1000:1000::/home/claude:/bin/sh\n")
        text("etc/group", "root:x:0:\nclaude:x:1000:\n")
        text("usr/local/bin/hal9000-chroma", "#!/bin/sh\nexec busybox httpd -f -p 127.0.0.1:8000 -h /srv\n", 0o755)
        text("srv/api/v2/heartbeat", "{}")
        tar.add(ROOT / "docker/worker/tmux.conf", "etc/hal9000/tmux.conf")
        tar.add("/usr/bin/busybox", "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        needed = subprocess.run(["ldd", "/usr/bin/tmux"], capture_output=True, text=True, check=True).stdout
        for path in ["/usr/bin/tmux", *re.findall(r"(/\S+) \(0x", needed)]:
            tar.add(pathlib.Path(path).resolve(), path.lstrip("/"))
        tar.add("/usr/lib/locale/C.utf8", "usr/lib/locale/C.utf8")  # without which tmux does not start
        for terminal in ("t/tmux-256color", "x/xterm-256color", "d/dumb"):
            place = next(base for base in ("/lib/terminfo", "/usr/share/terminfo") if pathlib.Path(base, terminal).exists())
            tar.add(pathlib.Path(place, terminal).resolve(), f"lib/terminfo/{terminal}")
    return made.getvalue()


def build(name, environment):
    """Makes the image at the engine of this environment (DOCKER_HOST)."""
    subprocess.run(["docker", "import", "--change", "USER 1000:1000", "-", name], input=archive(), env=environment, check=True, capture_output=True)
