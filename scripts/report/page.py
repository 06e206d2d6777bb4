"""The report as one HTML page that needs nothing from elsewhere."""

from html import escape
from itertools import groupby
from math import log

from measures import BARE, MEASURES, OURS, RISING, natural
from text import number, verdict

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1c2430; background: #fff; max-width: 66em; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.6em; margin-bottom: 0 } h2 { font-size: 1.2em; margin: 2em 0 .3em } h3 { font-size: 1em; margin: 1.2em 0 .2em }
p.from { color: #667; margin-top: .2em } table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .25em .6em; border-bottom: 1px solid #e6e8ee } td.n { text-align: right; white-space: nowrap }
.yes { background: #e3f4e6 } .no { background: #fbe4e1 } .none { color: #889 } .key { color: #667; font-size: .9em }
svg text { font: 12px system-ui, sans-serif; fill: #1c2430 } nav a { margin-right: 1em }
"""

OUR, RAW, PEER = "#3b78c3", "#9aa3b2", "#d98f3a"
ROW, LABEL, BAR = 20, 210, 420


def colour(row: dict) -> str:
    if row["engine"] in BARE or row["way"].startswith("raw"):
        return RAW
    return OUR if row["engine"] in OURS else PEER


def is_wide(rows: list[dict]) -> bool:
    """Whether the medians lie so far apart that only their logarithms can be told from each other."""
    least = min(row["median"] for row in rows)
    return least > 0 and max(row["median"] for row in rows) > 30 * least


def plot(rows: list[dict]) -> str:
    """Bars up to the median, best first, each with a line over its spread."""
    rows = sorted(rows, key=lambda row: row["median"], reverse=rows[0]["measure"] in RISING)
    most = max(row["spread"][1] for row in rows) or 1
    if is_wide(rows):
        start = min(row["median"] for row in rows) / 2
        share = lambda value: log(max(value, start) / start) / log(most / start)
    else:
        share = lambda value: value / most
    parts = [f'<svg width="{LABEL + BAR + 230}" height="{ROW * len(rows) + 4}" xmlns="http://www.w3.org/2000/svg">']
    for place, row in enumerate(rows):
        top = place * ROW + 3
        length, low, high = (share(value) * BAR for value in (row["median"], *row["spread"]))
        name = escape(" ".join(filter(None, [row["engine"], row["way"]])))
        said = number(row["median"])
        if row["ratio"] is not None:
            said += f" ({number(row['ratio'])} × {row['baseline']})"
        parts.append(
            f'<text x="{LABEL - 8}" y="{top + 12}" text-anchor="end">{name}</text>'
            f'<rect x="{LABEL}" y="{top}" width="{max(length, 1):.1f}" height="{ROW - 6}" fill="{colour(row)}"/>'
            f'<line x1="{LABEL + low:.1f}" x2="{LABEL + high:.1f}" y1="{top + 7}" y2="{top + 7}" stroke="#1c2430"/>'
            f'<text x="{LABEL + max(length, high) + 6:.1f}" y="{top + 12}">{escape(said)}</text>'
        )
    return "".join(parts) + "</svg>"


def goals(report: dict) -> str:
    order = {False: 0, None: 1, True: 2}
    rows = []
    for goal in sorted(report["goals"], key=lambda goal: order[goal["met"]]):
        kind = {True: "yes", False: "no", None: "none"}[goal["met"]]
        got = spread = "–"
        if goal["median"] is not None:
            got = f"{number(goal['median'])} {goal['unit']}"
            spread = f"{number(goal['spread'][0])} to {number(goal['spread'][1])}"
        note = f'<br><span class="key">{escape(goal["note"])}</span>' if "note" in goal else ""
        rows.append(
            f'<tr class="{kind}"><td>{escape(goal["question"])}{note}</td><td>{escape(goal["engine"])}</td>'
            f'<td class="n">{escape(got)}</td><td class="n">{escape(spread)}</td>'
            f'<td class="n">{escape(goal["goal"])}</td><td>{verdict(goal)}</td></tr>'
        )
    head = "<tr><th>question</th><th>engine</th><th>median</th><th>spread</th><th>goal</th><th>met</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"


def page(report: dict) -> str:
    """The whole page: goals, the missed ones first, then every measurement by question."""
    missed = sum(goal["met"] is False for goal in report["goals"])
    met = sum(goal["met"] is True for goal in report["goals"])
    by_bench = lambda row: row["question"].split("/")[0]
    by_question = lambda row: (natural(row["question"]), row["question"], list(MEASURES).index(row["measure"]))
    rows = sorted(report["measurements"], key=lambda row: (by_bench(row), by_question(row)))
    sections, links = [], []
    for bench, of_bench in groupby(rows, by_bench):
        links.append(f'<a href="#{escape(bench)}">{escape(bench)}</a>')
        sections.append(f'<h2 id="{escape(bench)}">{escape(bench)}</h2>')
        of = report["parts"][bench]
        sections.append(f'<p class="from">{escape(of["date"])}, {escape(of["revision"])}, {escape(of["machine"])}</p>')
        for (_, question, _), of_question in groupby(of_bench, by_question):
            of_question = list(of_question)
            unit = MEASURES[of_question[0]["measure"]]
            better = "more is better" if of_question[0]["measure"] in RISING else "less is better"
            scale = "; logarithmic" if is_wide(of_question) else ""
            sections.append(f"<h3>{escape(question)}: {escape(unit)}, {better}{scale}</h3>{plot(of_question)}")
    key = (
        f'<p class="key"><span style="color:{OUR}">■</span> Extengine '
        f'<span style="color:{RAW}">■</span> raw runtimes and bare parts '
        f'<span style="color:{PEER}">■</span> peers; lines show the spread</p>'
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Extengine: report</title>'
        f"<style>{STYLE}</style></head><body><h1>Extengine: {met} goals met, {missed} missed</h1>"
        f'<p class="from">{escape(report["date"])}, {escape(report["revision"])}, {escape(report["machine"])}, '
        f'<code>{escape(report["command"])}</code></p>{goals(report)}<nav><p>{"".join(links)}</p></nav>{key}'
        f"{''.join(sections)}</body></html>\n"
    )
