"""The goals, as data: what is compared with what, and the bound that it should keep."""

from dataclasses import dataclass

from measures import Measurement, quotient
from text import number


@dataclass(frozen=True)
class Goal:
    """A bound of `of`, or of how many times `to` goes into it.

    Names are those of measurements; one with a `-` before it is taken away.
    """

    title: str
    engine: str
    of: tuple[str, ...]
    to: tuple[str, ...] = ()
    at_most: float | None = None
    at_least: float | None = None
    unit: str = "×"
    note: str = ""

    @property
    def bound(self) -> str:
        if self.at_most is not None:
            return f"at most {number(self.at_most)} {self.unit}"
        return f"at least {number(self.at_least)} {self.unit}"

    def judge(self, known: dict[str, Measurement]) -> dict:
        """What was measured of the goal, and whether it is met."""
        got = quotient(self.of, self.to, known)
        row = {
            "question": self.title,
            "engine": self.engine,
            "goal": self.bound,
            "unit": self.unit,
            "ratio": None,
            "of": list(self.of),
            "to": list(self.to),
            "median": None,
            "spread": None,
            "met": None,
        }
        if self.note:
            row["note"] = self.note
        if got is not None:
            row["median"] = got.value
            row["ratio"] = got.value if self.to else None
            row["spread"] = [got.low, got.high]
            row["met"] = got.value <= self.at_most if self.at_most is not None else got.value >= self.at_least
        return row


def raw(question: str, engine: str, at_most: float, way: str = "keep", beside: str = "raw") -> dict:
    """The fields of a goal that compares an engine with the raw runtime beneath it."""
    name = f"{question}/{engine}"
    return {"engine": engine, "of": (f"{name}/{way}:ns",), "to": (f"{name}/{beside}:ns",), "at_most": at_most}


def loop(engine: str, at_most: float) -> dict:
    """The fields of a goal on the steps of a loop alone, without the call around them."""

    def steps(way):
        return (f"limits/loop_1000/{engine}/{way}:ns", f"-limits/loop_0/{engine}/{way}:ns")

    return {"engine": engine, "of": steps("keep"), "to": steps("raw"), "at_most": at_most}


def beyond(question: str, engine: str, way: str, less: str) -> tuple[str, str]:
    """What one way of using an engine takes more than another."""
    return (f"{question}/{engine}/{way}:ns", f"-{question}/{engine}/{less}:ns")


def throughput(route: str, filter: str, measure: str) -> dict:
    """The fields of a goal that compares the proxy with a filter and without."""
    name = f"throughput/{route}"
    return {"engine": filter, "of": (f"{name}/{filter}:{measure}",), "to": (f"{name}/none:{measure}",)}


SATURATED = "peers/in-process/saturated"

EMPTY = "empty invocation, instance kept, against the raw typed call"
ORDER = "order command, engine only, against the same guest over the raw runtime"
READ = "reading 10,000 rows of 100 bytes, against copying them row by row"
LIMITS = "deadline and memory limit on 1,000 steps of a loop, against the runtime's own check"
BUILTIN = "durable orders a second, saturated, against builtin"
HEADERS = "a filter's callback for headers, warm, against the raw typed call"
READING = "the same, reading one header and adding another, against the raw call with the same calls of the host"
THROUGHPUT = "requests a second with one filter, to a service, against the same proxy with none"

