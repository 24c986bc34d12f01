"""Numbers of networks: rigidity, centralities, loads, flow, and how they go with a property."""

from __future__ import annotations

from tomo3d.tables._schema import Column, Schema

RIGIDITY: Schema = (
    Column("n_nodes", "integer", "", "joints"),
    Column("n_branches", "integer", "", "bars; loops are none"),
    Column("maxwell_count", "integer", "", "3 n_nodes - 6 - n_branches: an estimate of n_floppy_modes"),
    Column("rank", "integer", "", "of the rigidity matrix: bars that each resist a motion of their own"),
    Column("n_floppy_modes", "integer", "", "motions that change no bar, without those of the whole"),
    Column("floppy_fraction", "number", "", "n_floppy_modes over 3 n_nodes"),
    Column(
        "n_self_stress_states",
        "integer",
        "",
        "n_branches - rank: bars more than the motions that they resist",
    ),
)

FLOPPY_MODES: Schema = (
    Column("mode", "integer", "", "number of the motion, from 0"),
    Column("node", "integer", "", "number of the node"),
    Column("move_z", "number", "", "how far the node moves along z; the squares of a motion sum to 1"),
    Column("move_y", "number", "", "along y"),
    Column("move_x", "number", "", "along x"),
)

CENTRALITIES: Schema = (
    Column("node", "integer", "", "number of the node"),
    Column("degree", "number", "", "neighbours over the most that it could have"),
    Column(
        "closeness", "number", "", "reciprocal mean distance in branches, times the share of nodes in reach"
    ),
    Column("harmonic", "number", "", "sum of reciprocal distances in branches"),
    Column("betweenness", "number", "", "share of the shortest ways between two others that pass the node"),
)

DISPLACEMENTS: Schema = (
    Column("node", "integer", "", "number of the node"),
    Column(
        "move_z_nm", "number", "nm", "how far the load moves the node along z; nan where nothing holds it"
    ),
    Column("move_y_nm", "number", "nm", "along y"),
    Column("move_x_nm", "number", "nm", "along x"),
)

ENERGIES: Schema = (
    Column("branch", "integer", "", "number of the branch"),
    Column("energy_aj", "number", "aJ", "elastic energy of the branch, 1e-18 J"),
    Column("axial_share", "number", "", "share of it by stretching; the rest bends, shears and twists"),
)

PRESSURES: Schema = (
    Column("node", "integer", "", "number of the node"),
    Column(
        "potential", "number", "", "1 at the low face, 0 at the high one; nan where no way leads from both"
    ),
)

FLOWS: Schema = (
    Column("branch", "integer", "", "number of the branch"),
    Column(
        "conductance", "number", "nm^3 or nm", "hydraulic, times viscosity; or electrical, over conductivity"
    ),
    Column("flow", "number", "nm^3 or nm", "conductance times drop of the potential, from node_a to node_b"),
)

RANK_CORRELATIONS: Schema = (
    Column("descriptor", "text", "", "what is held against the property"),
    Column("rho", "number", "", "Spearman's rank correlation over samples; nan where all are equal"),
    Column("low", "number", "", "lower end of its 95 % interval: tomograms drawn anew within samples"),
    Column("high", "number", "", "upper end of its 95 % interval"),
    Column("p_value", "number", "", "share of the orders of the property that correlate as much, either way"),
    Column("p_holm", "number", "", "the same, adjusted for the number of descriptors (Holm)"),
    Column(
        "smallest_p", "number", "", "least p that any order of so many samples, with these ties, could have"
    ),
    Column("n_samples", "integer", "", "samples with a value of both"),
    Column("n_tomograms", "integer", "", "tomograms of these samples"),
    Column("test", "text", "", "how p was found: over all orders, or how many drawn at random"),
)
