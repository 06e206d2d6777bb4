"""The report's reading and reckoning, on small fixtures."""

import json
import re
import tempfile
import unittest
from pathlib import Path

from goals import GOALS, Goal
from measures import Measurement, baseline, from_criterion, from_lines, natural, quotient, total
from page import page
from readme import AGAINST_RAW, BLOCKS, ENGINES, ISOLATION, between, updated
from reckoning import not_printed, reckon
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

    def test_fuel_is_compared_with_the_runtimes_own_or_with_its_only_check(self):
        ours, raw = measured("limits/x/wasmer/fuel:ns", 3), measured("limits/x/wasmer/raw:ns", 2)
        own = measured("limits/x/wasmer/raw_fuel:ns", 1)
        self.assertIs(baseline(ours, known(ours, raw)), raw)
        self.assertIs(baseline(ours, known(ours, raw, own)), own)

    def test_the_store_on_disk_is_compared_with_the_one_in_memory(self):
        lines = [{"question": "store/orders_64", "engine": e, "rate": r} for e, r in (("disk", 50), ("memory", 100))]
        both = known(*from_lines("store", "\n".join(map(json.dumps, lines))))
        self.assertEqual(baseline(both["store/orders_64/disk:rate"], both).engine, "memory")
        self.assertIsNone(baseline(both["store/orders_64/memory:rate"], both))

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


INVOKED = {"machine": "a <machine>", "date": "2026-01-02", "revision": "abc"}
ROW = {"question", "engine", "median", "spread", "ratio", "goal", "met"}


class Rows(unittest.TestCase):
    def report(self, *more, parts=None):
        ours, raw = measured("invoke/empty/wasmtime/keep:ns", 25, 24, 26), measured("invoke/empty/wasmtime/raw:ns", 10)
        return reckon([ours, raw, *more], {"invoke": INVOKED} if parts is None else parts)

    def test_every_row_has_every_field(self):
        report = self.report()
        for row in report["goals"] + report["measurements"]:
            self.assertLessEqual(ROW, set(row))

    def test_a_goal_has_the_ratio_that_it_bounds(self):
        goals = self.report()["goals"]
        self.assertEqual((goals[0]["ratio"], goals[1]["ratio"]), (2.5, None))
        bytes_of_one = measured("memory/loaded_1000/wasmtime/engine:bytes", 7)
        [goal] = [goal for goal in self.report(bytes_of_one)["goals"] if bytes_of_one.name in goal["of"]]
        self.assertEqual((goal["median"], goal["ratio"]), (7, None))

    def test_a_measurement_has_its_goal_and_whether_it_is_met(self):
        ours, raw = self.report()["measurements"]
        self.assertIn("at most 3 ×", ours["goal"])
        self.assertTrue(ours["met"])
        self.assertEqual((raw["goal"], raw["met"]), (None, None))

    def test_a_bench_keeps_when_and_where_it_ran(self):
        read = measured("read/rows_1/lua/raw:ns", 1)
        parts = {"invoke": INVOKED, "read": INVOKED | {"date": "2026-02-03", "revision": "def"}}
        report = self.report(read, parts=parts)
        self.assertEqual(report["date"], "2026-01-02, 2026-02-03")
        self.assertEqual(report["parts"]["read"]["revision"], "def")

    def test_a_bench_that_left_no_word_is_of_an_unknown_revision(self):
        self.assertEqual(self.report(parts={})["parts"]["invoke"]["revision"], "unknown")


class Readme(unittest.TestCase):
    README = "before\n<!-- ratios -->\nold\n<!-- /ratios -->\nin between\n<!-- durable -->\nold\n<!-- /durable -->\nbehind\n"

    def updated(self):
        measurements = [
            measured("invoke/order/wasmtime/keep:ns", 20),
            measured("invoke/order/wasmtime/raw:ns", 10),
            measured("invoke/order/wasmtime/fresh:ns", 3_000),
            measured("invoke/empty/builtin/keep:ns", 30),
            measured("invoke/empty/builtin/raw:ns", 3),
            measured("peers/in-process/saturated/wasmtime:rate", 50),
            measured("peers/in-process/saturated/tarantool:rate", 10),
        ]
        return updated(self.README, reckon(measurements, {"invoke": INVOKED, "peers": INVOKED | {"revision": "def"}}))

    def test_only_what_stands_between_the_markers_is_written(self):
        text = self.updated()
        for kept in ("before\n<!-- ratios -->\n", "<!-- /ratios -->\nin between\n", "<!-- /durable -->\nbehind\n"):
            self.assertIn(kept, text)
        self.assertNotIn("old", text)

    def test_the_tables_have_the_ratios(self):
        text = self.updated()
        self.assertIn("| an order | 2 × |", text)
        self.assertIn("| an empty invocation |  |  |  | 27 ns more |", text)
        self.assertIn("| an order | wasmtime | 20 ns | 3,000 ns | 150 × |", text)
        self.assertIn("against Tarantool at 1,024 fibers | wasmtime | 5 × |", text)

    def test_each_block_says_when_and_where_its_benches_ran(self):
        ratios, durable = self.updated().split("in between")
        self.assertIn("2026-01-02, at abc, on a <machine>", ratios)
        self.assertIn("at def", durable)

    def test_readme_has_the_markers(self):
        text = (ROOT / "README.md").read_text()
        for name in BLOCKS:
            self.assertIn("\nnew\n", between(text, name, "new"))

    def test_a_text_without_markers_is_refused(self):
        with self.assertRaises(ValueError):
            between("nothing", "ratios", "new")


