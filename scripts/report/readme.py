"""README's tables of ratios, written between markers: `<!-- NAME -->` and `<!-- /NAME -->`, each on a line of its own."""

from reckoning import origin
from text import number

ENGINES = ["wasmtime", "wasmer", "lua", "builtin"]

# What is asked, and the question and the way that say how long it takes.
AGAINST_RAW = [
    ("an order", "invoke/order", "keep"),
    ("an order on a fresh instance", "invoke/order", "fresh"),
    ("an empty invocation", "invoke/empty", "keep"),
    ("reading 10,000 rows of 100 bytes", "read/rows_10000", "keep"),
]

# The same on an instance that is kept, and on a fresh one.
ISOLATION = [
    ("an order", ("invoke/order", "keep"), ("invoke/order", "fresh")),
    ("an empty invocation", ("invoke/empty", "keep"), ("start/fresh_call", "engine")),
]


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(line) + " |" for line in (head, *rows)]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]


def measured(report: dict, parts: set[str]) -> str:
    of = origin(report["parts"], parts)
    return f"of `{report['command']}`, {of['date']}, at {of['revision']}, on {of['machine']}"


def ratios(report: dict) -> str:
    """Our engines beside the bare runtimes, and what isolation costs."""
    rows = {(row["question"], row["engine"], row["way"]): row for row in report["measurements"] if row["measure"] == "ns"}

    def against_raw(question: str, engine: str, way: str) -> str:
        row = rows.get((question, engine, way))
        if row is None or row["ratio"] is None:
            return ""
        if engine == "builtin" and question == "invoke/empty":
            # Beside a call of a few nanoseconds a ratio says nothing.
            return f"{number(row['median'] - row['median'] / row['ratio'])} ns more"
        return f"{number(row['ratio'])} ×"

    def isolation(keep: tuple[str, str], fresh: tuple[str, str], engine: str) -> list[str]:
        found = [rows.get((question, engine, way)) for question, way in (keep, fresh)]
        if None in found or not found[0]["median"]:
            return ["", "", ""]
        kept, made = (row["median"] for row in found)
        return [f"{number(kept)} ns", f"{number(made)} ns", f"{number(made / kept)} ×"]

    lines = [
        f"Medians {measured(report, {'invoke', 'read', 'start'})}; an order command is two reads and three intents, rows checked.",
        "",
        *table(
            ["against the same work on the bare runtime, with the same limits", *ENGINES],
            [[asked, *(against_raw(question, engine, way) for engine in ENGINES)] for asked, question, way in AGAINST_RAW],
        ),
        "",
        "What isolation costs: a fresh instance for each call.",
        "",
        *table(
            ["", "engine", "keep", "fresh", "fresh ÷ keep"],
            [[asked, engine, *isolation(keep, fresh, engine)] for asked, keep, fresh in ISOLATION for engine in ENGINES],
        ),
    ]
    return "\n".join(lines)


def durable(report: dict) -> str:
    """The goals on durable orders, measured beside peers in one run."""
    goals = [goal for goal in report["goals"] if goal["of"][0].startswith("peers/")]
    lines = [
        f"Medians {measured(report, {'peers'})}; each order is answered after its `fdatasync`.",
        "",
        *table(
            ["durable orders", "engine", "ratio"],
            [
                [goal["question"], goal["engine"], "" if goal["ratio"] is None else f"{number(goal['ratio'])} ×"]
                for goal in goals
            ],
        ),
    ]
    return "\n".join(lines)


BLOCKS = {"ratios": ratios, "durable": durable}


def between(text: str, name: str, block: str) -> str:
    """The text with another block between the markers of a name.

    Raises `ValueError` where they do not stand there once.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"there is no place for `{name}` between {begin.strip()} and {end.strip()}")
    before, rest = text.split(begin)
    return before + begin + block + "\n" + end + rest.split(end)[1]


def updated(text: str, report: dict) -> str:
    """README with the report's numbers."""
    for name, block in BLOCKS.items():
        text = between(text, name, block(report))
    return text
