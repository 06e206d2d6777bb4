"""The whole report: goals and measurements as rows, with what they were measured on, at which revision and when."""

from goals import GOALS, Goal
from measures import MEASURES, Measurement, baseline

# What is kept beside the measurements of a bench when it runs.
FROM = ("date", "revision", "machine")
UNKNOWN = {field: "unknown" for field in FROM}


def part_of(name: str) -> str:
    """The bench that prints a measurement."""
    return name.removeprefix("-").split("/")[0]


def several(values: list[str]) -> str:
    """One text for what may differ from bench to bench."""
    return ", ".join(sorted(set(values)))


def origin(parts: dict[str, dict], chosen=None) -> dict:
    """Date, revision and machine of some benches together, or of all."""
    of = [parts[part] for part in parts if chosen is None or part in chosen]
    return {field: several([one[field] for one in of]) or "unknown" for field in FROM}


def all_of(verdicts: list[bool | None]) -> bool | None:
    """No where one is no, and open where one is open or where there is none."""
    if False in verdicts:
        return False
    return True if verdicts and None not in verdicts else None


def reckon(measurements: list[Measurement], parts: dict[str, dict]) -> dict:
    """The report on measurements, of which each bench's date, revision and machine are in `parts`."""
    known = {one.name: one for one in measurements}
    goals = [(goal, goal.judge(known)) for goal in GOALS]
    rows = []
    for one in measurements:
        beside = baseline(one, known)
        judged = [row for goal, row in goals if goal.of[0] == one.name]
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
                "goal": "; ".join(f"{row['question']}: {row['goal']}" for row in judged) or None,
                "met": all_of([row["met"] for row in judged]),
            }
        )
    measured = {part_of(name): UNKNOWN for name in known} | parts
    return {
        **origin(measured),
        "command": "just report",
        "parts": measured,
        "goals": [row for _, row in goals],
        "measurements": rows,
    }


def not_printed(goals: list[Goal], ran: set[str], known: set[str]) -> list[str]:
    """What goals name of benches that ran, and that these did not print."""
    names = {name.removeprefix("-") for goal in goals for name in goal.of + goal.to}
    return sorted(name for name in names if part_of(name) in ran and name not in known)
