"""Measurements: read from criterion's folders and from the JSON lines of the other benches.

A measurement has a name of the form `BENCH/QUESTION/ENGINE[/WAY]:MEASURE`, such as `invoke/order/wasmtime/keep:ns` or
`peers/in-process/saturated/redis:rate`.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import median

# What a bench measures, and the unit in which it is shown.
MEASURES = {
    "ns": "ns",
    "rate": "commands a second",
    "rows": "rows a second",
    "p50_us": "µs (p50)",
    "p99_us": "µs (p99)",
    "queries": "queries a second",
    "client_cpu_us": "µs of the client's processor for each command",
    "server_cpu_us": "µs of the server's processor for each command",
    "requests": "requests a second",
    "cpu_us": "µs of the proxy's processor for each request",
    "instructions": "instructions of the proxy for each request",
    "late_us": "µs later than without",
    "growth": "bytes from the first tenth of the time to the last",
    "wrong": "wrong answers",
    "seconds": "s",
    "bytes": "bytes",
}

# More is better.
RISING = {"rate", "rows", "queries", "requests"}


@dataclass(frozen=True)
class Measurement:
    """The median of one thing that was measured, and how far it was spread."""

    question: str
    engine: str
    way: str
    measure: str
    median: float
    low: float
    high: float
    rounds: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        parts = [self.question, self.engine] + ([self.way] if self.way else [])
        return "/".join(parts) + ":" + self.measure


def from_criterion(folder: Path) -> list[Measurement]:
    """Medians of criterion's benches, spread by their confidence intervals."""
    found = []
    for described in sorted(folder.glob("**/new/benchmark.json")):
        bench = json.loads(described.read_text())
        estimate = json.loads(described.with_name("estimates.json").read_text())["median"]
        interval = estimate["confidence_interval"]
        found.append(
            Measurement(
                question=bench["group_id"],
                engine=bench["function_id"] or "",
                way=bench["value_str"] or "",
                measure="ns",
                median=estimate["point_estimate"],
                low=interval["lower_bound"],
                high=interval["upper_bound"],
            )
        )
    return found


def from_lines(bench: str, text: str) -> list[Measurement]:
    """Medians over the rounds of a bench that prints JSON lines, spread from the least to the most."""
    rounds: dict[tuple[str, str, str, str], list[float]] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        said = json.loads(line)
        question = said["question"]
        if not question.startswith(bench + "/"):
            question = f"{bench}/{question}"
        of = (question, said["engine"], said.get("way", ""))
        for measure in MEASURES:
            if measure in said:
                rounds.setdefault((*of, measure), []).append(float(said[measure]))
    return [
        Measurement(*of, median(values), min(values), max(values), tuple(values))
        for of, values in rounds.items()
    ]


def natural(text: str) -> list:
    """A key that sorts `rows_100` before `rows_10000`, and numbers by their size."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", text)]


@dataclass(frozen=True)
class Quotient:
    """One sum of measurements by another, with the range in which it was seen."""

    value: float
    low: float
    high: float


def total(names: tuple[str, ...], known: dict[str, Measurement]) -> Quotient | None:
    """The sum of measurements; those whose name begins with `-` are taken away. None where one was not measured."""
    value = low = high = 0.0
    for name in names:
        one = known.get(name.removeprefix("-"))
        if one is None:
            return None
        if name.startswith("-"):
            value, low, high = value - one.median, low - one.high, high - one.low
        else:
            value, low, high = value + one.median, low + one.low, high + one.high
    return Quotient(value, low, high)


def quotient(of: tuple[str, ...], to: tuple[str, ...], known: dict[str, Measurement]) -> Quotient | None:
    """How many times `to` goes into `of`.

    Where both were measured in interleaved rounds, the range is that of the rounds' own quotients, in which a bad phase
    of the machine cancels out; else it is what the spreads of both allow.
    """
    above = total(of, known)
    if above is None or not to:
        return above
    below = total(to, known)
    if below is None or below.value <= 0:
        return None
    value = above.value / below.value
    if len(of) == len(to) == 1:
        pairs = list(zip(known[of[0]].rounds, known[to[0]].rounds))
        rounds = [a / b for a, b in pairs if b > 0]
        if rounds:
            return Quotient(value, min(rounds), max(rounds))
    if below.low <= 0:
        return Quotient(value, value, value)
    return Quotient(value, above.low / below.high, above.high / below.low)


# The ways of using a runtime that stand beside a way of using an engine; the first that was measured counts.
RAW = {
    "keep": ("raw",),
    "fresh": ("raw_fresh",),
    "engine": ("raw",),
    # A runtime without fuel of its own counts in any case.
    "fuel": ("raw_fuel", "raw"),
    "local": ("raw",),
    "arrow": ("raw",),
    "filter": ("raw",),
    "trapping": ("quiet",),
}

# Of ours, what another of ours stands beside.
BESIDE = {"disk": "memory"}

# In a run with peers: what is not a peer.
OURS = {"wasmtime", "wasmer", "lua", "builtin", "native", "redact", "extengine", "disk", "memory"}
BARE = {"bare-append", "bare-preallocated"}


def baseline(one: Measurement, known: dict[str, Measurement]) -> Measurement | None:
    """What a measurement of ours is compared with: the raw runtime, or the best peer that was asked the same."""
    if one.engine not in OURS:
        return None
    if one.way in RAW:
        names = (f"{one.question}/{one.engine}/{way}:{one.measure}" for way in RAW[one.way])
        return next((known[name] for name in names if name in known), None)
    if one.engine in BESIDE:
        return known.get(f"{one.question}/{BESIDE[one.engine]}:{one.measure}")
    peers = [
        other
        for other in known.values()
        if (other.question, other.measure) == (one.question, one.measure)
        and other.engine not in OURS | BARE
    ]
    best = max if one.measure in RISING else min
    return best(peers, key=lambda peer: peer.median, default=None)
