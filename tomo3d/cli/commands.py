"""The list of commands, as strings: `tomo3d --help` imports no stage.

Stage functions come from the list that recipes use too (`tomo3d.pipeline`): one name there is a command and
a recipe step.
"""

from __future__ import annotations

from tomo3d.pipeline import DESCRIPTIONS, FUNCTIONS, RECIPE_ONLY

STAGES: dict[str, str] = {
    stage: DESCRIPTIONS[stage]
    for stage, names in FUNCTIONS.items()
    if any(f"{stage}.{name}" not in RECIPE_ONLY for name in names)
}


def functions(stage: str) -> tuple[str, ...]:
    """Names of the functions of a stage that are commands."""
    return tuple(name for name in FUNCTIONS[stage] if f"{stage}.{name}" not in RECIPE_ONLY)
