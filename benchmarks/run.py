"""Run benchmarks: python -m benchmarks.run [SUBJECT...] [--smallest] [--write]."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks import cases, results


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every case of the subjects, and print a line for each."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(cases.subjects())}")
    parser.add_argument("--smallest", action="store_true", help="the smallest of every size only")
    parser.add_argument("--write", action="store_true", help="replace the tables of these in RESULTS.md")
    options = parser.parse_args(words)
    unknown = sorted(set(options.subjects) - set(cases.subjects()))
    if unknown:
        parser.error(f"a subject must be one of {', '.join(cases.subjects())}, got {', '.join(unknown)}.")
    for subject in options.subjects or cases.subjects():
        started = f"{results.today()}, {results.version()}, {results.machine()}, {results.load()}"
        measured = []
        for case in cases.cases(subject, smallest=options.smallest):
            measured.append(cases.measure(case))
            print(line(measured[-1]), flush=True)
        if options.write:
            flags = [word for word in words if word.startswith("--")]
            command = " ".join(["python -m benchmarks.run", subject, *flags])
            results.write(subject, results.table(measured, command, started))


def line(result: cases.Result) -> str:
    """All there is to say of a result, in one line."""
    sizes = f" [{result.case.sizes}]" if result.case.sizes else ""
    verdict = f"; {result.verdict}" if result.verdict else ""
    where = f"{results.version()}, {results.machine()}, CPU, {results.today()}"
    return f"{result.case.subject}.{result.case.name}{sizes}: {result}{verdict} | {where}"


if __name__ == "__main__":
    main()
