"""The network of a mask by scikit-image and skan, as told by lines of standard input. Runs in their own environment.

A line is JSON: {"mask": NPY}. The answer is a line with the seconds, and those of the processor, from the mask in
memory to the table of branches, and what was found: a branch is a row of skan's table; its nodes are joined where they
touch, as skan does.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import time
from typing import Any

import numpy as np


def network(inside: np.ndarray) -> dict[str, float]:
    """Seconds, and numbers of what was found."""
    skan: Any = importlib.import_module("skan")
    from skimage.morphology import skeletonize

    start, start_of_processor = time.perf_counter(), time.process_time()
    skeleton = skeletonize(inside)
    if not skeleton.any():
        return {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - start_of_processor,
                "n_branches": 0, "n_nodes": 0, "total_length": 0.0, "n_skeleton_voxels": 0}  # fmt: skip
    table = skan.summarize(skan.Skeleton(skeleton), separator="_")
    seconds, of_processor = time.perf_counter() - start, time.process_time() - start_of_processor
    ends = np.unique(table[["node_id_src", "node_id_dst"]].to_numpy())
    return {
        "seconds": seconds,
        "processor_seconds": of_processor,
        "n_branches": len(table),
        "n_nodes": len(ends),
        "total_length": float(table["branch_distance"].sum()),
        "n_skeleton_voxels": int(skeleton.sum()),
    }


def main() -> None:
    """Answer until standard input ends."""
    warm = np.zeros((24, 24, 24), dtype=bool)
    warm[4:20, 10:13, 10:13] = warm[10:13, 4:20, 10:13] = True
    network(warm)  # what is compiled is compiled now
    names = ("scikit-image", "skan")
    version = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    print(json.dumps({"version": version}), flush=True)
    for line in sys.stdin:
        print(json.dumps(network(np.load(json.loads(line)["mask"]))), flush=True)


if __name__ == "__main__":
    main()
