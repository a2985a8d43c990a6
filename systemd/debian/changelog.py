"""Turns CHANGELOG.md (standard input) into Debian's changelog; arguments are the version and the maintainer.

Source: deb-changelog(5).
"""

import os
import re
import sys
from email.utils import formatdate

_HEADING = re.compile(r"^## (\S+)")


def entries(lines: list[str]) -> list[tuple[str, list[str]]]:
    """The versions, newest first, each with the lines of its list."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if heading := _HEADING.match(line):
            found.append((heading[1], []))
        elif found and line.startswith(("- ", "  ")):
            found[-1][1].append(re.sub("^- ", "* ", line))
    return found


def main(version: str, maintainer: str) -> None:
    """Print it; what is not released yet is the version that is built now."""
    built = formatdate(int(os.environ["SOURCE_DATE_EPOCH"]))
    for name, changes in entries(sys.stdin.read().splitlines()):
        known = name if name[0].isdigit() else version
        body = "\n".join(f"  {line}" for line in changes)
        sys.stdout.write(f"registry-mirror ({known}) stable; urgency=medium\n\n{body}\n\n -- {maintainer}  {built}\n\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
