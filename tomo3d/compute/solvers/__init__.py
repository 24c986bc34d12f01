"""Iterative reconstruction on plain arrays: a method (`Sirt`, ...), a `Problem`, and `iterate`, which joins them.

A method is a frozen dataclass of its parameters, whose `steps` improves one block of slices in place.
`iterate` cuts the volume into slabs, runs them one by one and says what happened.
"""

from tomo3d.compute.solvers._cgls import Cgls
from tomo3d.compute.solvers._constraint import Constraint
from tomo3d.compute.solvers._dart import Dart, estimate_levels
from tomo3d.compute.solvers._equations import Equations, Method, Step
from tomo3d.compute.solvers._iterate import Callback, Problem, Solution, iterate, pilot
from tomo3d.compute.solvers._margin import margin_of_views
from tomo3d.compute.solvers._mlem import Mlem
from tomo3d.compute.solvers._sart import Sart
from tomo3d.compute.solvers._sirt import Sirt
from tomo3d.compute.solvers._stopping import Discrepancy, HalvesAgree, StoppingRule, parse_stop
from tomo3d.compute.solvers._total_variation import TotalVariation

__all__ = [
    "Callback",
    "Cgls",
    "Constraint",
    "Dart",
    "Discrepancy",
    "Equations",
    "HalvesAgree",
    "Method",
    "Mlem",
    "Problem",
    "Sart",
    "Sirt",
    "Solution",
    "Step",
    "StoppingRule",
    "TotalVariation",
    "estimate_levels",
    "iterate",
    "margin_of_views",
    "parse_stop",
    "pilot",
]
