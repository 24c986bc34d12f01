"""Entry point: finds the command, runs it, and says in one sentence what went wrong."""

from __future__ import annotations

import ast
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, CycloptsError, UnusedCliTokensError

from tomo3d._version import __version__
from tomo3d.cli.commands import STAGES, functions
from tomo3d.cli.console import reporting, say
from tomo3d.errors import ConvergenceError

EXIT_ERROR, EXIT_INTERRUPTED = 2, 130
_TELLING = (ValueError, TypeError, OSError, MemoryError, ConvergenceError, RuntimeError, ImportError)
_PLEA = (
    "this is a bug of tomo3d, not of yours. Please report it with the lines above, the command, and the "
    "output of `tomo3d doctor`."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    is_debug = "--debug" in tokens or os.environ.get("TOMO3D_DEBUG", "") not in ("", "0")
    tokens = [token for token in tokens if token != "--debug"]
    if len(tokens) > 1 and tokens[0] in STAGES:
        tokens[1] = tokens[1].replace("_", "-")  # a function's own name is its command, too
    try:
        with _Plea():
            return _run(tokens)
    except KeyboardInterrupt:
        say("interrupted; what was finished is kept.")
        return EXIT_INTERRUPTED
    except CycloptsError as error:
        command = " ".join(["tomo3d", *(error.command_chain or ())])
        say(f"{_sentence(error)} See {command} --help.")
    except BrokenPipeError:  # the reader of the output, as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except _TELLING as error:
        if is_debug:
            traceback.print_exc()
        if _is_bug(error):
            raise
        say(_sentence(error))
    return EXIT_ERROR


def build(tokens: Sequence[str] = ()) -> App:
    """The command line; a stage is imported only if the first of `tokens` names it."""
    from tomo3d.cli import recipes, system

    app = App(
        name="tomo3d",
        help="From an electron tomography tilt series to numbers that can be published.\n\n"
        "Errors are one sentence; --debug shows where they come from.",
        version=f"tomo3d {__version__}",
        help_format="plaintext",
    )
    app.command(recipes.run, name="run")
    app.command(recipes.demo, name="demo")
    app.command(system.info, name="info")
    app.command(system.doctor, name="doctor")
    files = App(name="io", help="Turn files into files of other formats.", help_format="plaintext")
    files.command(system.convert, name="convert")
    app.command(files)
    for stage, description in STAGES.items():
        group = App(name=stage, help=description, help_format="plaintext")
        app.command(group)
        if tokens and tokens[0] == stage:
            from tomo3d.cli.adapter import add_command

            for name in functions(stage):
                add_command(group, f"{stage}.{name}")
    return app


def _run(tokens: list[str]) -> int:
    app = build(tokens)
    command, bound, _ = app.parse_args(tokens, print_error=False, exit_on_error=False, verbose=False)
    with reporting():
        status = command(*bound.args, **bound.kwargs)
    return status if isinstance(status, int) else 0


class _Plea:
    """Context that asks for a report of every error that is a bug."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, CycloptsError) and _is_bug(error):
            error.add_note(_PLEA)


def _is_bug(error: Exception) -> bool:
    """Whether an error is not one of our sentences: nothing in tomo3d raised it on purpose."""
    if isinstance(error, (OSError, MemoryError)):
        return False
    if not isinstance(error, _TELLING):
        return True
    frame = traceback.extract_tb(error.__traceback__)[-1]
    if not Path(frame.filename).is_relative_to(Path(__file__).parents[1]):
        return True
    tree = ast.parse(Path(frame.filename).read_text(encoding="utf-8"))
    raises = (node for node in ast.walk(tree) if isinstance(node, ast.Raise))
    return not any(node.lineno <= (frame.lineno or 0) <= (node.end_lineno or 0) for node in raises)


def _sentence(error: BaseException) -> str:
    """One line: the text of an error and the step that it came from."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, UnusedCliTokensError):
        left = ", ".join(repr(word) for word in error.unused_tokens or ())
        text = (
            f"there is no place for {left}; a list is typed as [1,2], without spaces, and an option that takes several "
            "NAME=FILE before each of them."
        )
    if isinstance(error, MemoryError) and not str(error):
        text = "there is not enough memory; bin or crop the data, or use a larger machine."
    notes = [note for note in getattr(error, "__notes__", []) if note.startswith("step ")]
    return f"{notes[0]}: {text}" if notes else text


if __name__ == "__main__":
    sys.exit(main())
