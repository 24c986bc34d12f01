"""A square of 16 x 16 floats turned in registers: what every change of layout comes down to."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

EDGE = 16
_VECTOR = ir.VectorType(ir.FloatType(), EDGE)
_ALIGNMENT = 4  # of a float: rows may begin anywhere


@intrinsic
def turn_square(typing_context, source, first, stride, target, to, target_stride):
    """target[to + j target_stride + i] = source[first + i stride + j] for 0 <= i, j < EDGE.

    Offsets and strides are in floats from the first element of float32 arrays of any layout; nothing is checked.
    """
    signature = types.void(source, types.intp, types.intp, target, types.intp, types.intp)

    def generate(context, builder, signature, arguments):
        source, first, stride, target, to, target_stride = arguments
        source = context.make_array(signature.args[0])(context, builder, source).data
        target = context.make_array(signature.args[3])(context, builder, target).data

        def row(pointer, start, step, i):
            place = builder.add(start, builder.mul(step, ir.Constant(step.type, i)))
            return builder.bitcast(builder.gep(pointer, [place]), _VECTOR.as_pointer())

        rows = [builder.load(row(source, first, stride, i), align=_ALIGNMENT) for i in range(EDGE)]
        for half in (8, 4, 2, 1):  # swap the off-diagonal quarters of each square of 2 half
            rows = _swapped(builder, rows, half)
        for j, value in enumerate(rows):
            builder.store(value, row(target, to, target_stride, j), align=_ALIGNMENT)
        return context.get_dummy_value()

    return signature, generate


def _swapped(builder, rows, half):
    lanes = range(EDGE)
    low = [lane if not lane & half else EDGE + lane - half for lane in lanes]
    high = [lane + half if not lane & half else EDGE + lane for lane in lanes]
    masks = [ir.Constant(ir.VectorType(ir.IntType(32), EDGE), mask) for mask in (low, high)]
    swapped = list(rows)
    for i in lanes:
        if not i & half:
            swapped[i] = builder.shuffle_vector(rows[i], rows[i + half], masks[0])
            swapped[i + half] = builder.shuffle_vector(rows[i], rows[i + half], masks[1])
    return swapped
