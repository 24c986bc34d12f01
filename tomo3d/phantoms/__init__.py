"""Specimens that are known in closed form, and a microscope that images them.

Solids with exact line integrals, volume and thickness; specimens made of them; tilt series of
specimens with known misalignment, blur and noise; and the comparison of what was measured with the truth.
"""

from tomo3d.phantoms._bead_slab import bead_slab
from tomo3d.phantoms._catalyst_layer import Particles, Support, catalyst_layer
from tomo3d.phantoms._compare import compare
from tomo3d.phantoms._compare_networks import compare_networks
from tomo3d.phantoms._crumpled_membrane import MembranePhantom, crumpled_membrane
from tomo3d.phantoms._films import bridge_in_slot, film_on_ball, oblique_film
from tomo3d.phantoms._flat_solids import Cylinder, Slab
from tomo3d.phantoms._lattices import cubic_network, diamond_network
from tomo3d.phantoms._microscope import Acquisition, Microscope, acquire
from tomo3d.phantoms._networks import NetworkPhantom, Strut, network, paint_strut
from tomo3d.phantoms._random_network import random_network
from tomo3d.phantoms._round_solids import Ball, Ellipsoid, Shell, Torus
from tomo3d.phantoms._single_struts import capsule, helix, ring
from tomo3d.phantoms._solid import Solid
from tomo3d.phantoms._specimen import Body, Specimen, asymmetric

__all__ = [
    "Acquisition",
    "Ball",
    "Body",
    "Cylinder",
    "Ellipsoid",
    "MembranePhantom",
    "Microscope",
    "NetworkPhantom",
    "Particles",
    "Shell",
    "Slab",
    "Solid",
    "Specimen",
    "Strut",
    "Support",
    "Torus",
    "acquire",
    "asymmetric",
    "bead_slab",
    "bridge_in_slot",
    "capsule",
    "catalyst_layer",
    "compare",
    "compare_networks",
    "crumpled_membrane",
    "cubic_network",
    "diamond_network",
    "film_on_ball",
    "helix",
    "network",
    "oblique_film",
    "paint_strut",
    "random_network",
    "ring",
]
