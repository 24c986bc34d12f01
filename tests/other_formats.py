"""Files of formats that no library of the tests can write, put together byte by byte, apart from the package."""

import struct

import numpy as np

_DM_TYPES = {"int16": (1, 2), "float32": (2, 6), "uint16": (10, 4), "uint8": (6, 10)}


def dm_bytes(stack, *, version=3, little=True, calibrations=()):
    """A DM3 or DM4 file with a thumbnail and a stack (n, n_y, n_x), whose row 0 is the top.

    `calibrations` are (origin, scale, unit) of x, y and the third axis.
    """
    order, count = "<" if little else ">", ">I" if version == 3 else ">Q"

    def tag(kind, name, content):
        size = struct.pack(">Q", len(content)) if version == 4 else b""
        return struct.pack(">BH", kind, len(name)) + name.encode() + size + content

    def group(items):
        body = b"".join(
            tag(20 if isinstance(value, list) else 21, name, item(value)) for name, value in items
        )
        return struct.pack(">2B", 1, 0) + struct.pack(count, len(items)) + body

    def data(words, raw):
        return b"%%%%" + struct.pack(count, len(words)) + b"".join(struct.pack(count, w) for w in words) + raw

    def item(value):
        if isinstance(value, list):
            return group(value)
        if isinstance(value, str):
            return data([20, 4, len(value)], value.encode("utf-16-le" if little else "utf-16-be"))
        if isinstance(value, float):
            return data([7], struct.pack(order + "d", value))
        if isinstance(value, int):
            return data([3], struct.pack(order + "i", value))
        raw = value.astype(value.dtype.newbyteorder(order)).tobytes()
        return data([20, _DM_TYPES[value.dtype.name][1], value.size], raw)

    def image(array, axes):
        dimensions = [("", int(n)) for n in reversed(array.shape)]
        calibrated = [("", [("Origin", float(o)), ("Scale", float(s)), ("Units", u)]) for o, s, u in axes]
        code = _DM_TYPES[array.dtype.name][0]
        parts = [("Calibrations", [("Dimension", calibrated)]), ("Data", array), ("DataType", code),
                 ("Dimensions", dimensions)]  # fmt: skip
        tags = [("Microscope Info", [("Voltage", 200000.0)])]
        return [("ImageData", parts), ("ImageTags", tags)]

    thumbnail = np.zeros((4, 4), np.uint8)
    tree = group([("ImageList", [("", image(thumbnail, [])), ("", image(stack, calibrations))])])
    return struct.pack(">i", version) + struct.pack(count, len(tree)) + struct.pack(">i", int(little)) + tree


def ser_bytes(stack, *, version=0x210, delta_m=1e-9, gap=7):
    """A SER file of TIA with a stack (n, n_y, n_x), whose row 0 is the bottom, as in the file."""
    word = "<i" if version < 0x220 else "<q"
    n = len(stack)
    code = {"uint16": 2, "int16": 5, "float32": 7}[stack.dtype.name]
    header = struct.pack("<hhhiiii", 0x4949, 0x0197, version, 0x4122, 0x4152, n, n)
    table = len(header) + struct.calcsize(word) + 4
    first = table + 2 * n * struct.calcsize(word)
    elements, offsets = b"", []
    for image in stack:
        offsets.append(first + len(elements))
        n_y, n_x = image.shape
        elements += struct.pack("<ddiddihii", 0, delta_m, 0, 0, delta_m, 0, code, n_x, n_y)
        elements += image.astype(image.dtype.newbyteorder("<")).tobytes() + bytes(gap)
    places = b"".join(struct.pack(word, offset) for offset in offsets)
    return header + struct.pack(word, table) + struct.pack("<i", 1) + places + places + elements
