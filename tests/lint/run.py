#!/usr/bin/env python3
"""Runs every check on the source itself and writes their results as JUnit.

    run.py [--junit FILE] [--build DIR] [--cache DIR] [NAME…]

Needs a configured build for clang-tidy and for the units. A check whose tool is missing is skipped, and says so.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent


class Skip(Exception):
    pass


class Fail(Exception):
    pass


def tool(*names):
    """The first of `names` that is installed."""
    for name in names:
        if path := shutil.which(name):
            return path
    raise Skip(f"{names[0]} is not installed")


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, cwd=ROOT, timeout=900, **options)
    if done.returncode != 0:
        raise Fail(done.stdout[-20000:] or f"{command[0]}: exit code {done.returncode}")
    return done.stdout


def tracked(*patterns):
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns).split("\0")
    return [name for name in listed if name and (ROOT / name).is_file()]


def scripts(pattern):
    """Tracked files whose first line matches."""
    found = []
    for name in tracked():
        with open(ROOT / name, "rb") as file:
            if re.match(pattern, file.readline(200)):
                found.append(name)
    return found


def check_format(_):
    try:
        run(tool("clang-format-14"), "--dry-run", "--Werror", *tracked("*.cpp", "*.hpp"))
    except Fail as problem:
        lines = sorted(set(re.findall(r"^(\S+?:\d+):\d+: error", str(problem), flags=re.M)))
        raise Fail("clang-format-14 would change\n" + "\n".join(lines)) from problem


def check_includes(_):
    run(sys.executable, HERE / "includes.py")


def check_dbus_xml(_):
    run(sys.executable, HERE / "dbus_xml.py")


def check_tree(_):
    run(sys.executable, HERE / "tree.py")


def check_xml(_):
    run(tool("xmllint"), "--noout", "--nonet", *tracked("*.xml", "dbus/*.conf", "dbus/*.policy"))


def check_bus_policy(_):
    """The bus daemon itself parses the policy file."""
    daemon = tool("dbus-daemon")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "bus.conf"
        config.write_text(f"<busconfig><listen>unix:dir={folder}</listen><auth>EXTERNAL</auth>"
                          f"<policy context='default'><allow own='*'/></policy>"
                          f"<include>{ROOT}/dbus/org.hal9000.conf</include></busconfig>")
        # Ends with the pipe that holds its output; an unparsable include ends it at once.
        bus = subprocess.Popen([daemon, f"--config-file={config}", "--nofork", "--print-address"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            if not bus.stdout.readline():
                raise Fail(bus.stderr.read())
        finally:
            bus.kill()
            bus.communicate()


def check_shell(_):
    run(tool("shellcheck"), "--external-sources", *scripts(rb"#!\s*/(usr/)?bin/(env\s+)?(ba|da)?sh\b"))


def check_python(_):
    """pyflakes finds names that nothing defines, which would only show when the line runs."""
    run(tool("pyflakes3"), *sorted(set(tracked("*.py")) | set(scripts(rb"#!.*python3"))))


def check_units(options):
    """Installs into a folder that has the system's own units beside ours, and lets systemd read them."""
    analyze = tool("systemd-analyze")
    if not options.build:
        raise Skip("no build given")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        run("meson", "install", "-C", options.build, "--no-rebuild", "--destdir", root, "--quiet")
        (root / "usr/lib/systemd").mkdir(parents=True, exist_ok=True)
        for name in ("lib", "bin", "sbin"):
            if not (root / name).exists():
                (root / name).symlink_to(f"usr/{name}")
        ours = sorted(p.name for d in ("lib/systemd/system", "usr/lib/systemd/system", "usr/local/lib/systemd/system")
                      if (root / d).is_dir() for p in (root / d).iterdir() if p.name.startswith("hal9000"))
        if not ours:
            raise Fail("no units were installed")
        shutil.copytree("/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True, dirs_exist_ok=True)
        for program in ("usr/bin/busctl", "usr/sbin/dockerd"):
            (root / program).parent.mkdir(parents=True, exist_ok=True)
            if os.path.exists(f"/{program}") and not (root / program).exists():
                shutil.copy(f"/{program}", root / program)
        output = subprocess.run([analyze, "verify", "--man=no", f"--root={root}", *ours], stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, timeout=120)
        lines = [line for line in (output.stdout + output.stderr).splitlines() if "hal9000" in line]
        if lines:
            raise Fail("\n".join(lines))


def check_catalog(_):
    """Every MESSAGE_ID of the programs has an entry in the catalogue, and the catalogue is well-formed."""
    ids = set()
    for name in tracked("src/*.cpp", "src/*.hpp"):
        text = (ROOT / name).read_text()
        ids |= set(re.findall(r'message_id_\w+(?:\[\])?\s*=\s*"([0-9a-f]{32})"', text))
        if loose := re.findall(r'"MESSAGE_ID",\s*"([0-9a-f]+)"', text):
            raise Fail(f"{name}: MESSAGE_ID {loose[0]}: name it in base/names.hpp")
    entries = {}
    for name in tracked("systemd/*.catalog"):
        for number, line in enumerate((ROOT / name).read_text().splitlines(), 1):
            if match := re.fullmatch(r"-- ([0-9a-f]{32})( [a-z_A-Z]+)?", line):
                if match[1] in entries and not match[2]:
                    raise Fail(f"{name}:{number}: {match[1]} stands there twice")
                entries[match[1]] = f"{name}:{number}"
            elif line.startswith("--"):
                raise Fail(f"{name}:{number}: not a catalogue header: {line}")
    if missing := ids - set(entries):
        raise Fail("no catalogue entry for " + ", ".join(sorted(missing)))
    if unused := set(entries) - ids:
        raise Fail("nothing logs " + ", ".join(f"{i} ({entries[i]})" for i in sorted(unused)))


def tidy_key(entry, settings):
    """Changes when the file, a project header it may see, its flags or the settings change."""
    digest = hashlib.sha256(settings)
    digest.update(entry.get("command", "").encode())
    for path in [ROOT / "src" / ".keep", Path(entry["directory"], entry["file"])]:
        if path.exists():
            digest.update(path.read_bytes())
    seen, todo = set(), [Path(entry["directory"], entry["file"]).resolve()]
    while todo:
        path = todo.pop()
        for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), flags=re.M):
            for base in (ROOT / "src", path.parent):
                header = (base / name).resolve()
                if header.is_file() and header not in seen:
                    seen.add(header)
                    todo.append(header)
                    break
    for header in sorted(seen):
        digest.update(header.read_bytes())
    return digest.hexdigest()


