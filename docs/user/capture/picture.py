#!/usr/bin/env python3
"""Draws the README's picture of a terminal from captured output: docs/user/capture/picture.py DIR >docs/user/picture.svg

DIR has the picture-*.ansi of run.sh: what `cgtrace --color always` printed. The text is theirs; lines are folded at
WIDTH columns as a terminal folds them.
"""

import html
import pathlib
import re
import sys

WIDTH, LINE, COLUMN, MARGIN = 118, 19, 8.43, 18
SERVICE = "/system.slice/kubelet.service"
SCENES = [
    (f"cgtrace events {SERVICE} -H v2 &", None),
    ("systemctl start kubelet", "picture-events", True),
    (f"cgtrace exists {SERVICE} -H v2", "picture-present"),
    ("systemctl stop kubelet", "picture-events", False),
    (f"cgtrace exists {SERVICE} -H v2", "picture-removed"),
]
COLOURS = {"31": "#f47067", "32": "#57ab5a", "33": "#daaa3f", "2": "#8b949e"}
ESCAPE = re.compile(r"\x1b\[([0-9;]*)m")


def spans(line):
    """The pieces of a line, each with its colour."""
    colour, at, pieces = None, 0, []
    for escape in ESCAPE.finditer(line):
        pieces.append((line[at : escape.start()], colour))
        codes = [code for code in escape[1].split(";") if code not in ("", "0")]
        colour = COLOURS.get(codes[-1]) if codes else None
        at = escape.end()
    pieces.append((line[at:], colour))
    return [piece for piece in pieces if piece[0]]


def folded(pieces):
    """The rows of a line in a terminal."""
    rows, room = [[]], WIDTH
    for text, colour in pieces:
        while text:
            if not room:
                rows.append([])
                room = WIDTH
            rows[-1].append((text[:room], colour))
            text, room = text[room:], max(room - len(text), 0)
    return rows


def main():
    directory = pathlib.Path(sys.argv[1])
    read = lambda name: (directory / f"{name}.ansi").read_text().rstrip("\n").split("\n")
    rows = []
    for command, *output in SCENES:
        rows.append([("# ", "#8b949e"), (command, "#ffffff")])
        if output[0] is None:
            continue
        lines = read(output[0])
        if len(output) == 2:
            # The events of the start are those up to the last exec; the others are those of the stop.
            split = 1 + max(number for number, line in enumerate(lines) if "exec" in ESCAPE.sub("", line).split()[2:3])
            lines = lines[:split] if output[1] else lines[split:]
        for line in lines:
            rows += folded(spans(line))
    width, height = round(WIDTH * COLUMN + 2 * MARGIN), (len(rows) + 1) * LINE + 2 * MARGIN
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">')
    print(f'<rect width="{width}" height="{height}" rx="8" fill="#1c2128"/>')
    for number, colour in enumerate(("#f47067", "#daaa3f", "#57ab5a")):
        print(f'<circle cx="{MARGIN + 4 + 18 * number}" cy="16" r="5" fill="{colour}"/>')
    print('<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,\'DejaVu Sans Mono\',monospace" font-size="14">')
    for number, row in enumerate(rows):
        column = 0
        y = MARGIN + (number + 2) * LINE - 4
        for text, colour in row:
            x, length = MARGIN + column * COLUMN, len(text) * COLUMN
            print(
                f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}" lengthAdjust="spacingAndGlyphs" '
                f'xml:space="preserve" fill="{colour or "#c9d1d9"}">{html.escape(text)}</text>'
            )
            column += len(text)
    print("</g>\n</svg>")


main()
