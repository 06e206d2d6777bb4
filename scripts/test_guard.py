"""What the guard of instructions lets pass."""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import guard


def compared(counts, baseline, full=True):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        bad = guard.compare(counts, baseline, full)
    return bad, said.getvalue()


class Comparing(unittest.TestCase):
    def test_a_path_within_five_percent_passes(self):
        self.assertEqual(compared({"a": 104, "b": 96}, {"a": 100, "b": 100})[0], 0)

    def test_more_is_bad(self):
        bad, said = compared({"a": 106}, {"a": 100})
        self.assertEqual(bad, 1)
        self.assertIn("GREW", said)

    def test_less_is_bad_until_it_is_blessed(self):
        bad, said = compared({"a": 94}, {"a": 100})
        self.assertEqual(bad, 1)
        self.assertIn("bless", said)

    def test_a_path_without_a_baseline_is_bad(self):
        self.assertEqual(compared({"a": 1}, {})[0], 1)

    def test_a_full_run_misses_what_is_no_longer_measured(self):
        bad, said = compared({"a": 100}, {"a": 100, "gone": 7})
        self.assertEqual(bad, 1)
        self.assertIn("gone", said)

    def test_a_part_of_the_paths_misses_nothing(self):
        self.assertEqual(compared({"a": 100}, {"a": 100, "other": 7}, full=False)[0], 0)


class Running(unittest.TestCase):
    def test_a_name_that_no_path_has_is_bad_usage(self):
        with tempfile.TemporaryDirectory() as folder:
            silent = Path(folder) / "valgrind"
            silent.write_text("#!/bin/sh\n")
            silent.chmod(0o755)
            ran = subprocess.run(
                [sys.executable, guard.__file__, "program", "TYPO"],
                env=os.environ | {"VALGRIND": str(silent)},
                capture_output=True,
                text=True,
            )
        self.assertEqual(ran.returncode, 2, ran.stdout)
        self.assertIn("TYPO", ran.stderr)


if __name__ == "__main__":
    unittest.main()
