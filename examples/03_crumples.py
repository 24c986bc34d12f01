"""A crumpled membrane: which of its domes and tubules are bridged, and over what area, beside the truth.

python examples/03_crumples.py [picture.png]
"""

import sys

from tomo3d import graph, phantoms, render

# A film of 4 nm with nine domes, dimpled domes and tubules, each a class of `crumples`; some neighbours are bridged.
membrane = phantoms.crumpled_membrane(seed=1, bridged=0.5)
contacts = graph.contact_graph(membrane.crumples)


def bridges(network):
    """Pairs of crumples that are joined, by their numbers."""
    return set(zip(network.branches["node_a"], network.branches["node_b"], strict=True))


name = membrane.crumples.names
known = bridges(membrane.truth)
for contact in contacts.branches.itertuples():
    verdict = "put in" if (contact.node_a, contact.node_b) in known else "NOT put in"
    print(f"{name[contact.node_a]:>14} - {name[contact.node_b]:14} {contact.area_nm2:5.1f} nm2, {verdict}")
print(f"{len(bridges(contacts))} bridges found, {len(known)} put in, {len(known - bridges(contacts))} missed")

if len(sys.argv) > 1:
    picture = render.network(contacts, mask=membrane.mask, colour_by="area_nm2", label="Contact area (nm²)")
    with open(sys.argv[1], "xb") as file:
        file.write(render.encode(picture))
