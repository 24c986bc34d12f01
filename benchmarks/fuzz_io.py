"""Run readers on damaged files: python -m benchmarks.fuzz_io [READER...] [--seconds 120] [--corpus FOLDER].

Each reader of `benchmarks.fuzz_readers` runs in a child process for so long, in turn. What counts as a crash: an
exception that is not one of our own sentences, more than 200 MiB of memory beyond twice the file, a call of more than
5 s of processor time, a child that dies. The corpus keeps every file that made a reader say something new, and goes on
from there the next time; crashes/ in it has the files that crash, each with what happened.
"""

from __future__ import annotations

import argparse
import ast
import faulthandler
import functools
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_PACKAGE = Path(__file__).parents[1] / "tomo3d"
_MEMORY_BYTES = 200 << 20
_HANG_S = 5.0  # of processor time: what else runs on the machine does not count
_LONGEST_S = 60.0  # by the clock: a call that waits, or never hears the alarm, ends here
_PREFIX = "tomo3d-fuzz-"
_FAST = "/dev/shm" if os.path.isdir("/dev/shm") else None
_HARD_FACTOR = 3  # memory that nothing else counts ends here
_LARGEST_INPUT = 1 << 20
_MOST_FINDINGS = 20  # of one kind of crash a few are enough
_NUMBERS = (b"nan", b"-1", b"1e27", b"inf", b"0", b"", b"99999999999999999999", b"0x10", b"1e-320", b"-0.0")
_INTEGERS = (0, 1, -1, 127, 255, 32767, 65535, 2**31 - 1, -(2**31), 2**16, 10**6, 10**9)
_FLOATS = (0.0, -1.0, float("nan"), float("inf"), 1e30, -1e30, 1e-40)


@dataclass
class Outcome:
    """Of one reader: executions, crashes (different ones), seconds, and files in the corpus."""

    n_executions: int = 0
    n_crashes: int = 0
    seconds: float = 0.0
    n_corpus: int = 0


class _Hang(BaseException):
    """A call took too long."""


def mutated(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """The data with one to four things wrong with it."""
    content = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _mutate(content, others, rng)
    return bytes(content[:_LARGEST_INPUT])


def _mutate(content: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    n = len(content)
    at = min(rng.randrange(n + 1), rng.randrange(n + 1)) if n else 0  # the beginning says more than the end
    length = min(n - at, rng.choice((1, 2, 4, 8, 16, 64, 256)))
    match rng.randrange(11):
        case 0:
            del content[at:]
        case 1:
            del content[at : at + length]
        case 2:
            content[at:at] = content[at : at + length] * rng.choice((1, 2, 50))
        case 3:
            content[at:at] = rng.randbytes(length)
        case 4:
            other = rng.choice(others)
            cut = rng.randrange(len(other) + 1)
            content[at:] = other[cut:]
        case 5 | 6:
            kind = rng.choice("bhiq")
            value = rng.choice(_INTEGERS) & (2 ** (8 * struct.calcsize("=" + kind)) - 1)
            raw = struct.pack(rng.choice("<>") + kind.upper(), value)
            at -= at % len(raw)
            content[at : at + len(raw)] = raw
        case 7:
            raw = struct.pack(rng.choice("<>") + rng.choice("fd"), rng.choice(_FLOATS))
            at -= at % 4
            content[at : at + len(raw)] = raw
        case 8 | 9:
            numbers = list(re.finditer(rb"[-+]?\d+(\.\d+)?", content[: 1 << 14]))
            if numbers:
                found = rng.choice(numbers)
                content[found.start() : found.end()] = rng.choice(_NUMBERS)
        case _:
            if n:
                content[at % n] ^= 1 << rng.randrange(8)


def _said(error: BaseException | None) -> str:
    """What a reader did, without the numbers and names in it: another text is something new."""
    if error is None:
        return "read"
    frames = list(traceback.walk_tb(error.__traceback__))[-3:]
    return " ".join([type(error).__name__, *(f"{frame.f_code.co_name}:{line}" for frame, line in frames)])


def is_ours(error: BaseException) -> bool:
    """Whether an error is one of our sentences, raised on purpose, whatever it is caused by."""
    if not isinstance(error, (ValueError, OSError, TypeError)):
        return False
    frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
    return line in _raising_lines(frame.f_code.co_filename)


@functools.cache
def _raising_lines(file: str) -> frozenset[int]:
    """Lines of a file of the package that raise on purpose; none of any other file."""
    if not Path(file).is_relative_to(_PACKAGE):
        return frozenset()
    raises = (node for node in ast.walk(ast.parse(Path(file).read_text())) if isinstance(node, ast.Raise))
    return frozenset(
        line for node in raises for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    )


def fuzz(name: str, seconds: float, corpus: Path, *, seed: int = 0) -> Outcome:
    """Run one reader in this process; findings go into the corpus."""
    from benchmarks.fuzz_readers import READERS, place_for, seeds_of

    reader, rng = READERS[name], random.Random(f"{name} {seed} {len(list(corpus.glob('*')))}")
    crashes = corpus / "crashes"
    crashes.mkdir(parents=True, exist_ok=True)
    pool = seeds_of(reader) + [path.read_bytes() for path in sorted(corpus.iterdir()) if path.is_file()]
    known: set[str] = set()
    found: dict[str, int] = {}
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=_FAST) as folder:
        given, changed = place_for(reader, Path(folder))
        print(json.dumps({"begins": name, "input": str(changed)}), flush=True)
        _run(reader.read, given, changed, pool[0])  # imports what is imported late
        base = _peak()
        started = time.monotonic()
        waiting = list(pool)
        while time.monotonic() - started < seconds or waiting:
            data = waiting.pop() if waiting else mutated(rng.choice(pool), pool, rng)
            error = _run(reader.read, given, changed, data)
            outcome.n_executions += 1
            used = _peak() - base
            what = _said(error)
            if used > _MEMORY_BYTES + 2 * len(data):
                error = MemoryError(f"{used >> 20} MiB for a file of {len(data):,} bytes")
                what, base = "memory", _peak()
            if error is not None and not is_ours(error):
                found[what] = found.get(what, 0) + 1
                if found[what] == 1 and len(found) <= _MOST_FINDINGS:
                    _keep(crashes, data, "".join(traceback.format_exception(error)))
            elif what not in known:
                known.add(what)
                pool.append(data)
                _keep(corpus, data)
        outcome.seconds = time.monotonic() - started
    outcome.n_crashes, outcome.n_corpus = len(found), len(list(corpus.iterdir())) - 1
    return outcome


def _run(read: object, given: Path, changed: Path, data: bytes) -> BaseException | None:
    """What is raised when a reader is given these bytes; None if it reads them."""
    changed.unlink(missing_ok=True)  # never written over: it may be mapped
    changed.write_bytes(data)
    signal.setitimer(signal.ITIMER_PROF, _HANG_S)
    # a library that never comes back to Python does not hear the alarm: this ends the process
    faulthandler.dump_traceback_later(_LONGEST_S, exit=True, file=2)
    try:
        read(given)  # type: ignore[operator]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # everything counts here
        return error
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_PROF, 0.0)
    return None


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _keep(folder: Path, data: bytes, text: str = "") -> None:
    name = hashlib.sha256(data).hexdigest()[:16]
    (folder / name).write_bytes(data)
    if text:
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


