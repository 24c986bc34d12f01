"""Recipes: a TOML list of steps, checked against signatures before data are read, resumable, on record.

A step is `[[step]]` with `run = "stage.function"`, an `id` (default: the name of the function), inputs by
the id of an earlier step (`id.field` for one field of a result with several), and parameters. A required
input that is left out takes the latest earlier result of its type; an optional one, as `alignment`,
is used only if it is named. Paths are relative to the folder of the recipe.

What a step returns becomes ID.EXT in the folder of the run, and a result with several fields ID.FIELD.EXT;
OUTPUT.json beside it says command, versions, parameters and checksums. Results of `io` functions are not
written again, and what has no file format (a specimen) is not written at all: ID.json is their provenance,
and they are read or computed again when a later step needs them.
"""

from tomo3d.pipeline._bind import BoundRecipe, BoundStep, Reference, plan
from tomo3d.pipeline._memory import StepSketch, sketch
from tomo3d.pipeline._recipe import Recipe, Step, load
from tomo3d.pipeline._run import run

__all__ = [
    "BoundRecipe",
    "BoundStep",
    "Recipe",
    "Reference",
    "Step",
    "StepSketch",
    "load",
    "plan",
    "run",
    "sketch",
]
