"""Reconstruct slices with ASTRA's CPU code, as told by the lines of standard input. Runs in ASTRA's own environment.

A line is JSON: {"rows": NPY, "angles_deg": [...], "n_z": N, "algorithm": "FBP" or "SIRT", "n_iterations": N,
"out": NPY or null}. `rows` is (n_views, n_slices, n_u). The slices are shared among processes that stay. The answer is
a line with the seconds from the start of the work to its end, files not counted.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from typing import Any

import astra
import numpy as np


def reconstruct(
    rows: np.ndarray, angles_deg: list[float], n_z: int, algorithm: str, n_iterations: int
) -> np.ndarray:
    """Slices (n_slices, n_z, n_x): density, ASTRA's sign of angles being ours with z downward."""
    n_u = rows.shape[2]
    volume_geometry = astra.create_vol_geom(n_z, n_u)
    geometry = astra.create_proj_geom("parallel", 1.0, n_u, -np.deg2rad(angles_deg))
    projector = astra.create_projector("linear", geometry, volume_geometry)
    slices = np.empty((rows.shape[1], n_z, n_u), dtype=np.float32)
    for y in range(rows.shape[1]):
        sinogram = astra.data2d.create("-sino", geometry, np.ascontiguousarray(rows[:, y]))
        volume = astra.data2d.create("-vol", volume_geometry)
        settings = astra.astra_dict(algorithm)
        settings.update(ProjectorId=projector, ProjectionDataId=sinogram, ReconstructionDataId=volume)
        identity = astra.algorithm.create(settings)
        astra.algorithm.run(identity, n_iterations)
        slices[y] = astra.data2d.get(volume)
        astra.algorithm.delete(identity)
        astra.data2d.delete([sinogram, volume])
    astra.projector.delete(projector)
    return slices


def serve(pipe: Any, part: int, n_parts: int) -> None:
    """One process: its share of the slices of every order."""
    while (order := pipe.recv()) is not None:
        rows = np.load(order["rows"], mmap_mode="r")
        share = np.array(rows[:, rows.shape[1] * part // n_parts : rows.shape[1] * (part + 1) // n_parts])
        pipe.send("ready")
        pipe.recv()
        slices = reconstruct(
            share, order["angles_deg"], order["n_z"], order["algorithm"], order["n_iterations"]
        )
        pipe.send("done")
        pipe.send(slices if order["out"] else None)


def main() -> None:
    """Answer until standard input ends."""
    n_parts = int(sys.argv[1])
    pipes = []
    for part in range(n_parts):
        here, there = multiprocessing.Pipe()
        multiprocessing.Process(target=serve, args=(there, part, n_parts), daemon=True).start()
        pipes.append(here)
    print(json.dumps({"version": astra.__version__}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        for pipe in pipes:
            pipe.send(order)
        for pipe in pipes:
            pipe.recv()
        start = time.perf_counter()
        for pipe in pipes:
            pipe.send("go")
        for pipe in pipes:
            pipe.recv()
        seconds = time.perf_counter() - start
        slices = [pipe.recv() for pipe in pipes]
        if order["out"]:
            np.save(order["out"], np.concatenate(slices))
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
