#!/usr/bin/env python3
"""dbus/*.xml: well-formed, every member documented with all its arguments, every property with EmitsChangedSignal.

The documentation is the comment right before an interface or member: `NAME:`, then a `@argument:` line each, then text.
"""
import re
import sys
import xml.dom.minidom
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"
# Interfaces of others, which are documented by them.
FOREIGN = {"org.freedesktop.LogControl1"}


def elements(node, *names):
    return [c for c in node.childNodes if c.nodeType == c.ELEMENT_NODE and c.tagName in names]


def comment_before(node):
    """The text of the comment that directly precedes `node`, if one does."""
    while (node := node.previousSibling) is not None:
        if node.nodeType == node.COMMENT_NODE:
            return node.data.strip()
        if node.nodeType == node.ELEMENT_NODE:
            return None
    return None


def annotations(node):
    return {a.getAttribute("name"): a.getAttribute("value") for a in elements(node, "annotation")}


def check_member(interface, member):
    name = member.getAttribute("name")
    where = f"{interface}.{name}"
    doc = comment_before(member)
    problems = []
    if not doc or not doc.startswith(f"{name}:"):
        problems.append(f"{where}: not documented (a comment that begins with `{name}:`)")
        doc = ""
    if doc and not re.sub(rf"^{re.escape(name)}:|^\s*@\w+:.*$", "", doc, flags=re.M).strip():
        if not re.search(r"@\w+:\s*\S", doc):
            problems.append(f"{where}: the documentation says nothing")
    for arg in elements(member, "arg"):
        if not arg.getAttribute("name"):
            problems.append(f"{where}: an argument has no name")
        elif doc and f"@{arg.getAttribute('name')}:" not in doc:
            problems.append(f"{where}: argument {arg.getAttribute('name')} is not documented")
    if member.tagName == "property":
        if annotations(member).get(EMITS) not in {"true", "false", "invalidates", "const"}:
            problems.append(f"{where}: no {EMITS}")
        if member.getAttribute("access") != "read":
            problems.append(f"{where}: properties are read-only; methods change things, through polkit")
    return problems


def main():
    problems, members = [], 0
    files = sorted((ROOT / "dbus").glob("*.xml"))
    for path in files:
        try:
            node = xml.dom.minidom.parse(str(path)).documentElement
        except Exception as error:  # expat's own error type says line and column
            problems.append(f"{path.name}: {error}")
            continue
        for interface in elements(node, "interface"):
            name = interface.getAttribute("name")
            if name in FOREIGN:
                continue
            if path.stem != name:
                problems.append(f"{path.name}: defines {name}")
            if not comment_before(interface):
                problems.append(f"{name}: the interface is not documented")
            for member in elements(interface, "method", "signal", "property"):
                members += 1
                problems += check_member(name, member)
    if not files:
        problems.append("dbus/*.xml: no files")
    print("\n".join(problems) or f"{members} members of {len(files)} files are documented")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
