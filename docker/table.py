#!/usr/bin/python3
"""What the images at an engine hold, as docs/IMAGES.md shows it: table.py [--update FILE]

Sizes are the engine's, contents those of the manifests. With --update what stands between the marks in the file is
replaced, else it is printed. The engine is that of DOCKER_HOST; images that are not there are an error.
"""

import json
import pathlib
import subprocess
import sys
import textwrap

# Each with the image it is built on.
IMAGES = {
    "worker-ultramin": None,
    "worker-minimal": "worker-ultramin",
    "worker-python": "worker-minimal",
    "worker-node": "worker-minimal",
    "worker-java": "worker-minimal",
    "parent": None,
}
BEGIN, END = "<!-- made by docker/table.py: begin -->\n", "<!-- made by docker/table.py: end -->\n"


def docker(*words):
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout


def megabytes(size):
    return f"{size / 1e6:.1f} MB"


def claude_size(name):
    """Of the layer that is Claude Code's program."""
    layers = docker("history", "--no-trunc", "--human=false", "--format", "{{.Size}}\t{{.CreatedBy}}", f"hal9000/{name}")
    return sum(int(size) for size, made in (line.split("\t", 1) for line in layers.splitlines()) if made.strip().endswith("in /usr/local/bin/claude"))


def text():
    images = {name: json.loads(docker("image", "inspect", f"hal9000/{name}"))[0] for name in IMAGES}
    manifests = {name: json.loads(image["Config"]["Labels"]["org.hal9000.manifest"]) for name, image in images.items()}
    rows, contents = [], []
    for name, base in IMAGES.items():
        inherited = manifests[base] if base else {"packages": [], "downloads": []}
        size, claude = images[name]["Size"], claude_size(name)
        if base:
            parts = f"`{base}` and {megabytes(size - images[base]['Size'])}"
        else:
            parts = f"Claude Code {megabytes(claude)}, the rest {megabytes(size - claude)}" if claude else ""
        pinned = [one for one in manifests[name]["downloads"] if one not in inherited["downloads"]]
        rows.append(f"| `hal9000/{name}` | {megabytes(size)} | {megabytes(size - claude)} | {parts} | {', '.join('{name} {version}'.format(**one) for one in pinned)} |")
        known = {package["name"] for package in inherited["packages"]}
        names = [package["name"] for package in manifests[name]["packages"] if package["name"] not in known]
        title = f"**{name}**{f', beside those of {base}' if base else ''} ({len(names)}): "
        contents.append("\n".join(textwrap.wrap(title + " ".join(names), 120, break_on_hyphens=False, break_long_words=False)))
    head = "| image | size | without Claude Code | of that | pinned by version and checksum |\n|---|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n\nDebian packages:\n\n" + "\n\n".join(contents) + "\n"


def parts_of(document):
    """What stands before, between and after the marks."""
    before, rest = document.split(BEGIN, 1)
    between, after = rest.split(END, 1)
    return before, between, after


def main():
    if sys.argv[1:2] != ["--update"]:
        print(text(), end="")
        return
    file = pathlib.Path(sys.argv[2])
    before, _, after = parts_of(file.read_text())
    file.write_text(before + BEGIN + text() + END + after)


if __name__ == "__main__":
    main()
