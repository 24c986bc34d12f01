"""Sums over windows of an image for 16 neighbouring pixels at a time: the inner loop of a resampling.

Pixel `lane` of the 16 sees rows r < n_rows and columns c < n_columns of its window, which begins `lane` columns
after that of pixel 0. Weights are those of a cubic; what a pixel does not see weighs 0. Where a window of `TAPS` rows
and columns is enough for all 16, as it is for views that are turned by a few degrees, its weights never leave the
registers. Of the bits of a weight, `bits` count: all (-1), or all but its sign (`SIZES`). Offsets are in floats from
the first element of C-contiguous float32 arrays; nothing is checked.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from tomo3d.compute.kernels.rows import _INT32, _VECTOR, LANES, _data, _fused, _intp, _load, _splat, _store

_DOUBLES = ir.VectorType(ir.DoubleType(), LANES)
SIZES = 0x7FFFFFFF
TAPS = 5  # a cubic's four, and one for what sixteen pixels spread over


@intrinsic
def cubic_weights(typing_context, weights, place, step, moves, at, n, bits):
    """weights[k, lane] = Keys' cubic (a = -1/2) at place - k + lane step + moves[at + lane], for k < n.

    Differences are taken in float64: in a wide window float32 places would be 1e-6 off.
    """
    signature = types.void(weights, types.float64, types.float64, moves, types.intp, types.intp, types.int32)

    def generate(context, builder, signature, arguments):
        weights, place, step, moves, at, n, bits = _pointers(context, builder, signature, arguments)
        lanes = ir.Constant(_DOUBLES, [float(lane) for lane in range(LANES)])
        places = builder.fadd(_splat(builder, place), builder.fmul(_splat(builder, step), lanes))
        places = builder.fadd(places, builder.fpext(_load(builder, moves, at), _DOUBLES))
        with cgutils.for_range(builder, n) as tap:
            behind = _splat(builder, builder.sitofp(tap.index, ir.DoubleType()))
            weight = _masked(
                builder, _cubic(builder, builder.fptrunc(builder.fsub(places, behind), _VECTOR)), bits
            )
            _store(builder, weights, _vector(context, builder, tap.index), weight)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def gather_taps(typing_context, to, at, source, first, stride, rows, columns, row_moves, column_moves, bits):
    """`gather_windows` for `TAPS` rows and columns, weighted by cubics.

    rows and columns are (place, step) of the sixteen pixels within their window, as `cubic_weights` takes them;
    moves are read from `at` on.
    """
    signature = _taps_signature(to, source, row_moves)

    def generate(context, builder, signature, arguments):
        to, at, source, first, stride, *geometry = _pointers(context, builder, signature, arguments)
        row_weights, column_weights = _tap_weights(builder, at, *geometry)
        total = None
        for r, row_weight in enumerate(row_weights):
            place = builder.add(first, builder.mul(stride, _intp(context, r)))
            part = None
            for c, weight in enumerate(column_weights):
                value = _load(builder, source, builder.add(place, _intp(context, c)))
                part = builder.fmul(value, weight) if part is None else _fused(builder, value, weight, part)
            total = (
                builder.fmul(part, row_weight) if total is None else _fused(builder, part, row_weight, total)
            )
        _store(builder, to, at, total)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def scatter_taps(typing_context, to, at, source, first, stride, rows, columns, row_moves, column_moves, bits):
    """The transpose of `gather_taps`: adds to `source` what `to` holds, with the same weights."""
    signature = _taps_signature(to, source, row_moves)

    def generate(context, builder, signature, arguments):
        to, at, source, first, stride, *geometry = _pointers(context, builder, signature, arguments)
        row_weights, column_weights = _tap_weights(builder, at, *geometry)
        values = _load(builder, to, at)
        parts = [builder.fmul(values, weight) for weight in column_weights]
        for r, row_weight in enumerate(row_weights):
            place = builder.add(first, builder.mul(stride, _intp(context, r)))
            behind = builder.add(place, _intp(context, LANES))
            # columns are shifted in registers: in memory each would wait until the last one was written
            here, there = _load(builder, source, place), _load(builder, source, behind)
            for c, part in enumerate(parts):
                term = builder.fmul(part, row_weight)
                here = builder.fadd(here, _shifted(builder, term, c, 0))
                if c:
                    there = builder.fadd(there, _shifted(builder, term, c, 1))
            _store(builder, source, place, here)
            _store(builder, source, behind, there)
        return context.get_dummy_value()

    return signature, generate


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


def _taps_signature(to, source, moves):
    i, pair = types.intp, types.UniTuple(types.float32, 2)
    return types.void(to, i, source, i, i, pair, pair, moves, moves, types.int32)


def _tap_weights(builder, at, rows, columns, row_moves, column_moves, bits):
    """Weights of the rows and of the columns of a window, `TAPS` vectors each."""
    weights = []
    for pair, moves in ((rows, row_moves), (columns, column_moves)):
        place, step = (builder.extract_value(pair, k) for k in range(2))
        places = _places(builder, place, step, moves, at)
        behind = [ir.Constant(_VECTOR, [float(k)] * LANES) for k in range(TAPS)]
        weights.append([_masked(builder, _cubic(builder, builder.fsub(places, tap)), bits) for tap in behind])
    return weights


def _places(builder, place, step, moves, at):
    """place + lane step + moves[at + lane]."""
    lanes = ir.Constant(_VECTOR, [float(lane) for lane in range(LANES)])
    moved = builder.fadd(_splat(builder, place), _load(builder, moves, at))
    return _fused(builder, _splat(builder, step), lanes, moved)


def _masked(builder, x, bits):
    """A vector with some of the bits of its floats."""
    integers = ir.VectorType(_INT32, LANES)
    return builder.bitcast(builder.and_(builder.bitcast(x, integers), _splat(builder, bits)), _VECTOR)


def _cubic(builder, x):
    """Keys' cubic of a = -1/2, of a vector."""
    x = _masked(builder, x, ir.Constant(_INT32, SIZES))

    def polynomial(*coefficients):
        value = _constant(coefficients[0])
        for coefficient in coefficients[1:]:
            value = _fused(builder, value, x, _constant(coefficient))
        return value

    near, far = polynomial(1.5, -2.5, 0.0, 1.0), polynomial(-0.5, 2.5, -4.0, 2.0)
    far = builder.select(builder.fcmp_ordered("<", x, _constant(2.0)), far, _constant(0.0))
    return builder.select(builder.fcmp_ordered("<", x, _constant(1.0)), near, far)


def _shifted(builder, vector, n, which):
    """The first (which 0) or second 16 of 32 floats that are 0, but for a vector from the n-th on."""
    lanes = [lane - n + LANES * which for lane in range(LANES)]
    chosen = [lane if 0 <= lane < LANES else LANES for lane in lanes]  # LANES: the first of the zeros
    indices = ir.Constant(ir.VectorType(_INT32, LANES), chosen)
    return builder.shuffle_vector(vector, _constant(0.0), indices)


def _constant(value):
    return ir.Constant(_VECTOR, [value] * LANES)


def _pointers(context, builder, signature, arguments):
    """The arguments, arrays among them as pointers to their first element."""
    return [
        _data(context, builder, kind, value) if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, arguments, strict=True)
    ]


def _vector(context, builder, index):
    return builder.mul(index, _intp(context, LANES))
