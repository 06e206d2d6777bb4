"""Runs a quick form of every bench and writes target/report/report.json and report.html.

    scripts/report [--parts NAME,...] [--no-run] [--readme]

Prints the goals as a Markdown table. `--parts` runs only these benches and takes the others as they were measured last;
`--no-run` runs none. Ratios are within one run of a bench. Date, revision and machine are those of the run of each bench,
kept beside its measurements. `--readme` writes the ratios into README.md, between its markers. The exit status is 1 where
a goal names what its bench, which ran, did not print.
"""

import argparse
import datetime
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from goals import GOALS
from measures import Measurement, from_criterion, from_lines
from page import page
from readme import updated
from reckoning import UNKNOWN, not_printed, reckon
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
    "memory": [*BENCH, "--bench", "memory", "--", "--packages", "1000"],
    "store": [*BENCH, "--bench", "store"],
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
    where = {"date": datetime.date.today().isoformat(), "revision": revision(), "machine": machine()}
    if part in LINES:
        output = subprocess.run(LINES[part], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        (FOLDER / f"{part}.jsonl").write_text(output)
        where["sha256"] = digest(output)
        origin_file(part).write_text(json.dumps(where) + "\n")
        return
    shutil.rmtree(CRITERION / part, ignore_errors=True)
    environment = os.environ | {"CRITERION_HOME": str(CRITERION / part)}
    command = [*BENCH, "--bench", part, "--", *QUICK]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=environment)
    origin_file(part).write_text(json.dumps(where) + "\n")


def digest(output: str) -> str:
    return hashlib.sha256(output.encode()).hexdigest()


def origin_file(part: str) -> Path:
    return FOLDER / f"{part}.from.json"


def origin_of(part: str, output: str | None) -> dict:
    """Where a bench was measured; unknown where something else, such as `just peers`, has written its lines."""
    file = origin_file(part)
    where = json.loads(file.read_text()) if file.exists() else {}
    if not where or (output is not None and where.get("sha256") != digest(output)):
        return UNKNOWN
    return {field: where[field] for field in UNKNOWN}


def machine() -> str:
    """The processor, how many of them, the memory, and the kernel."""
    facts = dict(
        (name.strip(), value.strip())
        for name, _, value in (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
    )
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = ".".join(os.uname().release.split(".")[:2])
    return f"{facts.get('model name', os.uname().machine)}, {os.cpu_count()} cores, {gib:.0f} GiB, Linux {kernel}"


def revision() -> str:
    said = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return said.stdout.strip() or "an unknown revision"


def gather() -> tuple[list[Measurement], dict[str, dict]]:
    """What was measured last, and where."""
    measurements, parts = [], {}
    for bench in CRITERIA:
        if (CRITERION / bench).exists():
            measurements += from_criterion(CRITERION / bench)
            parts[bench] = origin_of(bench, None)
    for bench in LINES:
        file = FOLDER / f"{bench}.jsonl"
        if file.exists():
            measurements += from_lines(bench, file.read_text())
            parts[bench] = origin_of(bench, file.read_text())
    return measurements, parts


def main() -> None:
    parser = argparse.ArgumentParser(prog="report", description=__doc__.splitlines()[0])
    parts = [*CRITERIA, *LINES]
    parser.add_argument("--parts", default=",".join(parts), help="only these benches: " + ", ".join(parts))
    parser.add_argument("--readme", action="store_true", help="write the ratios into README.md")
    parser.add_argument("--no-run", action="store_true", help="report what was measured last")
    flags = parser.parse_args()
    chosen = flags.parts.split(",")
    if unknown := set(chosen) - set(parts):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    ran = [] if flags.no_run else chosen
    for part in ran:
        run(part)
    measurements, parts = gather()
    report = reckon(measurements, parts)
    (FOLDER / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    (FOLDER / "report.html").write_text(page(report))
    print(markdown(report))
    print(f"written: {FOLDER}/report.json and report.html", file=sys.stderr)
    if flags.readme:
        file = ROOT / "README.md"
        file.write_text(updated(file.read_text(), report))
    if missing := not_printed(GOALS, set(ran), {one.name for one in measurements}):
        print("report: goals name what the benches did not print: " + ", ".join(missing), file=sys.stderr)
        sys.exit(1)


main()
