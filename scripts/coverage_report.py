"""Line and branch coverage of device code, from what instrumented kernels left behind.

    coverage_report.py GCOV DIRECTORY

reads DIRECTORY/notes/*.gcda by the program GCOV, prints a table and writes DIRECTORY/coverage.json and
DIRECTORY/index.html. A device file is compiled into many kernels, and a function of it into several
instances there: a line or a branch is covered where one of them has executed it. Code that no kernel
instantiates is not counted.
"""

import html
import json
import pathlib
import subprocess
import sys

STYLE = """body { font: 14px sans-serif; margin: 2em } table { border-collapse: collapse }
td, th { padding: 2px 12px; text-align: right } td:first-child, th:first-child { text-align: left }
pre { margin: 0; line-height: 1.3 } .never { background: #ffd7d7 } .some { background: #fff3c4 }
.count { color: #888; display: inline-block; width: 7em; text-align: right; margin-right: 1em }"""


def device_name(path):
    """ "./device/ring.cuh" as "device/ring.cuh"; None for what is not device code."""
    name = path.removeprefix("./")
    return name if name.startswith(("device/", "ops/")) else None


class File:
    def __init__(self):
        self.lines = {}  # number: executions
        self.branches = {}  # (line, how many it has): executions of each

    def add(self, line):
        number = line["line_number"]
        self.lines[number] = self.lines.get(number, 0) + line["count"]
        counts = [branch["count"] for branch in line["branches"] if not branch["throw"]]
        if counts:
            # Instances whose branches are not alike are counted apart.
            before = self.branches.setdefault((number, len(counts)), [0] * len(counts))
            for i, count in enumerate(counts):
                before[i] += count

    def figures(self):
        branches = [count for counts in self.branches.values() for count in counts]
        return {
            "lines": len(self.lines),
            "lines_covered": sum(count > 0 for count in self.lines.values()),
            "branches": len(branches),
            "branches_covered": sum(count > 0 for count in branches),
        }

    def missed_branches(self, number):
        """How many branches of a line that is executed were never taken."""
        return sum(
            count == 0
            for (line, _), counts in self.branches.items()
            if line == number
            for count in counts
        )


def read(gcov, notes):
    files = {}
    for data in sorted(notes.glob("*.gcda")):
        command = [gcov, "--json-format", "--stdout", "--branch-probabilities", str(data)]
        said = subprocess.run(command, cwd=notes, check=True, capture_output=True, text=True).stdout
        for text in said.splitlines():
            for source in json.loads(text)["files"]:
                name = device_name(source["file"])
                if name is None:
                    continue
                file = files.setdefault(name, File())
                for line in source["lines"]:
                    file.add(line)
    return files


def percent(covered, total):
    return f"{100 * covered / total:.1f} %" if total else "-"


def table(rows):
    """Cells of the table, the head first and the sum of all rows last."""
    total = {key: sum(figures[key] for _, figures in rows) for key in rows[0][1]}
    cells = [["file", "lines", "covered", "", "branches", "covered", ""]]
    for name, f in [*rows, ("all", total)]:
        cells.append([name])
        for kind in ("lines", "branches"):
            covered = f[kind + "_covered"]
            cells[-1] += [str(f[kind]), str(covered), percent(covered, f[kind])]
    return cells


def print_table(cells):
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for row in cells:
        first = row[0].ljust(widths[0])
        print("  ".join([first, *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:]))]))


def listing(name, file, root):
    parts = [f"<h2 id='{name}'>{name}</h2><pre>"]
    for number, text in enumerate((root / name).read_text().splitlines(), 1):
        count = file.lines.get(number)
        missed = file.missed_branches(number) if count else 0
        kind = "never" if count == 0 else "some" if missed else ""
        title = f" title='{missed} branches never taken'" if missed else ""
        shown = "" if count is None else str(count)
        parts.append(
            f"<span class='{kind}'{title}><span class='count'>{shown}</span>{html.escape(text)}</span>"
        )
    return "\n".join(parts) + "</pre>"


def page(cells, files, root):
    rows = []
    for i, row in enumerate(cells):
        tag = "th" if i == 0 else "td"
        name = f"<a href='#{row[0]}'>{row[0]}</a>" if row[0] in files else row[0]
        rows.append("<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in [name, *row[1:]]) + "</tr>")
    listings = "\n".join(listing(name, files[name], root) for name in sorted(files))
    return (
        f"<!doctype html><meta charset='utf-8'><title>Coverage of device code</title>"
        f"<style>{STYLE}</style><h1>Coverage of device code</h1>"
        f"<p>Red lines were never executed; yellow ones have a branch that was never taken.</p>"
        f"<table>{''.join(rows)}</table>{listings}"
    )


def main():
    gcov, out = sys.argv[1], pathlib.Path(sys.argv[2])
    root = pathlib.Path(__file__).resolve().parent.parent
    files = read(gcov, out / "notes")
    if not files:
        sys.exit(f"no counters of device code in {out / 'notes'}")
    rows = [(name, files[name].figures()) for name in sorted(files)]
    cells = table(rows)
    print_table(cells)
    figures = {
        name: {**f, "missed_lines": sorted(n for n, count in files[name].lines.items() if count == 0)}
        for name, f in rows
    }
    (out / "coverage.json").write_text(json.dumps(figures, indent=2) + "\n")
    (out / "index.html").write_text(page(cells, files, root))
    print(f"\nSources with counts: {out / 'index.html'}")


if __name__ == "__main__":
    main()
