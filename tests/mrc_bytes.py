"""MRC files as other programs write them, put together byte by byte, apart from the package's own layout."""

import struct

import numpy as np

IMOD_STAMP = 1146047817


def mrc_bytes(data, **changes):
    """An MRC file with an array (sections, rows, columns) in it; `changes` overrules any field."""
    order = changes.pop("order", "<")
    mode = {"i1": 0, "u1": 0, "i2": 1, "f4": 2, "u2": 6, "f2": 12}[data.dtype.str[1:]]
    n = data.shape[::-1]
    field = {
        "n": n, "mode": mode, "n_start": (0, 0, 0), "m": n, "cell": tuple(10.0 * k for k in n), "axes": (1, 2, 3),
        "statistics": (float(data.min()), float(data.max()), float(data.mean())), "space_group": 1,
        "extended": b"", "extended_type": b"", "n_int": 0, "n_real": 0, "imod": (0, 0), "origin": (0.0, 0.0, 0.0),
        "map_word": b"MAP ", "stamp": b"\x44\x44\0\0" if order == "<" else b"\x11\x11\0\0", "titles": (),
    }  # fmt: skip
    unknown = set(changes) - set(field) - {"n_extended"}
    assert not unknown, unknown
    field |= changes
    header = bytearray(1024)

    def put(offset, kinds, *values):
        struct.pack_into(order + kinds, header, offset, *values)

    put(0, "3i", *field["n"])
    put(12, "i", field["mode"])
    put(16, "3i", *field["n_start"])
    put(28, "3i", *field["m"])
    put(40, "3f", *field["cell"])
    put(64, "3i", *field["axes"])
    put(76, "3f", *field["statistics"])
    put(88, "2i", field["space_group"], field.get("n_extended", len(field["extended"])))
    put(104, "4s", field["extended_type"])
    put(128, "2h", field["n_int"], field["n_real"])
    put(152, "2i", *field["imod"])
    put(196, "3f", *field["origin"])
    put(208, "4s", field["map_word"])
    put(212, "4s", field["stamp"])
    put(220, "i", len(field["titles"]))
    for i, title in enumerate(field["titles"]):
        put(224 + 80 * i, "80s", title.encode().ljust(80))
    values = np.ascontiguousarray(data.astype(data.dtype.newbyteorder(order)))
    return bytes(header) + field["extended"] + values.tobytes()


def ramp(shape, dtype="f4"):
    """An array in which every value differs from its neighbours along all axes."""
    return (np.arange(np.prod(shape)).reshape(shape) % 120).astype(dtype)
