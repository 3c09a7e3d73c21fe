#!/usr/bin/env python3
"""Puts the outputs that run.sh captured into the documents: docs/user/capture/insert.py DIR DOCUMENT...

A block that begins with ```console NAME, ```text NAME or ```json NAME gets the contents of DIR/NAME.txt, folded at 110
columns. `until=WORD` after the name ends the block before the first line that begins with WORD.
"""

import pathlib
import re
import sys
import textwrap

WIDTH = 110


def fold(line):
    if len(line) <= WIDTH:
        return [line]
    if line.startswith("{"):
        return re.findall(r".{1,%d}(?:,(?=\")|$)" % (WIDTH - 1), line)
    indent = len(line) - len(line.lstrip(" "))
    indent += 2 if line[indent:].startswith("- ") else 0 if indent else 4
    return textwrap.wrap(
        line, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )


def block(directory, name, until):
    lines = (directory / f"{name}.txt").read_text().rstrip("\n").split("\n")
    shown = []
    for line in lines:
        if until and line.strip().startswith(until):
            break
        shown += fold(line)
    return shown


def main():
    directory = pathlib.Path(sys.argv[1])
    for document in map(pathlib.Path, sys.argv[2:]):
        result, skipping = [], False
        for line in document.read_text().split("\n"):
            if skipping and line == "```":
                skipping = False
            if not skipping:
                result.append(line)
            begin = re.fullmatch(r"```(?:console|json|text) ([\w.-]+)(?: until=(\S+))?", line)
            if begin:
                result += block(directory, *begin.groups())
                skipping = True
        document.write_text("\n".join(result))


main()
