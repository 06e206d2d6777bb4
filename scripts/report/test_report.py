"""The report's reading and reckoning, on small fixtures."""

import json
import tempfile
import unittest
from pathlib import Path

from goals import GOALS, Goal
from measures import Measurement, baseline, from_criterion, from_lines, natural, quotient, total
from page import page
from text import markdown


def measured(name, value, low=None, high=None, rounds=()):
    path, measure = name.rsplit(":", 1)
    *question, engine, way = path.split("/")
    return Measurement("/".join(question), engine, way, measure, value, low or value, high or value, rounds)


def known(*measurements):
    return {one.name: one for one in measurements}


class Reading(unittest.TestCase):
    def test_criterion_gives_the_median_and_its_interval(self):
        with tempfile.TemporaryDirectory() as folder:
            new = Path(folder) / "invoke_order" / "wasmtime" / "keep" / "new"
            new.mkdir(parents=True)
            described = {"group_id": "invoke/order", "function_id": "wasmtime", "value_str": "keep"}
            (new / "benchmark.json").write_text(json.dumps(described))
            interval = {"lower_bound": 390.0, "upper_bound": 420.0}
            estimates = {"median": {"point_estimate": 400.0, "confidence_interval": interval}, "mean": {}}
            (new / "estimates.json").write_text(json.dumps(estimates))
            [one] = from_criterion(Path(folder))
        self.assertEqual(one.name, "invoke/order/wasmtime/keep:ns")
        self.assertEqual((one.median, one.low, one.high), (400.0, 390.0, 420.0))

    def test_lines_give_the_median_of_the_rounds(self):
        lines = "\n".join(
            json.dumps({"question": "peers/loopback/1x1", "engine": "redis", "rate": rate, "round": n})
            for n, rate in enumerate([30.0, 10.0, 20.0])
        )
        [one] = from_lines("peers", lines)
        self.assertEqual(one.name, "peers/loopback/1x1/redis:rate")
        self.assertEqual((one.median, one.low, one.high), (20.0, 10.0, 30.0))

    def test_a_question_is_named_after_its_bench(self):
        line = json.dumps({"question": "instance", "engine": "lua", "way": "raw", "count": 100, "bytes": 5})
        [one] = from_lines("memory", line)
        self.assertEqual(one.name, "memory/instance/lua/raw:bytes")

    def test_many_packages_are_told_by_the_package(self):
        line = json.dumps({"question": "loaded", "engine": "lua", "way": "engine", "count": 100, "bytes": 5_000})
        [one] = from_lines("memory", line)
        self.assertEqual(one.median, 50)

    def test_numbers_sort_by_size(self):
        self.assertEqual(sorted(["rows_10000", "rows_1", "rows_100"], key=natural), ["rows_1", "rows_100", "rows_10000"])