def check_tidy(options):
    """clang-tidy over src/*.cpp; a file that passed is not looked at again until it or what it includes changes."""
    tidy = tool("clang-tidy-14")
    if not options.build:
        raise Skip("no build given")
    database = json.loads((Path(options.build) / "compile_commands.json").read_text())
    settings = (ROOT / ".clang-tidy").read_bytes()
    cache = Path(options.cache) / "tidy" if options.cache else None
    if cache:
        cache.mkdir(parents=True, exist_ok=True)
    todo = {}
    for entry in database:
        path = Path(entry["directory"], entry["file"]).resolve()
        if path.is_relative_to(ROOT / "src") and path.suffix == ".cpp":
            key = tidy_key(entry, settings)
            if not (cache and (cache / key).exists()):
                todo[path] = key

    def one(path):
        done = subprocess.run([tidy, "--quiet", "-p", str(options.build), "--extra-arg=-Wno-unknown-warning-option",
                               str(path)], stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=ROOT)
        if done.returncode == 0 and cache:
            (cache / todo[path]).touch()
        return "" if done.returncode == 0 else done.stdout + done.stderr

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = [text for text in pool.map(one, sorted(todo)) if text]
    if problems:
        raise Fail("\n".join(problems)[:60000])


CHECKS = {
    "format": check_format,
    "includes": check_includes,
    "dbus-xml": check_dbus_xml,
    "tree": check_tree,
    "xml": check_xml,
    "bus-policy": check_bus_policy,
    "shell": check_shell,
    "python": check_python,
    "units": check_units,
    "catalog": check_catalog,
    "tidy": check_tidy,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--junit")
    parser.add_argument("--build")
    parser.add_argument("--cache")
    parser.add_argument("names", nargs="*", choices=[[], *CHECKS], metavar="NAME")
    options = parser.parse_args()
    suite = ET.Element("testsuite", name="lint")
    failed = False
    for name in options.names or CHECKS:
        begin = time.monotonic()
        case = ET.SubElement(suite, "testcase", classname="lint", name=name)
        try:
            CHECKS[name](options)
            word = "ok"
        except Skip as reason:
            ET.SubElement(case, "skipped", message=str(reason))
            word = f"skipped: {reason}"
        except (Fail, subprocess.TimeoutExpired, OSError) as problem:
            failed = True
            text = re.sub(r"[^\t\n\x20-\uD7FF]", "?", str(problem))
            ET.SubElement(case, "failure").text = text
            word = f"FAILED\n{text}"
        seconds = time.monotonic() - begin
        case.set("time", f"{seconds:.3f}")
        print(f"{name}: {word} ({seconds:.1f} s)", flush=True)
    if options.junit:
        ET.ElementTree(suite).write(options.junit, encoding="unicode")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
