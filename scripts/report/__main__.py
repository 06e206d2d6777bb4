"""Runs a quick form of every bench and writes target/report/report.json and report.html.

    scripts/report [--parts NAME,...] [--no-run]

Prints the goals as a Markdown table. `--parts` runs only these benches and takes the others as they were measured last;
`--no-run` runs none. Ratios are within one run of a bench.
"""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from goals import GOALS
from measures import MEASURES, baseline, from_criterion, from_lines
from page import page
from text import markdown

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
FOLDER = TARGET / "report"
CRITERION = FOLDER / "criterion"

BENCH = ["cargo", "bench", "--workspace", "--all-features", "--quiet"]
QUICK = ["--noplot", "--warm-up-time", "0.2", "--measurement-time", "0.5", "--sample-size", "20"]
# Not `--locked`: its lock follows what the engine depends on.
EXTISM = ["cargo", "run", "--release", "--quiet", "--manifest-path", "benches/extism/Cargo.toml"]

# The benches that print JSON lines, and how each is run in its quick form.
LINES = {
    "memory": [*BENCH, "--bench", "memory"],
    "partition": [*BENCH, "--bench", "partition", "--", "--seconds", "0.5"],
    "recovery": [*BENCH, "--bench", "recovery", "--", "--rounds", "1"],
    "peers": ["scripts/peers.sh", "--seconds", "0.5"],
    "extism": [*EXTISM, "--target-dir", str(TARGET / "extism")],
    "swap": [*BENCH, "--bench", "swap"],
    "throughput": [*BENCH, "--bench", "streams", "--", "throughput", "--seconds", "0.5", "--instructions", "100"],
    "traps": [*BENCH, "--bench", "streams", "--", "traps", "--seconds", "20", "--slice", "5"],
    "soak": [*BENCH, "--bench", "streams", "--", "soak", "--requests", "20000"],
}
# The benches of criterion, each with a folder of its own.
CRITERIA = ["invoke", "read", "start", "limits", "functions", "filters"]


def run(part: str) -> None:
    print(f"report: {part}", file=sys.stderr)
    if part in LINES:
        output = subprocess.run(LINES[part], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        (FOLDER / f"{part}.jsonl").write_text(output)
        return
    shutil.rmtree(CRITERION / part, ignore_errors=True)
    environment = os.environ | {"CRITERION_HOME": str(CRITERION / part)}
    command = [*BENCH, "--bench", part, "--", *QUICK]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=environment)


def machine() -> str:
    """The processor, how many of them, the memory, and the kernel."""
    facts = dict(
        (name.strip(), value.strip())
        for name, _, value in (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
    )
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{facts.get('model name', os.uname().machine)}, {os.cpu_count()} cores, {gib:.0f} GiB, Linux {os.uname().release}"


def revision() -> str:
    said = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return said.stdout.strip() or "an unknown revision"


def gather() -> dict:
    measurements = from_criterion(CRITERION)
    for bench in LINES:
        file = FOLDER / f"{bench}.jsonl"
        if file.exists():
            measurements += from_lines(bench, file.read_text())
    known = {one.name: one for one in measurements}
    rows = []
    for one in measurements:
        beside = baseline(one, known)
        rows.append(
            {
                "question": one.question,
                "engine": one.engine,
                "way": one.way,
                "measure": one.measure,
                "unit": MEASURES[one.measure],
                "median": one.median,
                "spread": [one.low, one.high],
                "baseline": beside and (beside.way or beside.engine),
                "ratio": one.median / beside.median if beside and beside.median else None,
            }
        )
    return {
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
        "command": "just report",
        "revision": revision(),
        "goals": [goal.judge(known) for goal in GOALS],
        "measurements": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="report", description=__doc__.splitlines()[0])
    parts = [*CRITERIA, *LINES]
    parser.add_argument("--parts", default=",".join(parts), help="only these benches: " + ", ".join(parts))
    parser.add_argument("--no-run", action="store_true", help="report what was measured last")
    flags = parser.parse_args()
    chosen = flags.parts.split(",")
    if unknown := set(chosen) - set(parts):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for part in [] if flags.no_run else chosen:
        run(part)
    report = gather()
    (FOLDER / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    (FOLDER / "report.html").write_text(page(report))
    print(markdown(report))
    print(f"written: {FOLDER}/report.json and report.html", file=sys.stderr)


main()
