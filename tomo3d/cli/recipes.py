"""`tomo3d run` and `tomo3d demo`: recipes from the command line."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from tomo3d import pipeline
from tomo3d.cli.console import out, print_table, typed_command
from tomo3d.cli.device import check_device

if TYPE_CHECKING:
    from tomo3d.report import RunRecord

_DEMOS = ("catalyst.toml", "needle.toml")


def run(
    recipe: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    device: Literal["cpu", "gpu"] = "cpu",
) -> None:
    """Run a recipe: a TOML list of steps. What is finished and unchanged is kept.

    Parameters
    ----------
    recipe
        TOML file with one [[step]] for each function to run.
    output
        Folder of the results and of report.html; made if it does not exist.
    dry_run
        Check the recipe and show what each step makes and the memory that it needs; read headers only.
    overwrite
        Replace outputs that were made with other parameters or by other programs.
    device
        Where to compute. Steps that cannot use a GPU compute on the CPU.
    """
    check_device(device)
    loaded = pipeline.load(recipe)
    if dry_run:
        _show_plan(loaded)
        return
    record = pipeline.run(loaded, output, overwrite=overwrite, device=device, command=typed_command())
    _show_numbers(record)
    out().print(f"report: {output / 'report.html'}")


def demo(
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("tomo3d-demo"),
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Run the two examples: a specimen with a known answer, and a real needle.

    Parameters
    ----------
    output
        Folder of the results; each example has a folder of its own in it.
    overwrite
        Replace results of an earlier version.
    """
    done = []
    for name in _DEMOS:
        loaded = pipeline.load(examples_folder() / name)
        folder = output / Path(name).stem
        record = pipeline.run(loaded, folder, overwrite=overwrite, command=typed_command())
        done.append((record, folder / "report.html"))
    for record, _ in done:  # at the end, where they are seen
        out().print(record.title)
        _show_numbers(record)
    for _, path in done:
        out().print(f"report: {path}")


def examples_folder() -> Path:
    """Where the recipes of the demo are: in a checkout, or where the package was installed.

    Raises
    ------
    FileNotFoundError
        If they are in neither place.
    """
    checkout = Path(__file__).parents[2] / "examples"
    places = [checkout, *(Path(p) / "share" / "tomo3d" / "examples" for p in _prefixes())]
    for place in places:
        if all((place / name).is_file() for name in _DEMOS):
            return place
    raise FileNotFoundError(
        f"the recipes {' and '.join(_DEMOS)} must be in {' or '.join(str(place) for place in places)}: "
        "install tomo3d again, or run it from a checkout."
    )


def _prefixes() -> list[str]:
    import site

    return list(dict.fromkeys((sysconfig.get_path("data"), sys.prefix, site.getuserbase())))


def _show_plan(recipe: pipeline.Recipe) -> None:
    from rich import box
    from rich.table import Table

    bound = pipeline.plan(recipe)
    table = Table(title=recipe.title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for name in ("step", "runs", "makes", "memory"):
        table.add_column(name, overflow="fold", justify="right" if name == "memory" else "left")
    for step, made in zip(bound.steps, pipeline.sketch(bound), strict=True):
        fields = {name: item for name, item in made.results.items() if name} or made.results
        makes = [
            f"{name}: {pipeline.sketch_text(item)}" if name else pipeline.sketch_text(item)
            for name, item in fields.items()
        ] or [pipeline.sketch_text(None)]
        if made.peak_bytes is None:
            memory = "not known"
        elif made.peak_bytes == 0:
            memory = "little"
        else:
            memory = f"{'about ' if made.is_estimate else ''}{pipeline.bytes_text(made.peak_bytes)}"
        table.add_row(step.id, step.run, "\n".join(makes), memory)
    out().print(table)
    out().print(f"{pipeline.bytes_text(pipeline.available_memory())} of memory are available.")


def _show_numbers(record: RunRecord) -> None:
    """Summary and comparison tables of a run: what was measured, and beside it the truth where it is known."""
    import pandas as pd

    for step in record.steps:
        for name, value in step.fields():
            if isinstance(value, pd.DataFrame) and "quantity" in value.columns:
                print_table(value, f"{step.id}.{name}" if name else step.id)
