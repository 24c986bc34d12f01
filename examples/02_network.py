"""A network of struts as a graph in nm: nodes, branches, lengths and widths beside those that were put in.

python examples/02_network.py [picture.png]
"""

import sys

from tomo3d import graph, phantoms, render

# Straight struts between random nodes; `mask` is what a segmentation would give, `truth` the graph behind it.
specimen = phantoms.random_network(seed=2, n_nodes=20, size_nm=90, radius_nm=(2, 4))
network = graph.skeleton_graph(specimen.mask)

print(phantoms.compare_networks(specimen.truth, network, reach_nm=8).to_string(index=False))
columns = ["length_nm", "tortuosity", "mean_width_nm", "minimum_width_nm", "volume_nm3"]
print(network.branches[columns].describe().loc[["mean", "min", "max"]].to_string())

# What its connectivity does: cycles, and ways to move without stretching a strut, were the joints hinges.
numbers = graph.descriptors(network).set_index("quantity")["value"]
chosen = ["degree_mean", "cycle_rank", "clustering", "algebraic_connectivity", "length_per_volume"]
print(numbers[chosen].to_string())
print(graph.rigidity(network).to_string(index=False))

if len(sys.argv) > 1:
    with open(sys.argv[1], "xb") as file:
        file.write(render.encode(render.network(network, mask=specimen.mask)))