def _child(names: Sequence[str], seconds: float, corpus: Path, seed: int) -> None:
    """Run readers in turn, saying a line of JSON after each."""
    import logging
    import warnings

    import zarr  # noqa: F401  # here, so that its memory counts as what was there before

    logging.disable()
    warnings.simplefilter("ignore")

    def alarmed(*_: object) -> None:
        raise _Hang(f"more than {_HANG_S:g} s")

    signal.signal(signal.SIGPROF, alarmed)
    for name in names:
        status = Path("/proc/self/status")
        if status.exists():
            size = next(line for line in status.read_text().splitlines() if line.startswith("VmSize"))
            limit = (int(size.split()[1]) << 10) + _HARD_FACTOR * _MEMORY_BYTES
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        print(json.dumps({"name": name, **vars(fuzz(name, seconds, corpus / name, seed=seed))}), flush=True)


def fuzz_apart(
    names: Sequence[str], seconds: float, corpus: Path, *, seed: int = 0
) -> Iterator[tuple[str, Outcome]]:
    """Run readers in a child process, and say what came of each; a child that dies is a crash of its reader."""
    left = list(names)
    while left:
        command = [sys.executable, "-m", "benchmarks.fuzz_io", "--child", "--seconds", str(seconds)]
        command += ["--corpus", str(corpus), "--seed", str(seed), *left]
        child = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True)
        running, changed = "", Path()
        with child:
            for line in child.stdout or ():
                said = json.loads(line)
                running, changed = said.get("begins", running), Path(said.get("input", changed))
                if "name" in said:
                    left.remove(said.pop("name"))
                    yield running, Outcome(**said)
        if child.returncode and left:
            name = running or left[0]
            left.remove(name)
            if (
                changed.is_file()
            ):  # what it was given last; the folder is of the child, which cannot remove it
                (corpus / name / "crashes").mkdir(parents=True, exist_ok=True)
                _keep(
                    corpus / name / "crashes",
                    changed.read_bytes(),
                    f"the process ended with {child.returncode}\n",
                )
                shutil.rmtree(next(p for p in changed.parents if p.name.startswith(_PREFIX)))
            yield name, Outcome(n_crashes=1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each reader; the exit status says if anything crashed."""
    from benchmarks.fuzz_readers import READERS

    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz_io", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}")
    parser.add_argument("--seconds", type=float, default=120.0, help="for each reader")
    parser.add_argument("--corpus", type=Path, default=Path(".fuzz-corpus"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = options.readers or list(READERS)
    unknown = sorted(set(names) - set(READERS))
    if unknown:
        parser.error(f"a reader must be one of {', '.join(READERS)}, got {', '.join(unknown)}.")
    if options.child:
        _child(names, options.seconds, options.corpus, options.seed)
        return
    total = Outcome()
    for name, outcome in fuzz_apart(names, options.seconds, options.corpus.resolve(), seed=options.seed):
        print(
            f"{name}: {outcome.n_executions:,} executions, {outcome.n_crashes} crashes, {outcome.seconds:.1f} s, "
            f"corpus of {outcome.n_corpus}",
            flush=True,
        )
        total.n_executions += outcome.n_executions
        total.n_crashes += outcome.n_crashes
        total.seconds += outcome.seconds
    print(f"all: {total.n_executions:,} executions, {total.n_crashes} crashes, {total.seconds:.1f} s")
    raise SystemExit(1 if total.n_crashes else 0)


if __name__ == "__main__":
    main()
