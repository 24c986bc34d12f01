"""Skeletons and networks of masks against the truth, and beside scikit-image with skan on the same mask."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import statistics
import time

import numpy as np
from scipy import ndimage

from benchmarks.cases import Target
from benchmarks.graph_peer import GraphPeer
from tomo3d import graph, phantoms
from tomo3d.compute.thinning import skeleton
from tomo3d.phantoms._compare_networks import matched_branches
from tomo3d.types import Labels, SpatialGraph

_CUBE = (1.0, 1.0, 1.0)
_N_ROUNDS = 3  # of a race
_REACH = 8.0  # nm = voxels: two of the largest radii


def topology(mask: np.ndarray) -> tuple[int, int]:
    """Number of 26-connected pieces, and the Euler number of the closed cubes: corners - edges + faces - voxels."""
    euler = 0
    for axes in itertools.product((0, 1), repeat=3):
        part = np.pad(mask, [(0, 0) if a else (1, 1) for a in axes])
        for axis in (axis for axis in range(3) if not axes[axis]):
            n = part.shape[axis]
            part = part.take(range(n - 1), axis) | part.take(range(1, n), axis)
        euler += (-1) ** sum(axes) * int(part.sum())
    return int(ndimage.label(mask, np.ones((3, 3, 3)))[1]), euler


class RandomMasks:
    """2000 random masks of all densities: how many have other pieces or another Euler number than their skeletons."""

    params, param_names = (["curves", "surfaces"],), ("kind",)
    targets = {"track_changed": Target(at_most=0)}  # noqa: RUF012

    def track_changed(self, kind: str) -> float:
        rng = np.random.default_rng(1)
        n_changed = 0
        for _ in range(2000):
            mask = rng.random(rng.integers(1, 10, 3)) < rng.uniform(0.05, 0.95)
            n_changed += topology(mask) != topology(skeleton(mask, _CUBE, surfaces=kind == "surfaces"))
        return float(n_changed)


def solids() -> dict[str, np.ndarray]:
    """4 x 4 bars, plates, tori, shells, cubes at a corner."""
    z, y, x = np.indices((27, 27, 27)) - 13.0
    square = z**2 + y**2 + x**2
    shell = (square <= 11**2) & (square > 7**2)
    opened = shell.copy()
    opened[20:, 10:17, 10:17] = False
    corner = np.zeros((9, 9, 9), dtype=bool)
    corner[1:4, 1:4, 1:4] = corner[4:8, 4:8, 4:8] = True
    found = {f"4 x 4 x {n}": np.pad(np.ones((4, 4, n), dtype=bool), 2) for n in range(4, 40)}
    found |= {f"plate of {n}": np.pad(np.ones((n, 18, 19), dtype=bool), 1) for n in range(1, 5)}
    found |= {f"torus {r}": (np.hypot(y, x) - 8) ** 2 + z**2 <= r**2 for r in (1.5, 2.0, 3.0, 4.5)}
    return found | {"closed shell": shell, "open shell": opened, "corner": corner}


class Solids:
    """Bars, plates, tori, shells: how many have other pieces or another Euler number than their skeletons."""

    params, param_names = (["curves", "surfaces"],), ("kind",)
    targets = {"track_changed": Target(at_most=0)}  # noqa: RUF012

    def track_changed(self, kind: str) -> float:
        changed = [
            topology(mask) != topology(skeleton(mask, _CUBE, surfaces=kind == "surfaces"))
            for mask in solids().values()
        ]
        return float(sum(changed))


@functools.cache
def capsules(radius: float, length: float, about_a_voxel: bool) -> tuple[float, float]:
    """Worst error of the length in %, and of the width in voxels, over 50 directions; about a voxel or anywhere."""
    rng = np.random.default_rng(int(10 * radius))
    lengths, widths = [], []
    for i in range(50):
        z = (i + 0.5) / 50
        turn = math.pi * (3 - math.sqrt(5)) * i
        direction = (z, math.sqrt(1 - z * z) * math.sin(turn), math.sqrt(1 - z * z) * math.cos(turn))
        centre = (0.0, 0.0, 0.0) if about_a_voxel else tuple(rng.uniform(-0.5, 0.5, 3))
        solid = phantoms.capsule(length_nm=length, radius_nm=radius, direction=direction, centre_nm=centre)
        found = graph.skeleton_graph(solid.mask).branches
        lengths.append(abs(found["length_nm"].sum() / length - 1) * 100 if len(found) == 1 else math.inf)
        widths.append(abs(found["mean_width_nm"].iloc[0] - 2 * radius) if len(found) == 1 else math.inf)
    return max(lengths), max(widths)


class Capsules:
    """Struts with round caps in 50 directions: the worst of them.

    Those about a voxel end alike on the grid at both ends. At a radius of 1.5 one direction has the same mask for all
    lengths from 22.3 to 24.04, whose middle is 3.5 % below 24.
    """

    params = ([1.5, 2.0, 3.0, 4.0, 5.0], [24.0, 45.0], ["anywhere", "a voxel"])
    param_names = ("radius_voxels", "length_voxels", "centre")
    targets = {  # noqa: RUF012
        "track_worst_length_error_percent": Target(at_most=3.0),
        "track_worst_width_error_voxels": Target(at_most=0.5),
    }

    def track_worst_length_error_percent(
        self, radius_voxels: float, length_voxels: float, centre: str
    ) -> float:
        return capsules(radius_voxels, length_voxels, centre == "a voxel")[0]

    def track_worst_width_error_voxels(
        self, radius_voxels: float, length_voxels: float, centre: str
    ) -> float:
        return capsules(radius_voxels, length_voxels, centre == "a voxel")[1]


class Curves:
    """A helix of two turns and a ring, along the axes and at an angle, of struts of radius 2 and 3: the worst."""

    params, param_names = (["helix", "ring"],), ("shape",)
    targets = {"track_worst_length_error_percent": Target(at_most=3.0)}  # noqa: RUF012

    def track_worst_length_error_percent(self, shape: str) -> float:
        make = phantoms.helix if shape == "helix" else phantoms.ring
        errors = []
        for radius, turn in itertools.product((2.0, 3.0), ((0.0, 0.0, 0.0), (20.0, 30.0, 40.0))):
            solid = make(radius_nm=radius, rotation_deg=turn)
            found = graph.skeleton_graph(solid.mask).branches["length_nm"]
            errors.append(abs(found.sum() / solid.truth.branches["length_nm"].sum() - 1) * 100)
        return max(errors)


@functools.cache
def lattice(shape: str, radius: float, turned: bool) -> tuple[phantoms.NetworkPhantom, SpatialGraph]:
    """A lattice and its network."""
    turn = (20.0, 30.0, 10.0) if turned else (0.0, 0.0, 0.0)
    if shape == "cubic":
        solid = phantoms.cubic_network(spacing_nm=8 * radius, radius_nm=radius, rotation_deg=turn)
    else:
        solid = phantoms.diamond_network(n_cells=2, strut_nm=8 * radius, radius_nm=radius, rotation_deg=turn)
    return solid, graph.skeleton_graph(solid.mask)


class Lattices:
    """Cubic (27 nodes, 54 branches) and diamond lattices (25, 20), struts eight radii long."""

    params = (["cubic", "diamond"], [2.0, 3.0], ["along the axes", "at an angle"])
    param_names = ("shape", "radius_voxels", "turned")
    targets = {  # noqa: RUF012
        "track_nodes_and_branches_in_error": Target(at_most=0),
        "track_total_length_error_percent": Target(at_most=3.0),
    }

    def track_nodes_and_branches_in_error(self, shape: str, radius_voxels: float, turned: str) -> float:
        solid, found = lattice(shape, radius_voxels, turned == "at an angle")
        off = [len(getattr(found, name)) - len(getattr(solid.truth, name)) for name in ("nodes", "branches")]
        return float(np.abs(off).sum())

    def track_total_length_error_percent(self, shape: str, radius_voxels: float, turned: str) -> float:
        solid, found = lattice(shape, radius_voxels, turned == "at an angle")
        return abs(found.branches["length_nm"].sum() / solid.truth.branches["length_nm"].sum() - 1) * 100


@functools.cache
def random_networks() -> tuple[int, int, int, float]:
    """Of 20 networks of about 75 struts: branches known, found and spurious, and the worst error of a width."""
    n_known = n_found = n_spurious = 0
    worst = 0.0
    for seed in range(20):
        solid = phantoms.random_network(seed=seed)
        found = graph.skeleton_graph(solid.mask)
        pairs = matched_branches(solid.truth, found, _REACH)
        widths = [
            g.branches["mean_width_nm"].to_numpy()[pairs[:, i]] for i, g in enumerate((solid.truth, found))
        ]
        worst = max(worst, float(np.abs(widths[0] - widths[1]).max()))
        n_known += len(solid.truth.branches)
        n_found += len(pairs)
        n_spurious += len(found.branches) - len(pairs)
    return n_known, n_found, n_spurious, worst


class RandomNetworks:
    """Struts of radius 2 to 4 between 30 random nodes, at 30 deg or more, nodes six of the largest radii apart."""

    targets = {  # noqa: RUF012
        "track_share_found": Target(at_least=0.95),
        "track_share_spurious": Target(at_most=0.05),
        "track_worst_width_error_voxels": Target(at_most=0.5),
    }

    def track_share_found(self) -> float:
        return random_networks()[1] / random_networks()[0]

    def track_share_spurious(self) -> float:
        return random_networks()[2] / random_networks()[0]

    def track_worst_width_error_voxels(self) -> float:
        return random_networks()[3]


class Turned:
    """A network of 12 nodes turned and mirrored in all 48 ways, and a lattice turned by other angles."""

    targets = {  # noqa: RUF012
        "track_largest_relative_error_48_ways": Target(at_most=1e-9),
        "track_largest_error_oblique_percent": Target(at_most=5.0),
    }

    def track_largest_relative_error_48_ways(self) -> float:
        mask = phantoms.random_network(seed=2, n_nodes=12, size_nm=70, radius_nm=(2, 3)).mask.data[10:, :, 5:]
        names = ["length_nm", "mean_width_nm", "minimum_width_nm", "volume_nm3"]
        known = graph.skeleton_graph(Labels(mask, _CUBE)).branches[names].to_numpy()
        worst = 0.0
        for axes, flips in itertools.product(
            itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)
        ):
            copy = np.ascontiguousarray(
                mask.transpose(axes)[tuple(slice(None, None, flip) for flip in flips)]
            )
            found = graph.skeleton_graph(Labels(copy, _CUBE)).branches[names].to_numpy()
            worst = max(
                worst, float(np.abs(found / known - 1).max()) if found.shape == known.shape else math.inf
            )
        return worst

    def track_largest_error_oblique_percent(self) -> float:
        names = ["length_nm", "mean_width_nm", "volume_nm3"]
        means = []
        for turn in (
            (0.0, 0.0, 0.0),
            (25.0, 15.0, 40.0),
            (10.0, 50.0, 5.0),
            (0.0, 0.0, 45.0),
            (35.0, 0.0, 20.0),
        ):
            found = graph.skeleton_graph(phantoms.cubic_network(rotation_deg=turn).mask)
            means.append(found.branches[names].mean().to_numpy() if len(found.branches) == 54 else math.inf)
        return float(np.abs(np.array(means[1:]) / means[0] - 1).max() * 100)


class Membrane:
    """Ten crumpled membranes of nine crumples, none to all bridged: contacts that are missing or too many."""

    targets = {"track_contacts_in_error": Target(at_most=0)}  # noqa: RUF012

    def track_contacts_in_error(self) -> float:
        n_wrong = 0
        for seed, bridged in itertools.product(range(3), (0.0, 0.5, 1.0)):
            membrane = phantoms.crumpled_membrane(seed=seed, bridged=bridged)
            found = graph.contact_graph(membrane.crumples)
            known, seen = (
                set(map(tuple, g.branches[["node_a", "node_b"]].to_numpy().tolist()))
                for g in (membrane.truth, found)
            )
            n_wrong += len(known ^ seen)
        return float(n_wrong)


@functools.cache
def struts(edge_voxels: int) -> tuple[np.ndarray, int]:
    """A cube with about 5 % in struts of radius 2 to 4 between the jittered nodes of a lattice; how many struts."""
    rng = np.random.default_rng(0)
    step = 32
    n = edge_voxels // step
    index = np.array(list(np.ndindex(n, n, n)))
    nodes = (index - 0.5 * (n - 1)) * step + rng.uniform(-6, 6, (len(index), 3))
    number = {tuple(place): i for i, place in enumerate(index.tolist())}
    pairs = [
        (i, number[other])
        for place, i in number.items()
        for other in (tuple(np.add(place, way).tolist()) for way in np.eye(3, dtype=int))
        if other in number and rng.random() < 0.72
    ]
    inside = np.zeros((edge_voxels,) * 3, dtype=bool)
    for a, b in pairs:
        phantoms.paint_strut(inside, nodes[[a, b]], float(rng.uniform(2, 4)))
    return inside, len(pairs)


@functools.cache
def race(edge_voxels: int) -> dict[str, float]:
    """Medians of the seconds of ours, and of theirs where they are installed, over rounds by turns; and the branches.

    Wall time and processor time: ours works on all cores, theirs on one.
    """
    inside, n_struts = struts(edge_voxels)
    mask = Labels(inside, _CUBE)
    graph.skeleton_graph(Labels(struts(64)[0], _CUBE))
    rounds: dict[str, list[float]] = {}
    with contextlib.ExitStack() as stack:
        try:
            peer = stack.enter_context(GraphPeer())
        except NotImplementedError:
            peer = None
        for _ in range(_N_ROUNDS):
            start, start_of_processor = time.perf_counter(), time.process_time()
            found = graph.skeleton_graph(mask)
            rounds.setdefault("seconds", []).append(time.perf_counter() - start)
            rounds.setdefault("processor_seconds", []).append(time.process_time() - start_of_processor)
            if peer is not None:
                theirs = peer.run(inside)
                for name in ("seconds", "processor_seconds"):
                    rounds.setdefault(f"their_{name}", []).append(theirs[name])
        results = {name: statistics.median(values) for name, values in rounds.items()}
        results["branches"] = len(found.branches) / n_struts
        if peer is not None:
            results["their_branches"] = theirs["n_branches"] / n_struts
    return results


class Large:
    """Skeleton and network of a cube with 5 % in struts: time, memory, and beside scikit-image with skan.

    Theirs is the time of `skeletonize` and `summarize`, from the mask in memory to the table of branches; ours that of
    `skeleton_graph`, with widths, volumes and centre lines, which theirs has not. Medians of three rounds by turns.
    Branches are counted over struts; where two struts meet in a bend, they are one branch.
    """

    params, param_names = ([128, 256, 512],), ("edge_voxels",)
    targets = {  # noqa: RUF012
        "track_seconds": {(512,): Target(at_most=60.0)},
        "peakmem_skeleton_graph": {(512,): Target(at_most=4096.0)},
    }

    def track_share_in_struts(self, edge_voxels: int) -> float:
        return float(struts(edge_voxels)[0].mean())

    def track_seconds(self, edge_voxels: int) -> float:
        return race(edge_voxels)["seconds"]

    def track_processor_seconds(self, edge_voxels: int) -> float:
        return race(edge_voxels)["processor_seconds"]

    def track_branches_over_struts(self, edge_voxels: int) -> float:
        return race(edge_voxels)["branches"]

    def peakmem_skeleton_graph(self, edge_voxels: int) -> None:
        graph.skeleton_graph(Labels(struts(edge_voxels)[0], _CUBE))


class LargePeer:
    """The same by scikit-image and skan."""

    params, param_names = ([128, 256, 512],), ("edge_voxels",)
    targets = {  # noqa: RUF012
        "track_their_time_over_ours": {(256,): Target(at_least=1.0), (512,): Target(at_least=1.0)}
    }

    def setup(self, edge_voxels: int) -> None:
        self.race = race(edge_voxels)
        if "their_seconds" not in self.race:
            GraphPeer()  # says why not

    def track_their_seconds(self, edge_voxels: int) -> float:
        return self.race["their_seconds"]

    def track_their_processor_seconds(self, edge_voxels: int) -> float:
        return self.race["their_processor_seconds"]

    def track_their_time_over_ours(self, edge_voxels: int) -> float:
        return self.race["their_seconds"] / self.race["seconds"]

    def track_their_processor_time_over_ours(self, edge_voxels: int) -> float:
        return self.race["their_processor_seconds"] / self.race["processor_seconds"]

    def track_their_branches_over_struts(self, edge_voxels: int) -> float:
        return self.race["their_branches"]
