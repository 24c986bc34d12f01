"""Local thickness by another package, as told by the lines of standard input. Runs in the package's own environment.

A line is JSON: {"mask": NPY, "out": NPY}. The answer is a line with the seconds from the start of the work to its
end, files not counted; `out` gets diameters in voxels.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import time
from typing import Any

import numpy as np


def main() -> None:
    """Answer until standard input ends."""
    package, options = sys.argv[1], json.loads(sys.argv[2])
    module = importlib.import_module(package)
    function: Any = module.local_thickness if package == "localthickness" else module.filters.local_thickness
    warm = np.zeros((16, 16, 16), dtype=bool)
    warm[4:9] = True
    function(warm, **_options(package, options, warm))  # what is compiled is compiled now
    print(json.dumps({"version": importlib.metadata.version(package)}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        inside = np.load(order["mask"])
        given = _options(package, options, inside)
        start = time.perf_counter()
        radius = function(inside, **given)
        seconds = time.perf_counter() - start
        np.save(order["out"], 2.0 * np.asarray(radius, dtype=np.float32))
        print(json.dumps({"seconds": seconds}), flush=True)


def _options(package: str, options: dict[str, Any], inside: np.ndarray) -> dict[str, Any]:
    """The options, where "every" size stands for those of all distances that there are."""
    if options.get("sizes") != "every":
        return options
    distance = importlib.import_module(f"{package}.tools").get_edt()(inside)
    return {**options, "sizes": np.unique(distance[inside])}


if __name__ == "__main__":
    main()
