"""Recipes: a TOML list of steps, checked against signatures before data are read, resumable, on record.

A step is `[[step]]` with `run = "stage.function"`, an `id` (default: the name of the function), inputs by
the id of an earlier step (`id.field` for one field of a result with several), and parameters. A required
input that is left out takes the latest earlier result of its type; an optional one, as `alignment`,
is used only if it is named. Several by name are a table, as `channels = { Pt = "ID", C = "ID" }`; the function then
makes ID.Pt and ID.C. Paths are relative to the folder of the recipe.

What a step returns becomes ID.EXT in the folder of the run, and a result with several fields ID.FIELD.EXT, in the
usual format of its kind (MRC, CSV, ...) or in that which the step names, as `format = "zarr"`: a reconstruction is then
written slab by slab while it is made, and need not fit in memory;
OUTPUT.json beside it says command, versions, parameters and checksums. Results of `io` functions are not
written again, and what has no file format (a specimen) is not written at all: ID.json is their provenance,
and they are read or computed again when a later step needs them.
"""

from tomo3d.memory import available_memory, bytes_text, total_memory
from tomo3d.pipeline._bind import BoundRecipe, BoundStep, Reference, data_types, plan
from tomo3d.pipeline._call import call, output_endings, output_paths, reader_of
from tomo3d.pipeline._catalogue import DESCRIPTIONS, FUNCTIONS, RECIPE_ONLY, resolve
from tomo3d.pipeline._device import check_function
from tomo3d.pipeline._hints import is_path, members, signature
from tomo3d.pipeline._kinds import item_of, kind_of
from tomo3d.pipeline._machine import installed, machine, versions
from tomo3d.pipeline._memory import StepSketch, sketch, sketch_text
from tomo3d.pipeline._recipe import Recipe, Step, load
from tomo3d.pipeline._run import run
from tomo3d.pipeline._values import Context, convert

__all__ = [
    "DESCRIPTIONS", "FUNCTIONS", "RECIPE_ONLY", "BoundRecipe", "BoundStep", "Context", "Recipe", "Reference",
    "Step", "StepSketch", "available_memory", "bytes_text", "call", "check_function", "convert", "data_types",
    "installed", "is_path", "item_of", "kind_of", "load", "machine", "members", "output_endings", "output_paths",
    "plan", "reader_of", "resolve", "run", "signature", "sketch", "sketch_text", "total_memory", "versions",
]  # fmt: skip
