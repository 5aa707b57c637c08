#!/usr/bin/env python3
"""Prints "PASSED FAILED SKIPPED" summed over JUnit files, as meson, GoogleTest and pytest write them."""
import sys
import xml.etree.ElementTree as ET


def main():
    passed = failed = skipped = 0
    for path in sys.argv[1:]:
        try:
            root = ET.parse(path).getroot()
        except (OSError, ET.ParseError) as error:
            print(f"totals: {path}: {error}", file=sys.stderr)
            failed += 1
            continue
        for case in root.iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
            elif case.find("skipped") is not None or case.get("status") == "notrun":
                skipped += 1
            else:
                passed += 1
    print(passed, failed, skipped)


if __name__ == "__main__":
    main()
