#!/usr/bin/python3
"""Loads images of ours from an archive of `docker save`: load.py [--progress] <ARCHIVE

Before the engine gets anything, all of its images are looked at: each must have our label, only names of ours, and a
configuration with the checksum it is called by. The layers are checked by the engine. --progress prints lines
"@PERCENT what is done now" as well.
"""

import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import tarfile

LABEL = "org.hal9000.image"
MAX_DOCUMENT = 4 << 20
PIECE = 1 << 20


class Refused(Exception):
    pass


def document(archive, name):
    try:
        entry = archive.getmember(name)
    except KeyError:
        raise Refused(f"there is no {name} in it: it is no archive of docker save") from None
    if not entry.isfile() or entry.size > MAX_DOCUMENT:
        raise Refused(f"{name} in it is no file of at most {MAX_DOCUMENT} bytes")
    return archive.extractfile(entry).read()


def names_in(archive):
    """The names of all images, which are all fit to be loaded."""
    names = []
    for image in json.loads(document(archive, "manifest.json")):
        config = document(archive, image["Config"])
        digest = hashlib.sha256(config).hexdigest()
        if digest != os.path.basename(image["Config"]).removesuffix(".json"):
            raise Refused(f"{image['Config']} in it has the checksum {digest}")
        label = ((json.loads(config).get("config") or {}).get("Labels") or {}).get(LABEL)
        tags = image["RepoTags"] or []
        if label is None or not tags:
            raise Refused(f"image {', '.join(tags) or digest[:12]} in it has no {'name' if label else f'label {LABEL}'}")
        for tag in tags:
            if not re.fullmatch(rf"hal9000/{re.escape(label)}:[\w.-]+", tag):
                raise Refused(f"image {tag} in it says that it is hal9000/{label}")
        names += tags
    if not names:
        raise Refused("there is no image in it")
    return names


def load(progress):
    source = sys.stdin.buffer
    if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
        raise Refused("it must be a file")
    source.seek(0)
    try:
        with tarfile.open(fileobj=source) as archive:
            names = names_in(archive)
    except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"it cannot be read: {error}") from None
    source.seek(0)
    size, done, told = os.fstat(source.fileno()).st_size, 0, -1
    with subprocess.Popen(["docker", "load", "--quiet"], stdin=subprocess.PIPE) as engine:
        try:
            while piece := source.read(PIECE):
                engine.stdin.write(piece)
                done += len(piece)
                if progress and (percent := done * 99 // size) > told:
                    told = percent
                    print(f"@{percent} loads {', '.join(names)}", flush=True)
            engine.stdin.close()
        except BrokenPipeError:
            pass  # the engine says why
    if engine.returncode:
        raise Refused("the engine does not take it")
    print("loaded", *names)


try:
    load("--progress" in sys.argv[1:])
except Refused as error:
    sys.exit(f"load.py: the archive is refused: {error}")
