"""A network while it is made: nodes and chains of points, spurs cut off, junctions that are one made one."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from tomo3d.graph._lines import path_lengths


@dataclass
class Node:
    """Where chains meet or end.

    `cut` is the length of the longest spur that was cut off here; `parts` (n, 3) are the places of the junctions of
    the skeleton that it is made of.
    """

    position: np.ndarray
    radius: float
    parts: np.ndarray
    cut: float = 0.0


@dataclass
class Chain:
    """Points between two nodes, without them: (n, 3), from node `a` to node `b`."""

    a: int
    b: int
    points: np.ndarray


class Network:
    """Nodes and chains by number; numbers are never used twice. `n_closed` tunnels were closed."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {}
        self.chains: dict[int, Chain] = {}
        self._at: dict[int, set[int]] = {}
        self._degree: dict[int, int] = {}
        self._n_chains = 0
        self.n_closed = 0

    def add_node(self, position: np.ndarray, radius: float) -> int:
        """Number of a new node."""
        number = len(self._at)
        place = np.asarray(position, dtype=np.float64)
        self.nodes[number] = Node(place, radius, place[None])
        self._at[number] = set()
        self._degree[number] = 0
        return number

    def add_branch(self, a: int, b: int, points: np.ndarray) -> int:
        """Number of a new chain of points (n, 3) from node `a` to node `b`."""
        number = self._n_chains
        self._n_chains += 1
        self.chains[number] = Chain(a, b, np.asarray(points, dtype=np.float64).reshape(-1, 3))
        self._at[a].add(number)
        self._at[b].add(number)
        self._degree[a] += 1
        self._degree[b] += 1
        return number

    def degree(self, node: int) -> int:
        """Number of ends of chains at a node: a loop has two."""
        return self._degree[node]

    def at(self, node: int) -> list[int]:
        """Chains at a node, in the order of their numbers."""
        return sorted(self._at[node])

    def path(self, chain: int) -> np.ndarray:
        """Points of a chain with its nodes, (n + 2, 3)."""
        c = self.chains[chain]
        return np.concatenate([[self.nodes[c.a].position], c.points, [self.nodes[c.b].position]])

    def length(self, chain: int) -> float:
        """Length of the way over the points of a chain, node to node."""
        return float(path_lengths(self.path(chain))[-1])

    def remove_chain(self, chain: int) -> None:
        """Take a chain away; its nodes stay."""
        gone = self.chains.pop(chain)
        self._at[gone.a].discard(chain)
        self._at[gone.b].discard(chain)
        self._degree[gone.a] -= 1
        self._degree[gone.b] -= 1

    def remove_node(self, node: int) -> None:
        """Take a node away that no chain ends at."""
        del self.nodes[node]

    def prune(self, factor: float) -> int:
        """Cut off spurs, and join what they parted; their number.

        A spur ends freely, begins at a junction, and is shorter than `factor` radii of the junction. All spurs of a
        junction go at once; if then a single chain is left there, it ends there, and is measured with what it lost.
        """
        n_cut = 0
        waiting = sorted(self.nodes)
        while waiting:
            changed: set[int] = set()
            for node in waiting:
                if node not in self.nodes or self.degree(node) < 3:
                    continue
                spurs = [chain for chain in self.at(node) if self._is_spur(chain, node, factor)]
                if not spurs:
                    continue
                if len(spurs) == self.degree(node):
                    self._shrink(node, spurs)
                    n_cut += len(spurs)
                    continue
                for chain in spurs:
                    self._cut(chain, node)
                n_cut += len(spurs)
                changed.add(node)
                changed |= self._dissolve(node)
            waiting = sorted(node for node in self._with_others(changed) if node in self.nodes)
        return n_cut

    def _is_spur(self, chain: int, node: int, factor: float) -> bool:
        tip = self.other_end(chain, node)
        if tip == node or self.degree(tip) != 1:
            return False
        return self.length(chain) + self.nodes[tip].cut < factor * self.nodes[node].radius

    def ends(self, chain: int) -> tuple[int, int]:
        """Nodes at both ends of a chain."""
        return self.chains[chain].a, self.chains[chain].b

    def close_loops(self, node: int, factor: float) -> None:
        """Take away loops at a node that are shorter than `factor` of its radii: they hardly leave its ball."""
        for chain in self.at(node):
            if len(set(self.ends(chain))) == 1 and self.length(chain) < factor * self.nodes[node].radius:
                self.remove_chain(chain)
                self.n_closed += 1

    def trim(self, chain: int, node: int, reach: float) -> None:
        """Take off the points that lead from a node that has moved up to the one nearest to it, within `reach`."""
        c = self.chains[chain]
        if c.a == c.b or not len(c.points):
            return
        points = c.points if c.a == node else c.points[::-1]
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        n_near = 1 + int(np.count_nonzero(np.cumsum(steps) <= reach))
        first = int(np.linalg.norm(points[:n_near] - self.nodes[node].position, axis=1).argmin())
        c.points = points[first:] if c.a == node else points[first:][::-1]

    def other_end(self, chain: int, node: int) -> int:
        """The node at the end of a chain that is not this one; itself of a loop."""
        c = self.chains[chain]
        return c.b if c.a == node else c.a

    def _cut(self, chain: int, node: int) -> None:
        tip = self.other_end(chain, node)
        self.nodes[node].cut = max(self.nodes[node].cut, self.length(chain) + self.nodes[tip].cut)
        self.remove_chain(chain)
        self.remove_node(tip)

    def _shrink(self, node: int, spurs: list[int]) -> None:
        """A star of spurs alone is a node alone."""
        for chain in spurs:
            self._cut(chain, node)

    def _dissolve(self, node: int) -> set[int]:
        """Join the two chains at a node of degree 2; the nodes at whose chains something has changed."""
        chains = self.at(node)
        if self.degree(node) != 2 or len(chains) != 2:
            return set()
        first, second = (self.chains[chain] for chain in chains)
        one = first.points if first.b == node else first.points[::-1]
        two = second.points if second.a == node else second.points[::-1]
        a, b = self.other_end(chains[0], node), self.other_end(chains[1], node)
        middle = self.nodes[node].position[None]
        for chain in chains:
            self.remove_chain(chain)
        self.remove_node(node)
        self.add_branch(a, b, np.concatenate([one, middle, two]))
        return {a, b}

    def _with_others(self, nodes: set[int]) -> set[int]:
        known = {node for node in nodes if node in self.nodes}
        return known | {self.other_end(chain, node) for node in known for chain in self._at[node]}

    def merge(self, factor: float) -> int:
        """Make one node of two junctions between which a chain is shorter than `factor` radii of the larger; how many.

        The shortest go first, by their length over that radius.
        """
        heap = [(ratio, chain) for chain in sorted(self.chains) if (ratio := self.closeness(chain)) < factor]
        heapq.heapify(heap)
        n_merged = 0
        while heap:
            ratio, chain = heapq.heappop(heap)
            if chain not in self.chains or (now := self.closeness(chain)) >= factor:
                continue
            if now > ratio:  # a merge before this one moved an end
                heapq.heappush(heap, (now, chain))
                continue
            if self.is_compact(chain, factor):
                self.contract(chain, factor)
                n_merged += 1
        return n_merged

    def closeness(self, chain: int) -> float:
        """Length of a chain between two junctions over the larger of their radii; inf for all others."""
        c = self.chains[chain]
        if c.a == c.b or self.degree(c.a) < 3 or self.degree(c.b) < 3:
            return float("inf")
        return self.length(chain) / max(self.nodes[c.a].radius, self.nodes[c.b].radius)

    def is_compact(self, chain: int, factor: float, position: np.ndarray | None = None) -> bool:
        """Whether all parts of a node made of both ends of a chain would lie within `factor` of its radii.

        So that a row of junctions, each near to the next, does not become one.
        """
        one, two = (self.nodes[node] for node in self.ends(chain))
        place = self._between(one, two) if position is None else position
        parts = np.concatenate([one.parts, two.parts])
        return bool(np.linalg.norm(parts - place, axis=1).max() <= factor * max(one.radius, two.radius))

    @staticmethod
    def _between(one: Node, two: Node) -> np.ndarray:
        return (one.radius * one.position + two.radius * two.position) / (one.radius + two.radius)

    def contract(self, chain: int, factor: float) -> int:
        """Make one node of the two ends of a chain; its number.

        Other chains between the two that are shorter than `factor` radii go, too: the tunnel between is closed.
        """
        c = self.chains[chain]
        kept, gone = min(c.a, c.b), max(c.a, c.b)
        for other in self.at(kept):
            if other != chain and set(self.ends(other)) == {kept, gone} and self.closeness(other) < factor:
                self.remove_chain(other)
                self.n_closed += 1
        self.remove_chain(chain)
        one, two = self.nodes[kept], self.nodes[gone]
        one.position = self._between(one, two)
        one.radius = max(one.radius, two.radius)
        one.parts = np.concatenate([one.parts, two.parts])
        for other in self.at(gone):
            moved = self.chains[other]
            moved.a = kept if moved.a == gone else moved.a
            moved.b = kept if moved.b == gone else moved.b
            self._at[kept].add(other)
        self._degree[kept] += self._degree[gone]
        self._at[gone], self._degree[gone] = set(), 0
        self.remove_node(gone)
        return kept
