#!/usr/bin/env python3
"""Says with SQL what the flights application must hold and answer.

SQLite computes every storage and query from the commands, or from the CSV files
that the commands were made from. Rows are printed as `extengine state` prints
them: JSON lines in key order, each a flat object of key fields, then value fields.
"""

import argparse
import csv
import json
import sqlite3
import sys
from pathlib import Path

HERE = Path(__file__).parent

TABLES = """
CREATE TABLE airline (carrier TEXT PRIMARY KEY, name TEXT NOT NULL) STRICT;
CREATE TABLE flight (
    carrier TEXT NOT NULL REFERENCES airline, flight INT NOT NULL, time_hour TEXT NOT NULL,
    date TEXT NOT NULL, tailnum TEXT, origin TEXT NOT NULL, dest TEXT NOT NULL,
    dep_delay INT, arr_delay INT, distance INT NOT NULL CHECK (distance > 0),
    PRIMARY KEY (carrier, flight, time_hour), CHECK (origin <> dest)
) STRICT;
PRAGMA foreign_keys = ON;
"""

# For each storage the fields of its key, and its rows in key order: SQLite orders text by its UTF-8 bytes.
STORAGES = {
    "airline": (["carrier"], "SELECT carrier, name FROM airline ORDER BY carrier"),
    "flight": (
        ["carrier", "flight", "time_hour"],
        "SELECT * FROM flight ORDER BY carrier, flight, time_hour",
    ),
    # A flight without a departure delay was cancelled; sum and max leave it out.
    "carrier_stats": (
        ["carrier"],
        """
        SELECT carrier, count(*) AS flights, count(*) - count(dep_delay) AS cancelled,
               coalesce(sum(dep_delay), 0) AS dep_delay_total,
               max(dep_delay) AS dep_delay_max, sum(distance) AS miles
        FROM flight GROUP BY carrier ORDER BY carrier
        """,
    ),
    "day": (
        ["date"],
        """
        SELECT date, count(*) AS flights, count(*) - count(dep_delay) AS cancelled
        FROM flight GROUP BY date ORDER BY date
        """,
    ),
    "route": (
        ["origin", "dest"],
        """
        SELECT origin, dest, count(*) AS flights,
               coalesce(sum(arr_delay), 0) AS arr_delay_total, count(arr_delay) AS arr_delay_count
        FROM flight GROUP BY origin, dest ORDER BY origin, dest
        """,
    ),
}

QUERIES = {
    # An airline without flights has zeros; an unknown carrier has no row.
    "CarrierReport": """
        SELECT carrier, name, count(flight) AS flights,
               count(flight) - count(dep_delay) AS cancelled,
               coalesce(sum(dep_delay), 0) AS dep_delay_total,
               max(dep_delay) AS dep_delay_max, coalesce(sum(distance), 0) AS miles,
               avg(dep_delay) AS mean_dep_delay
        FROM airline LEFT JOIN flight USING (carrier) WHERE carrier = :carrier GROUP BY carrier
    """,
    # A route on which no flight has an arrival delay has no mean: it is left out.
    "WorstRoutes": """
        SELECT origin, dest, count(*) AS flights,
               CAST(sum(arr_delay) AS REAL) / count(arr_delay) AS mean_arr_delay
        FROM flight GROUP BY origin, dest
        HAVING count(*) >= :min_flights AND count(arr_delay) > 0
        ORDER BY mean_arr_delay DESC, origin, dest LIMIT :limit
    """,
}

FROM_CSV = """
INSERT INTO flight
SELECT carrier, flight, time_hour, printf('%04d-%02d-%02d', year, month, day),
       nullif(nullif(tailnum, 'NA'), ''), origin, dest,
       nullif(nullif(dep_delay, 'NA'), ''), nullif(nullif(arr_delay, 'NA'), ''), distance
FROM raw_flight
"""


def load_commands(database, path):
    """Loads a file of commands, each of which must be acceptable."""
    inserts = {
        "AddAirline": "INSERT INTO airline VALUES (:carrier, :name)",
        "RecordFlight": """INSERT INTO flight VALUES (:carrier, :flight, :time_hour, :date,
            :tailnum, :origin, :dest, :dep_delay, :arr_delay, :distance)""",
    }
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            command = json.loads(line)
            database.execute(inserts[command["command"]], command["args"])


