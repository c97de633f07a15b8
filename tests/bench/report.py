#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the summary of a run as a table and as a plot: report.py DIRECTORY

The directory has results.json, as the programs that measure write it (bench.c), and machine.txt.
"""
import html
import json
import math
import pathlib
import sys

BAR = 14
GAP = 8
LEFT = 560
WIDTH = 420


def figure(value):
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.2f} M"
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
    return f"{value:.{digits}f}"


def row_number(line):
    row = line["row"]
    digits = "".join(c for c in row if c.isdigit())
    return (int(digits) if digits else 0, row)


def load(path):
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = [line for line in lines if "row" in line]
    rows.sort(key=row_number)  # stable: within a row as they were measured
    return rows


def verdict(line):
    if "target" not in line:
        return ""
    return "met" if line["met"] else "NOT MET"


def table(rows):
    head = ("row", "what", "reached", "min", "max", "unit", "target", "")
    body = [
        (line["row"], line["what"], figure(line["value"]), figure(line["min"]), figure(line["max"]), line["unit"],
         f"{line['sense']} {figure(line['target'])}" if "target" in line else "", verdict(line))
        for line in rows
    ]
    widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
    right = (2, 3, 4)
    return ["  ".join(cell.rjust(width) if i in right else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths))).rstrip()
            for row in [head, *body]]


def reach(line):
    """How far beyond the target: 1 is just reached, more is better, whichever way the target goes."""
    if line["sense"] == "at most":
        return line["target"] / max(line["value"], 1e-12)
    return line["value"] / line["target"]


def plot(rows, title):
    rows = [line for line in rows if line.get("target")]
    height = 70 + len(rows) * (BAR + GAP)
    # From a tenth of the target to ten times as good.
    def x(value):
        return LEFT + WIDTH * (math.log10(min(max(value, 0.1), 10)) + 1) / 2
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 160}" height="{height}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="10" y="18" font-size="14">{html.escape(title)}</text>']
    for value in (0.1, 0.2, 0.5, 1, 2, 5, 10):
        out.append(f'<line x1="{x(value):.1f}" x2="{x(value):.1f}" y1="44" y2="{height - 16}" stroke="{"black" if value == 1 else "#ddd"}"/>')
        out.append(f'<text x="{x(value):.1f}" y="40" text-anchor="middle" fill="#555">{"target" if value == 1 else f"{value:g} x"}</text>')
    for i, line in enumerate(rows):
        y = 52 + i * (BAR + GAP)
        value = reach(line)
        begin, end = sorted((x(1), x(value)))
        color = "#2a8a4a" if line["met"] else "#c0392b"
        out.append(f'<text x="10" y="{y + BAR - 3}">{html.escape(line["row"])}</text>')
        out.append(f'<text x="{LEFT - 10}" y="{y + BAR - 3}" text-anchor="end">{html.escape(line["what"])}</text>')
        out.append(f'<rect x="{begin:.1f}" y="{y}" width="{max(end - begin, 1):.1f}" height="{BAR}" fill="{color}"/>')
        text = f'{figure(line["value"])} {line["unit"]} ({line["sense"]} {figure(line["target"])})'
        out.append(f'<text x="{LEFT + WIDTH + 8}" y="{y + BAR - 3}">{html.escape(text)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    directory = pathlib.Path(sys.argv[1])
    rows = load(directory / "results.json")
    machine = (directory / "machine.txt").read_text(encoding="utf-8").strip()
    lines = table(rows)
    missed = [line for line in rows if verdict(line) == "NOT MET"]
    judged = [line for line in rows if "target" in line]
    lines.append(f"{len(judged) - len(missed)} of {len(judged)} targets met")
    (directory / "summary.txt").write_text(machine + "\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    (directory / "summary.svg").write_text(plot(rows, "Reached against the target, " + " ".join(machine.splitlines())), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
