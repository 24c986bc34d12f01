"""Crop the tilt series of the needle to what this folder ships: python make_needle.py HAADF.mrc needle.mrc

Rows and columns are cut out of every view; headers stay as they are, byte for byte,
but for sizes and value range. Nothing is rescaled.
"""

import struct
import sys

import numpy as np

ROWS = slice(46, 214)  # the needle moves between rows 55 and 204
COLUMNS = slice(
    40, 228
)  # its tip reaches column 214; its foot runs out of the picture on the left in every view
HEADER_BYTES = 1024


def main(source: str, target: str) -> None:
    with open(source, "rb") as stream:
        header = bytearray(stream.read(HEADER_BYTES))
        n_x, n_y, n_z, mode = struct.unpack_from("<4i", header, 0)
        (n_extended,) = struct.unpack_from("<i", header, 92)
        if (n_x, n_y, n_z, mode, n_extended) != (256, 256, 77, 1, 131072):
            sys.exit(f"{source} is not the series that this script was written for.")
        extended = stream.read(n_extended)
        views = np.frombuffer(stream.read(), "<i2").reshape(n_z, n_y, n_x)[:, ROWS, COLUMNS]
    n_z, n_y, n_x = views.shape
    struct.pack_into("<2i", header, 0, n_x, n_y)
    struct.pack_into("<2i", header, 28, n_x, n_y)  # intervals
    struct.pack_into("<2f", header, 40, n_x, n_y)  # cell: 1 angstrom per pixel, as wrong as in the original
    struct.pack_into("<3f", header, 76, views.min(), views.max(), views.mean())
    with open(target, "xb") as stream:
        stream.write(header + extended + views.tobytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
