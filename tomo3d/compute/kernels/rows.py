"""Weighted sums of rows, the one inner loop of the projector, as explicit vector instructions.

Both directions come down to ``destination += sum of weight * row``, rows being runs of slices along y. Left to
the compiler, the loop over sixteen rows is not vectorised at all: it would have to prove for each of them that it
does not overlap the destination. Here the vectors are written out, the sum stays in registers, and LLVM fits
them to the processor (16 floats are one AVX-512 register, two of AVX2, four of NEON).

Rows are given as offsets, in floats, from the first element of a C-contiguous float32 array. Nothing is
checked: offsets and lengths must lie within the arrays.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_LANES = 16
_VECTOR = ir.VectorType(ir.FloatType(), _LANES)
_INT32 = ir.IntType(32)
_ALIGNMENT = 4  # of a float: rows aligned to 64 bytes are faster, others are right


@intrinsic
def add_rows(typing_context, destination, start, source, rows, weights, n_y):
    """destination[start:start + n_y] += sum over j of weights[j] * source[rows[j]:rows[j] + n_y].

    rows is a tuple of intp, weights a tuple of float32 of the same length.
    """
    signature = types.void(destination, types.intp, source, rows, weights, types.intp)

    def generate(context, builder, signature, arguments):
        to, start, source, rows, weights, n_y = arguments
        to = builder.gep(_data(context, builder, signature.args[0], to), [start])
        source = _data(context, builder, signature.args[2], source)
        count = signature.args[3].count
        pointers = [builder.gep(source, [builder.extract_value(rows, j)]) for j in range(count)]
        factors = [builder.extract_value(weights, j) for j in range(count)]
        splats = [_splat(builder, factor) for factor in factors]

        def vectors(y, n_vectors):
            for k in range(n_vectors):
                place = builder.add(y, _intp(context, k * _LANES))
                total = _load(builder, to, place)
                for pointer, splat in zip(pointers, splats, strict=True):
                    total = _fused(builder, _load(builder, pointer, place), splat, total)
                _store(builder, to, place, total)

        def single(y):
            at = builder.gep(to, [y])
            total = builder.load(at)
            for pointer, factor in zip(pointers, factors, strict=True):
                total = _fused(builder, builder.load(builder.gep(pointer, [y])), factor, total)
            builder.store(total, at)

        _over_slices(context, builder, n_y, vectors, single, widest=1)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def add_listed_rows(typing_context, destination, start, source, rows, weights, count, n_y):
    """As `add_rows`, with `count` rows and weights listed in arrays (intp and float32)."""
    signature = types.void(destination, types.intp, source, rows, weights, types.intp, types.intp)

    def generate(context, builder, signature, arguments):
        to, start, source, rows, weights, count, n_y = arguments
        to = builder.gep(_data(context, builder, signature.args[0], to), [start])
        source = _data(context, builder, signature.args[2], source)
        rows = _data(context, builder, signature.args[3], rows)
        weights = _data(context, builder, signature.args[4], weights)

        def listed(accumulators, add):
            """Run through the list; `add(row, weight)` gives the new value of each accumulator."""
            with cgutils.for_range(builder, count) as loop:
                row = builder.gep(source, [builder.load(builder.gep(rows, [loop.index]))])
                weight = builder.load(builder.gep(weights, [loop.index]))
                for accumulator, value in zip(accumulators, add(row, weight), strict=True):
                    builder.store(value, accumulator)

        def vectors(y, n_vectors):
            places = [builder.add(y, _intp(context, k * _LANES)) for k in range(n_vectors)]
            totals = [cgutils.alloca_once(builder, _VECTOR) for _ in places]  # LLVM keeps them in registers
            for total, place in zip(totals, places, strict=True):
                builder.store(_load(builder, to, place), total)

            def add(row, weight):
                splat = _splat(builder, weight)
                return [
                    _fused(builder, _load(builder, row, place), splat, builder.load(total))
                    for total, place in zip(totals, places, strict=True)
                ]

            listed(totals, add)
            for total, place in zip(totals, places, strict=True):
                _store(builder, to, place, builder.load(total))

        def single(y):
            at = builder.gep(to, [y])
            total = cgutils.alloca_once(builder, ir.FloatType())
            builder.store(builder.load(at), total)
            listed(
                [total],
                lambda row, weight: [
                    _fused(builder, builder.load(builder.gep(row, [y])), weight, builder.load(total))
                ],
            )
            builder.store(builder.load(total), at)

        _over_slices(context, builder, n_y, vectors, single, widest=4)
        return context.get_dummy_value()

    return signature, generate


def _over_slices(context, builder, n_y, vectors, single, *, widest):
    """Run along n_y slices: `widest` vectors at a time, then one, then slice by slice."""
    done = _intp(context, 0)
    for n_vectors in sorted({widest, 1}, reverse=True):
        step = _intp(context, n_vectors * _LANES)
        end = builder.and_(n_y, _intp(context, -n_vectors * _LANES))
        with cgutils.for_range_slice(builder, done, end, step, done.type) as (y, _):
            vectors(y, n_vectors)
        done = end
    with (
        builder.if_then(builder.icmp_signed("<", done, n_y), likely=False),
        cgutils.for_range_slice(builder, done, n_y, _intp(context, 1), done.type) as (y, _),
    ):
        single(y)


def _data(context, builder, array_type, array):
    return context.make_array(array_type)(context, builder, array).data


def _intp(context, value):
    return ir.Constant(context.get_value_type(types.intp), value)


def _splat(builder, value):
    """The vector whose every lane is `value`."""
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_INT32, 0))
    lanes = ir.Constant(ir.VectorType(_INT32, _LANES), [0] * _LANES)
    return builder.shuffle_vector(first, undefined, lanes)


def _load(builder, pointer, place):
    return builder.load(_vector_at(builder, pointer, place), align=_ALIGNMENT)


def _store(builder, pointer, place, value):
    builder.store(value, _vector_at(builder, pointer, place), align=_ALIGNMENT)


def _vector_at(builder, pointer, place):
    return builder.bitcast(builder.gep(pointer, [place]), _VECTOR.as_pointer())


def _fused(builder, a, b, total):
    """a * b + total, fused where the processor can."""
    return builder.fadd(total, builder.fmul(a, b, flags=("contract",)), flags=("contract",))
