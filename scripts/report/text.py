"""Numbers and goals as text."""


def number(value: float) -> str:
    """Three figures at least, with separators."""
    places = 0 if abs(value) >= 100 or value == round(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{places}f}"


def verdict(goal: dict) -> str:
    return {True: "yes", False: "no", None: "not measured"}[goal["met"]]


def markdown(report: dict) -> str:
    """The goals as a Markdown table, with machine, date and command above it."""
    lines = [
        f"Measured on {report['date']} at {report['revision']} on {report['machine']}, with `{report['command']}`.",
        "",
        "| question | engine | measured | goal | met |",
        "|---|---|---|---|---|",
    ]
    for goal in report["goals"]:
        got = "–" if goal["median"] is None else f"{number(goal['median'])} {goal['unit']}"
        lines.append(f"| {goal['question']} | {goal['engine']} | {got} | {goal['goal']} | {verdict(goal)} |")
    return "\n".join(lines) + "\n"
