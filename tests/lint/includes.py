#!/usr/bin/env python3
"""Every project include stays within the table of docs/ARCHITECTURE.md, and heavy standard headers stay out of src/.

The table's rows read `| `folder` | what | may include |`. A cell "all but a, b" means every other folder. Tests may
include everything.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Threads, streams and regular expressions have no place in one-loop services; std::filesystem blocks and throws.
FORBIDDEN = {"thread", "mutex", "condition_variable", "future", "iostream", "regex", "filesystem"}
# Programs that run to their end and may block, with the reason.
ALLOWED = {
    "claudy": {"iostream", "filesystem"},  # a command line: prints, looks at the caller's folders
    "relay": {"filesystem"},  # looks at the user's folders before it connects
}
# Headers of a library that only one folder may see.
PRIVATE = {
    "nlohmann/json.hpp": {"json", "guard", "host", "relay", "hub", "http", "link", "policy", "remote", "worker", "server", "install", "engine", "daemon",
                          "gateway", "claudy"},
    "curl/curl.h": {"curl"},
    "microhttpd.h": {"http"},
}


def table():
    """The folders of the include table, each with the set of folders it may include."""
    rows = {}
    for line in (ROOT / "docs/ARCHITECTURE.md").read_text().splitlines():
        match = re.fullmatch(r"\| `([a-z_]+)` \|.*\|([^|]*)\|", line)
        if match:
            rows[match[1]] = match[2].strip()
    folders = {}
    for folder, cell in rows.items():
        if cell.startswith("all but "):
            excluded = set(re.split(r"[,\s]+", cell.removeprefix("all but ")))
            folders[folder] = set(rows) - excluded - {folder}
        else:
            folders[folder] = set(cell.split())
        unknown = folders[folder] - set(rows) - {"bus_compat"}
        if unknown:
            sys.exit(f"docs/ARCHITECTURE.md: row `{folder}` names unknown folders: {', '.join(sorted(unknown))}")
    return folders


def cycles(folders):
    """A folder that can reach itself over the table, or nothing."""
    def reach(start):
        seen, todo = set(), [start]
        while todo:
            for other in folders.get(todo.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
        return seen
    return sorted(folder for folder in folders if folder in reach(folder))


def check_file(path, folders):
    folder = path.relative_to(ROOT / "src").parts[0]
    problems = []
    if folder not in folders:
        return [f"{path.relative_to(ROOT)}: folder `{folder}` has no row in the include table"]
    for number, line in enumerate(path.read_text().splitlines(), 1):
        where = f"{path.relative_to(ROOT)}:{number}"
        match = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
        if not match:
            continue
        quote, name = match.groups()
        if quote == '"' and "/" in name:
            other = name.split("/")[0]
            if name == "bus/compat.hpp" and "bus_compat" in folders[folder]:
                continue
            if other in folders and other != folder and other not in folders[folder]:
                problems.append(f"{where}: `{folder}` may not include `{other}` (docs/ARCHITECTURE.md)")
        if quote == "<" and name in FORBIDDEN - ALLOWED.get(folder, set()):
            problems.append(f"{where}: <{name}> is not used in `{folder}`")
        if name in PRIVATE and folder not in PRIVATE[name]:
            problems.append(f"{where}: {name} is not used in `{folder}`")
        if name == "nlohmann/json.hpp" and path.suffix == ".hpp" and folder != "json":
            problems.append(f"{where}: headers take nlohmann/json_fwd.hpp")
    return problems


def main():
    folders = table()
    if len(folders) < 10:
        sys.exit("docs/ARCHITECTURE.md: the include table was not found")
    problems = [f"docs/ARCHITECTURE.md: `{folder}` includes itself by a cycle" for folder in cycles(folders)]
    files = sorted(p for p in (ROOT / "src").rglob("*") if p.suffix in {".cpp", ".hpp"})
    for path in files:
        problems += check_file(path, folders)
    print("\n".join(problems) or f"{len(files)} files keep to the include table")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