GOALS = [
    Goal(EMPTY, **raw("invoke/empty", "wasmtime", 3)),
    Goal(EMPTY, **raw("invoke/empty", "wasmer", 2)),
    Goal(EMPTY, **raw("invoke/empty", "lua", 2)),
    Goal(
        "empty invocation, beyond a direct call",
        "builtin",
        of=("invoke/empty/builtin/keep:ns", "-invoke/empty/builtin/raw:ns"),
        at_most=20,
        unit="ns",
    ),
    Goal(ORDER, **raw("invoke/order", "wasmtime", 2)),
    Goal(ORDER, **raw("invoke/order", "wasmer", 2)),
    Goal(ORDER, **raw("invoke/order", "lua", 2)),
    Goal(
        "order command, engine only: how many times faster than Extism's",
        "wasmtime",
        of=("extism/order/extism:ns",),
        to=("extism/order/wasmtime:ns",),
        at_least=10,
    ),
    Goal(
        "order command, fresh instance for each, against raw pooled instantiation and call",
        **raw("invoke/order", "wasmtime", 1.5, "fresh", "raw_fresh"),
    ),
    Goal(READ, **raw("read/rows_10000", "wasmtime", 3)),
    Goal(READ, **raw("read/rows_10000", "wasmer", 3)),
    Goal(
        "durable orders a second, in process, saturated, against Tarantool at 1,024 fibers",
        "wasmtime",
        of=(f"{SATURATED}/wasmtime:rate",),
        to=(f"{SATURATED}/tarantool:rate",),
        at_least=4,
    ),
    Goal(
        "durable orders a second, in process, saturated, against a bare log and hash maps in groups of 1,024",
        "wasmtime",
        of=(f"{SATURATED}/wasmtime:rate",),
        to=(f"{SATURATED}/bare-preallocated:rate",),
        at_least=0.5,
        note="the bare log is preallocated, as ours is",
    ),
    Goal(
        "durable orders a second, `extengine run` from a pipe, against Redis functions at 16 × 64",
        "wasmtime",
        of=("peers/pipe/saturated/wasmtime:rate",),
        to=("peers/loopback/16x64/redis:rate",),
        at_least=2.5,
    ),
    Goal(
        BUILTIN,
        "wasmtime",
        of=(f"{SATURATED}/wasmtime:rate",),
        to=(f"{SATURATED}/builtin:rate",),
        at_least=0.7,
    ),
    Goal(
        BUILTIN,
        "wasmer",
        of=(f"{SATURATED}/wasmer:rate",),
        to=(f"{SATURATED}/builtin:rate",),
        at_least=0.7,
    ),
    Goal(
        BUILTIN,
        "lua",
        of=(f"{SATURATED}/lua:rate",),
        to=(f"{SATURATED}/builtin:rate",),
        at_least=0.4,
    ),
    Goal(
        "durable order, one at a time, against one log append and fdatasync",
        "wasmtime",
        of=("peers/in-process/alone/wasmtime:p50_us",),
        to=("peers/in-process/alone/bare-preallocated:p50_us",),
        at_most=1.3,
        note="the bare log is preallocated, as ours is",
    ),
    Goal(LIMITS, **loop("wasmtime", 1)),
    Goal(LIMITS, **loop("lua", 1.1)),
    Goal(
        "durable orders a second, saturated, beside one thread of queries",
        "wasmtime",
        of=("partition/queried/1/wasmtime:rate",),
        to=("partition/saturated/1/wasmtime:rate",),
        at_least=0.9,
        note="given a core for the queries, beside the writer's and the client's",
    ),
    Goal(
        "reopening after `kill -9`, 10^6 commands in the log",
        "wasmtime",
        of=("recovery/killed/1000000/wasmtime:seconds",),
        at_most=1,
        unit="s",
    ),
    Goal(
        "resident memory of an idle instance, beyond the raw runtime's",
        "wasmtime",
        of=("memory/instance/wasmtime/engine:bytes", "-memory/instance/wasmtime/raw:bytes"),
        at_most=100_000,
        unit="bytes",
    ),
    Goal(
        "resident memory of a package with one instance, of 1,000",
        "wasmtime",
        of=("memory/loaded_1000/wasmtime/engine:bytes",),
        at_most=1_000_000,
        unit="bytes",
        note="all of them under 1 GB",
    ),
    Goal(
        "a function of two numbers, on the caller's thread, against the raw typed call",
        **raw("functions/add", "wasmtime", 3, "local"),
    ),
    Goal(
        "the same from any thread, beyond the caller's own",
        "wasmtime",
        of=beyond("functions/add", "wasmtime", "pool", "local"),
        at_most=5_000,
        unit="ns",
    ),
    Goal(
        "1,024 rows of an Arrow batch, beyond as many raw typed calls",
        "wasmtime",
        of=beyond("functions/rows_1024", "wasmtime", "arrow", "raw"),
        at_most=20 * 1_024,
        unit="ns",
        note="20 ns a row",
    ),
    *(
        goal
        for engine in ("wasmtime", "wasmer", "lua")
        for goal in (
            Goal(
                "latest answer while a package is replaced under saturated load, beyond the quiet 99th percentile",
                engine,
                of=(f"swap/saturated/{engine}:late_us",),
                at_most=20_000,
                unit="µs",
            ),
            Goal("commands that failed meanwhile", engine, of=(f"swap/saturated/{engine}:wrong",), at_most=0, unit="commands"),
        )
    ),
    Goal(HEADERS, **raw("filters/callback_empty", "wasmtime", 3, "filter")),
    Goal(HEADERS, **raw("filters/callback_empty", "wasmer", 3, "filter")),
    Goal(READING, **raw("filters/callback_header", "wasmtime", 3, "filter")),
    Goal(READING, **raw("filters/callback_header", "wasmer", 3, "filter")),
    Goal(THROUGHPUT, **throughput("service", "wasmtime", "requests"), at_least=0.9),
    Goal(THROUGHPUT, **throughput("service", "native", "requests"), at_least=0.95),
    Goal(
        "instructions a request with one filter, to a service, against the same proxy with none",
        **throughput("service", "wasmtime", "instructions"),
        at_most=1 / 0.9,
    ),
    Goal(
        "instructions a request with one filter, to a service, against the same proxy with none",
        **throughput("service", "native", "instructions"),
        at_most=1 / 0.95,
    ),
    Goal(
        "99th percentile at 1,000 streams a second of which each tenth traps, against none that does",
        "wasmtime",
        of=("traps/1000/wasmtime/trapping:p99_us",),
        to=("traps/1000/wasmtime/quiet:p99_us",),
        at_most=2,
    ),
    Goal(
        "other streams that were answered wrongly meanwhile",
        "wasmtime",
        of=("traps/1000/wasmtime/trapping:wrong",),
        at_most=0,
        unit="streams",
    ),
    Goal(
        "growth of resident memory meanwhile, from the first tenth of the time to the last",
        "wasmtime",
        of=("traps/1000/wasmtime/trapping:growth",),
        at_most=1_000_000,
        unit="bytes",
        note="the long form: `just soak`",
    ),
    Goal(
        "requests lost, crossed or not counted, in 64 connections with callouts, shared data and ticks",
        "wasmtime",
        of=("soak/64/wasmtime:wrong",),
        at_most=0,
        unit="requests",
        note="the long form: `just soak`",
    ),
]