def load_csv(database, path):
    """Loads a flights CSV and the `airlines.csv` beside it, converting in SQL."""
    with path.with_name("airlines.csv").open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines)
        database.executemany("INSERT INTO airline VALUES (:carrier, :name)", rows)
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines)
        header = next(rows)
        database.execute(f"CREATE TEMP TABLE raw_flight ({', '.join(header)})")
        marks = ", ".join("?" * len(header))
        database.executemany(f"INSERT INTO raw_flight VALUES ({marks})", rows)
    database.execute(FROM_CSV)


def rows_of(database, sql, parameters=()):
    """The rows of a query as dictionaries, fields in the order selected."""
    cursor = database.execute(sql, parameters)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row)) for row in cursor]


def storage_rows(database, storage):
    """The rows that a storage must hold, in key order."""
    return rows_of(database, STORAGES[storage][1])


def line_of(row):
    """A row as `extengine state` prints it."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def write_rows(out, rows):
    """Writes one row a line."""
    for row in rows:
        out.write(f"{line_of(row)}\n".encode())


def differences(storage, expected, lines):
    """Yields every way in which `lines`, a storage as printed, is not the expected rows."""

    def key_of(row):
        return tuple(row.get(field) for field in STORAGES[storage][0])

    # Rows are compared as text, so that 1, 1.0 and true differ and the order of fields counts.
    wanted = {key_of(row): line_of(row) for row in expected}
    found = set()
    order = []
    for row in map(json.loads, lines):
        key, line = key_of(row), line_of(row)
        if key not in wanted:
            yield f"{storage}: not expected: {line}"
            continue
        if key in found:
            yield f"{storage}: key occurs twice: {line}"
        if line != wanted[key]:
            yield f"{storage}: expected {wanted[key]}, found {line}"
        found.add(key)
        order.append(key)
    for key in wanted:
        if key not in found:
            yield f"{storage}: missing: {wanted[key]}"
    if order != sorted(order):
        yield f"{storage}: rows are not in key order"


def compare(database, storages, place):
    """Reports every difference on standard error; returns whether there was none."""
    clean = True
    for storage in storages:
        if place == "-":
            state = sys.stdin.buffer.read()
        else:
            path = Path(place)
            state = (path / f"{storage}.jsonl" if path.is_dir() else path).read_bytes()
        expected = storage_rows(database, storage)
        for difference in differences(storage, expected, state.splitlines()):
            print(difference, file=sys.stderr)
            clean = False
    return clean


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--commands",
        type=Path,
        metavar="FILE",
        default=HERE.parent / "commands.jsonl",
        help="take the flights from these commands (default: the sample)",
    )
    source.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="take them from this CSV, with airlines.csv beside it",
    )
    parser.add_argument("--storage", choices=STORAGES, help="the storage to print or compare")
    parser.add_argument(
        "--query",
        nargs=2,
        metavar=("NAME", "ARGS"),
        help=f"print the answer of {' or '.join(QUERIES)} to these arguments, a JSON object",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write each storage to DIR/STORAGE.jsonl"
    )
    parser.add_argument(
        "--compare",
        metavar="PLACE",
        help="compare the output of `extengine state` with what it must be: a folder of"
        " STORAGE.jsonl files, or with --storage a file, or - for standard input;"
        " exit 1 on any difference",
    )
    args = parser.parse_args()
    if args.compare and not args.storage and not Path(args.compare).is_dir():
        parser.error("--compare needs --storage, or a folder")
    if not (args.storage or args.query or args.out or args.compare):
        parser.error("one of --storage, --query, --out and --compare is needed")
    if args.query and args.query[0] not in QUERIES:
        parser.error(f"--query knows {' and '.join(QUERIES)}")

    database = sqlite3.connect(":memory:")
    database.executescript(TABLES)
    if args.csv:
        load_csv(database, args.csv)
    else:
        load_commands(database, args.commands)

    if args.compare:
        storages = [args.storage] if args.storage else STORAGES
        sys.exit(0 if compare(database, storages, args.compare) else 1)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        for storage in STORAGES:
            with (args.out / f"{storage}.jsonl").open("wb") as out:
                write_rows(out, storage_rows(database, storage))
    if args.storage:
        write_rows(sys.stdout.buffer, storage_rows(database, args.storage))
    if args.query:
        name, parameters = args.query
        write_rows(sys.stdout.buffer, rows_of(database, QUERIES[name], json.loads(parameters)))


if __name__ == "__main__":
    main()
