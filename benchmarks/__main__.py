"""Runs the benchmarks and prints a table: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks import cost, mixture, speed
from benchmarks.overload import overload
from benchmarks.plan import FULL, QUICK
from benchmarks.preload import preload_refill, preloaded, preloaded_throughput
from benchmarks.rows import Row, table
from tests.support import machine

CASES = {
    case.__name__: case
    for case in (
        speed.latency,
        speed.remembered,
        speed.cold,
        speed.throughput,
        speed.bursts,
        speed.sizes,
        preloaded,
        preloaded_throughput,
        preload_refill,
        mixture.mixture,
        mixture.steady,
        overload,
        cost.processors,
        cost.idle,
        cost.endurance,
        cost.config,
    )
}


def main() -> None:
    """Measure, print the table, and write the figures to a file if asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)} (all)")
    parser.add_argument("--quick", action="store_true", help="see that it works; trust no figure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to a file")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        parser.error("needs root: to run a program of an image without any sandbox")
    plan = QUICK if options.quick else FULL
    facts = machine.describe()
    rows: list[Row] = []
    try:
        for name in options.cases or CASES:
            print(f"{name}: {CASES[name].__doc__}", file=sys.stderr, flush=True)
            rows.extend(CASES[name](plan))
    finally:
        # also what was measured before a case failed
        print(", ".join(f"{name} {value}" for name, value in facts.items()), end="\n\n")
        print(table(rows))
        if options.json:
            document = {"machine": facts, "rows": [row.document() for row in rows]}
            options.json.write_text(json.dumps(document, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
