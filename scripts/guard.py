#!/usr/bin/env python3
"""Counts the instructions of the hot paths and compares them with the committed baseline.

    scripts/guard.py PROGRAM [--bless] [PATH]

PROGRAM is the built `guard` (benches/guard.rs), which runs under `valgrind --tool=callgrind`. With PATH, only the
paths whose names contain it. --bless writes the baseline, benches/guard.json, anew.

Exit status: 0 when every path takes what its baseline says, give or take 5 %; 1 when one takes more, or less (the
baseline must follow, or the path could grow back unseen), is not in the baseline, or is in the baseline and was not
measured; 2 for bad usage, such as a PATH that no path contains, or where callgrind does not run.

What the counts depend on beside the code: the Rust compiler (the baseline names it), the C library, and, for the code
that wasmtime, wasmer and the C library choose by the processor's features, whether the machine has AVX2. Paths named
`raw` are the runtimes alone: where they grow too, look there, not here.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ALLOWED = 0.05
BASELINE = Path(__file__).resolve().parent.parent / "benches" / "guard.json"
MEASURED = "guard::measured"


def count(program, only):
    """Instructions a call, by path."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [
            os.environ.get("VALGRIND", "valgrind"),
            "--tool=callgrind",
            "--collect-atstart=no",
            f"--toggle-collect={MEASURED}",
            f"--dump-after={MEASURED}",
            f"--callgrind-out-file={out}",
            program,
            *only,
        ]
        try:
            ran = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            fail("there is no valgrind: install it (Debian's package valgrind)")
        if ran.returncode != 0:
            fail(f"{' '.join(command)} failed:\n{ran.stderr[-4000:]}")
        counts = {}
        for number, line in enumerate(ran.stdout.splitlines(), start=1):
            path, calls = line.split()
            totals = re.search(r"^totals: (\d+)", Path(f"{out}.{number}").read_text(), re.M)
            if totals is None or int(totals[1]) == 0:
                fail(f"callgrind counted nothing for {path}: has {MEASURED} been renamed?")
            counts[path] = round(int(totals[1]) / int(calls))
        return counts


def compare(counts, baseline, full):
    """Prints a table and answers how many paths are not as they should be; a full run measures the whole baseline."""
    bad = 0
    for path, now in counts.items():
        then = baseline.get(path)
        if then is None:
            bad += 1
            print(f"{path:24} {now:9}   not in the baseline")
            continue
        growth = now / then - 1
        verdict = ""
        if growth > ALLOWED:
            bad += 1
            verdict = "   GREW"
        elif growth < -ALLOWED:
            bad += 1
            verdict = "   LESS: bless it, so that it stays"
        print(f"{path:24} {now:9} {then:9} {growth:+7.1%}{verdict}")
    for path in baseline if full else []:
        if path not in counts:
            bad += 1
            print(f"{path:24} {'–':>9} {baseline[path]:9}   NOT MEASURED: bless it, if the path is gone for good")
    return bad


def fail(message):
    print(f"guard.py: {message}", file=sys.stderr)
    sys.exit(2)


def main():
    args = sys.argv[1:]
    bless = "--bless" in args
    args = [arg for arg in args if arg != "--bless"]
    if not 1 <= len(args) <= 2 or args[0].startswith("-") or (bless and len(args) == 2):
        fail("usage: scripts/guard.py PROGRAM [--bless] [PATH]")
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.strip()
    counts = count(args[0], args[1:])
    if not counts:
        fail(f"no path's name contains `{args[1]}`" if args[1:] else f"{args[0]} measured nothing")
    if bless:
        BASELINE.write_text(json.dumps({"rustc": rustc, "instructions": counts}, indent=2) + "\n")
        print(f"{len(counts)} paths are the baseline now")
        return 0
    baseline = json.loads(BASELINE.read_text())
    if baseline["rustc"] != rustc:
        print(f"the baseline was counted with {baseline['rustc']}, this is {rustc}")
    bad = compare(counts, baseline["instructions"], full=len(args) == 1)
    if bad:
        print(f"{bad} paths are not as benches/guard.json has them; `just guard --bless` if that is meant")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
