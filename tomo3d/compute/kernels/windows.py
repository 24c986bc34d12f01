"""Sums over windows of an image for 16 neighbouring pixels at a time: the inner loop of a resampling.

Pixel `lane` of the 16 sees rows r < n_rows and columns c < n_columns of its window, which begins `lane` columns
after that of pixel 0. Weights lie in arrays (r, lane) and (c, lane) of float32; what a pixel does not see weighs 0.
Offsets are in floats from the first element of C-contiguous float32 arrays; nothing is checked.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from tomo3d.compute.kernels.rows import _VECTOR, LANES, _data, _fused, _intp, _load, _store


@intrinsic
def gather_windows(
    typing_context, to, at, source, first, stride, row_weights, n_rows, column_weights, n_columns
):
    """to[at + lane] = sum of row_weights[r, lane] column_weights[c, lane] source[first + r stride + c + lane]."""
    signature = _signature(to, source, row_weights, column_weights)

    def generate(context, builder, signature, arguments):
        to, at, source, first, stride, row_weights, n_rows, column_weights, n_columns = _pointers(
            context, builder, signature, arguments
        )
        total = cgutils.alloca_once(builder, _VECTOR)  # LLVM keeps it in a register
        part = cgutils.alloca_once(builder, _VECTOR)
        zeros = ir.Constant(_VECTOR, [0.0] * LANES)
        builder.store(zeros, total)
        with cgutils.for_range(builder, n_rows) as row:
            place = builder.add(first, builder.mul(row.index, stride))
            builder.store(zeros, part)
            with cgutils.for_range(builder, n_columns) as column:
                value = _load(builder, source, builder.add(place, column.index))
                weight = _load(builder, column_weights, _vector(context, builder, column.index))
                builder.store(_fused(builder, value, weight, builder.load(part)), part)
            weight = _load(builder, row_weights, _vector(context, builder, row.index))
            builder.store(_fused(builder, builder.load(part), weight, builder.load(total)), total)
        _store(builder, to, at, builder.load(total))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def scatter_windows(
    typing_context, to, at, source, first, stride, row_weights, n_rows, column_weights, n_columns
):
    """The transpose of `gather_windows`: adds to `source` what `to` holds, with the same weights."""
    signature = _signature(to, source, row_weights, column_weights)

    def generate(context, builder, signature, arguments):
        to, at, source, first, stride, row_weights, n_rows, column_weights, n_columns = _pointers(
            context, builder, signature, arguments
        )
        values = _load(builder, to, at)
        # columns outside: vectors of one row overlap, and the next waits for the last to be written
        with cgutils.for_range(builder, n_columns) as column:
            weight = _load(builder, column_weights, _vector(context, builder, column.index))
            part = builder.fmul(values, weight)
            with cgutils.for_range(builder, n_rows) as row:
                place = builder.add(builder.add(first, builder.mul(row.index, stride)), column.index)
                weight = _load(builder, row_weights, _vector(context, builder, row.index))
                _store(builder, source, place, _fused(builder, part, weight, _load(builder, source, place)))
        return context.get_dummy_value()

    return signature, generate


def _signature(to, source, row_weights, column_weights):
    i = types.intp
    return types.void(to, i, source, i, i, row_weights, i, column_weights, i)


def _pointers(context, builder, signature, arguments):
    """The arguments, arrays among them as pointers to their first element."""
    return [
        _data(context, builder, kind, value) if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, arguments, strict=True)
    ]


def _vector(context, builder, index):
    return builder.mul(index, _intp(context, LANES))