def tokens(bench):
    """Words of a bench's string literals, and its numbers: what the names that it prints are made of."""
    source = "\n".join(file.read_text() for pattern in SOURCES[bench] for file in sorted(ROOT.glob(pattern)))
    # Quotes in comments, in raw strings and in characters begin no literal.
    lexed = re.finditer(r"""//[^\n]*|r#"(.*?)"#|'"'|"((?:[^"\\]|\\.)*)\"""", source, re.S)
    literals = " ".join(found[1] or found[2] or "" for found in lexed)
    numbers = re.findall(r"\d+", re.sub(r"(?<=\d)_(?=\d)", "", source))
    # The engines by whose own names a bench calls them.
    engines = ENGINES if "in ENGINES" in source else []
    return set(re.findall(r"[\w-]+", literals)) | set(numbers) | set(engines)


def is_printed(name):
    """Whether a bench's source has all that a measurement's name is made of."""
    path, measure = name.rsplit(":", 1)
    bench, *words = path.split("/")
    said = tokens(bench)
    # Criterion measures nanoseconds without a word.
    words += [] if measure == "ns" else [measure]
    return all(
        word in said
        or all(part in said for part in word.split("_"))
        or (re.fullmatch(r"\d+x\d+", word) and all(part in said for part in word.split("x")))
        for word in words
    )


ROOT = Path(__file__).resolve().parents[2]
STREAMS = ["proxy/benches/streams/*.rs"]
SOURCES = {
    "invoke": ["benches/invoke.rs", "benches/question.rs"],
    "read": ["benches/read.rs"],
    "start": ["benches/start.rs"],
    "limits": ["benches/limits.rs"],
    "functions": ["benches/functions.rs"],
    "filters": ["benches/filters.rs", "benches/filtering/mod.rs"],
    "memory": ["benches/memory.rs"],
    "partition": ["benches/partition.rs"],
    "recovery": ["benches/recovery.rs"],
    "swap": ["benches/swap.rs"],
    "store": ["partition/benches/store.rs"],
    "peers": ["benches/peers/src/*.rs"],
    "extism": ["benches/extism/src/*.rs"],
    "throughput": STREAMS,
    "traps": STREAMS,
    "soak": STREAMS,
}


class Names(unittest.TestCase):
    def test_the_benches_print_what_goals_are_about(self):
        for goal in GOALS:
            for name in goal.of + goal.to:
                self.assertTrue(is_printed(name.removeprefix("-")), f"{name}: no bench prints it")

    def test_the_benches_print_what_readme_is_about(self):
        shown = [(question, way) for _, question, way in AGAINST_RAW] + [one for _, *both in ISOLATION for one in both]
        for question, way in shown:
            self.assertTrue(is_printed(f"{question}/wasmtime/{way}:ns"), question)

    def test_another_name_is_not_printed(self):
        for name in ("invoke/emptied/wasmtime/keep:ns", "recovery/killed/2000000/wasmtime:seconds", "swap/x/lua:late_us"):
            self.assertFalse(is_printed(name), name)

    def test_what_a_bench_did_not_print_is_told(self):
        names = {name.removeprefix("-") for name in GOALS[0].of + GOALS[0].to}
        self.assertEqual(not_printed(GOALS[:1], {"invoke"}, set()), sorted(names))
        self.assertEqual(not_printed(GOALS[:1], {"invoke"}, names), [])
        self.assertEqual(not_printed(GOALS[:1], {"read"}, set()), [])


class Showing(unittest.TestCase):
    def report(self):
        ours, raw = measured("invoke/empty/wasmtime/keep:ns", 25, 24, 26), measured("invoke/empty/wasmtime/raw:ns", 10)
        return reckon([ours, raw], {"invoke": INVOKED})

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