class Reckoning(unittest.TestCase):
    def test_a_name_with_a_minus_is_taken_away(self):
        got = total(("a/b/c:ns", "-a/d/c:ns"), known(measured("a/b/c:ns", 10, 9, 12), measured("a/d/c:ns", 4, 3, 5)))
        self.assertEqual((got.value, got.low, got.high), (6, 4, 9))

    def test_interleaved_rounds_are_divided_round_by_round(self):
        ours = measured("p/x/a:rate", 20, 2, 40, rounds=(20, 2, 40))
        theirs = measured("p/x/b:rate", 10, 1, 10, rounds=(10, 1, 10))
        got = quotient((ours.name,), (theirs.name,), known(ours, theirs))
        self.assertEqual((got.value, got.low, got.high), (2, 2, 4))

    def test_without_rounds_the_spreads_of_both_count(self):
        ours, theirs = measured("i/x/a:ns", 20, 18, 24), measured("i/x/b:ns", 10, 9, 12)
        got = quotient((ours.name,), (theirs.name,), known(ours, theirs))
        self.assertEqual((got.value, got.low, got.high), (2, 1.5, 24 / 9))

    def test_what_was_not_measured_has_no_quotient(self):
        self.assertIsNone(quotient(("a/b/c:ns",), (), {}))
        self.assertIsNone(quotient(("a/b/c:ns",), ("a/b/d:ns",), known(measured("a/b/c:ns", 1))))

    def test_an_engine_is_compared_with_its_raw_runtime(self):
        ours, raw = measured("invoke/order/wasmer/fresh:ns", 3), measured("invoke/order/wasmer/raw_fresh:ns", 2)
        other = measured("invoke/order/wasmer/raw:ns", 1)
        self.assertIs(baseline(ours, known(ours, raw, other)), raw)

    def test_ours_is_compared_with_the_best_peer(self):
        lines = [("wasmtime", 50), ("redis", 10), ("tarantool", 20), ("bare-append", 90)]
        text = "\n".join(json.dumps({"question": "peers/x", "engine": e, "rate": r}) for e, r in lines)
        all_of_them = known(*from_lines("peers", text))
        best = baseline(all_of_them["peers/x/wasmtime:rate"], all_of_them)
        self.assertEqual(best.engine, "tarantool")
        self.assertIsNone(baseline(all_of_them["peers/x/redis:rate"], all_of_them))


class Goals(unittest.TestCase):
    def judged(self, of, to, **bound):
        goal = Goal("t", "e", ("i/x/a:ns",), ("i/x/b:ns",), **bound)
        return goal.judge(known(measured("i/x/a:ns", of), measured("i/x/b:ns", to)))

    def test_at_most_is_met_up_to_its_bound(self):
        self.assertTrue(self.judged(30, 10, at_most=3)["met"])
        self.assertFalse(self.judged(31, 10, at_most=3)["met"])

    def test_at_least_is_met_from_its_bound(self):
        self.assertTrue(self.judged(40, 10, at_least=4)["met"])
        self.assertFalse(self.judged(39, 10, at_least=4)["met"])

    def test_a_goal_without_measurements_is_neither_met_nor_missed(self):
        self.assertIsNone(GOALS[0].judge({})["met"])

    def test_every_goal_has_one_bound_and_known_measures(self):
        for goal in GOALS:
            self.assertEqual((goal.at_most is None) + (goal.at_least is None), 1, goal.title)
            measures = {name.rsplit(":", 1)[1] for name in goal.of + goal.to}
            self.assertEqual(len(measures), 1, goal.title)


class Showing(unittest.TestCase):
    def report(self):
        ours, raw = measured("invoke/empty/wasmtime/keep:ns", 25, 24, 26), measured("invoke/empty/wasmtime/raw:ns", 10)
        rows = [
            {"question": one.question, "engine": one.engine, "way": one.way, "measure": one.measure, "unit": "ns",
             "median": one.median, "spread": [one.low, one.high], "baseline": None, "ratio": None}
            for one in (ours, raw)
        ]
        goals = [goal.judge(known(ours, raw)) for goal in GOALS[:2]]
        return {"machine": "a <machine>", "date": "2026-01-02", "command": "just report", "revision": "abc",
                "goals": goals, "measurements": rows}

    def test_the_table_says_what_is_met_and_what_was_not_measured(self):
        table = markdown(self.report())
        self.assertIn("| wasmtime | 2.50 × | at most 3 × | yes |", table)
        self.assertIn("| wasmer | – | at most 2 × | not measured |", table)
        self.assertIn("2026-01-02", table)

    def test_the_page_needs_nothing_from_elsewhere(self):
        html = page(self.report())
        self.assertIn("<svg", html)
        self.assertIn("a &lt;machine&gt;", html)
        for foreign in ("http:", "https:", "src=", "<script", "@import"):
            self.assertNotIn(foreign, html.replace("http://www.w3.org/2000/svg", ""))


if __name__ == "__main__":
    unittest.main()
