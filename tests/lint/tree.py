#!/usr/bin/env python3
"""What holds for every tracked file: no address of a private registry, no path of somebody's machine, no file too long.

The patterns are general; what is special to a machine is asked of the machine: its package sources, npm's and pip's
registry, the folder that holds this checkout.
"""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 480
PUBLIC_HOSTS = re.compile(
    r"(^|\.)(debian\.org|npmjs\.org|npmjs\.com|pypi\.org|pythonhosted\.org|github\.com|anthropic\.com|freedesktop\.org|"
    r"docker\.io|apache\.org|w3\.org|modelcontextprotocol\.io|systemd\.io|example\.(com|org|net)|localhost|invalid|test)$")
MACHINE_PATHS = re.compile(r"(?<![\w./-])/(home/(?!claude\b|user\b|USER\b|\$|\{|%|<)[a-z]\w*/|Users/\w+/|root/\.(?!claude)\w+/\w)")
# Python tests ask outside programs, which send no events; their one polling helper has a deadline.
SLEEPS = re.compile(r"sleep_for|sleep_until|usleep\(|\bsleep\([0-9]")


def run(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def private_hosts():
    """Hosts this machine takes packages from that are nobody else's."""
    texts = [run("npm", "config", "get", "registry"), run("pip", "config", "get", "global.index-url")]
    for path in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]:
        if path.is_file():
            texts.append(re.sub(r"^\s*#.*$", "", path.read_text(errors="replace"), flags=re.M))
    hosts = set(re.findall(r"https?://(?:[^/@\s]+@)?([\w.-]+)", "\n".join(texts)))
    return {host for host in hosts if not PUBLIC_HOSTS.search(host) and "." in host}


def main():
    listed = run("git", "ls-files", "-z")
    if not listed:
        print("not a git checkout: nothing to look at")
        return 0
    hosts = private_hosts()
    here = str(ROOT.parent) + "/" if len(ROOT.parent.parts) > 1 and ROOT.parent.parts[1] not in {"usr", "etc", "srv"} else None
    problems, files = [], 0
    for name in listed.split("\0"):
        path = ROOT / name
        if not name or not path.is_file() or path.is_symlink():
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        files += 1
        lines = text.splitlines()
        if name.startswith("src/") and path.suffix in {".cpp", ".hpp"} and len(lines) > MAX_LINES:
            problems.append(f"{name}: {len(lines)} lines; a file is read at one sitting ({MAX_LINES} at most)")
        for number, line in enumerate(lines, 1):
            where = f"{name}:{number}"
            if any(host in line for host in hosts):
                problems.append(f"{where}: names a registry of this machine")
            if here and re.search(rf"(?<![\w/.-]){re.escape(here)}", line):
                problems.append(f"{where}: names a folder of this machine")
            if MACHINE_PATHS.search(line) and name != "tests/lint/tree.py":
                problems.append(f"{where}: looks like a path of somebody's machine")
            if name.startswith("tests/") and path.suffix in {".cpp", ".hpp"} and SLEEPS.search(line):
                problems.append(f"{where}: a sleep; wait for the event, with a deadline")
            if re.search(r"[ \t]+$", line) and not name.startswith("docs/"):
                problems.append(f"{where}: blanks at the end of the line")
    print("\n".join(problems) or f"{files} files are clean")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
