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

LANES = 16
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INT32 = ir.IntType(32)
_ALIGNMENT = 4  # of a float: rows aligned to 64 bytes are faster, others are right


@intrinsic
def add_rows(typing_context, destination, start, source, rows, weights, n_y):
    """destination[start:start + n_y] += sum over j of weights[j] * source[rows[j]:rows[j] + n_y].

    rows is a tuple of intp, weights a tuple of float32 of the same length. n_y is a multiple of LANES: code for what is
    left, though never run, costs a sixth of the speed.
    """
    signature = types.void(destination, types.intp, source, rows, weights, types.intp)

    def generate(context, builder, signature, arguments):
        to, start, source, rows, weights, n_y = arguments
        to = builder.gep(_data(context, builder, signature.args[0], to), [start])
        source = _data(context, builder, signature.args[2], source)
        count = signature.args[3].count
        pointers = [builder.gep(source, [builder.extract_value(rows, j)]) for j in range(count)]
        splats = [_splat(builder, builder.extract_value(weights, j)) for j in range(count)]

        zero, step = _intp(context, 0), _intp(context, LANES)
        with cgutils.for_range_slice(builder, zero, n_y, step, zero.type) as (y, _):
            total = _load(builder, to, y)
            for pointer, splat in zip(pointers, splats, strict=True):
                total = _fused(builder, _load(builder, pointer, y), splat, total)
            _store(builder, to, y, total)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def add_listed_rows(typing_context, destination, start, source, rows, weights, count, n_y):
    """As `add_rows`, with an even `count` of rows and weights listed in arrays (intp and float32), and any n_y.

    Two rows are summed before they are added, so that the sums wait for half as many additions.
    """
    signature = types.void(destination, types.intp, source, rows, weights, types.intp, types.intp)

    def generate(context, builder, signature, arguments):
        to, start, source, rows, weights, count, n_y = arguments
        to = builder.gep(_data(context, builder, signature.args[0], to), [start])
        source = _data(context, builder, signature.args[2], source)
        rows = _data(context, builder, signature.args[3], rows)
        weights = _data(context, builder, signature.args[4], weights)

        def vectors(y, n_vectors, mask=None):
            places = [builder.add(y, _intp(context, k * LANES)) for k in range(n_vectors)]
            totals = [cgutils.alloca_once(builder, _VECTOR) for _ in places]  # LLVM keeps them in registers
            for total, place in zip(totals, places, strict=True):
                builder.store(_load(builder, to, place, mask), total)
            pairs = builder.ashr(count, _intp(context, 1))
            with cgutils.for_range(builder, pairs) as loop:
                listed = []
                for k in range(2):
                    at = builder.add(builder.shl(loop.index, _intp(context, 1)), _intp(context, k))
                    place = builder.load(builder.gep(rows, [at]))
                    weight = _splat(builder, builder.load(builder.gep(weights, [at])))
                    listed.append((builder.gep(source, [place]), weight))
                (one, a), (other, b) = listed
                for total, place in zip(totals, places, strict=True):
                    value = builder.fmul(_load(builder, one, place, mask), a, flags=("contract",))
                    value = _fused(builder, _load(builder, other, place, mask), b, value)
                    builder.store(builder.fadd(builder.load(total), value), total)
            for total, place in zip(totals, places, strict=True):
                _store(builder, to, place, builder.load(total), mask)

        done = _intp(context, 0)
        for n_vectors in (4, 1):
            length = n_vectors * LANES
            end = builder.and_(n_y, _intp(context, -length))  # the last multiple of length, a power of two
            with cgutils.for_range_slice(builder, done, end, _intp(context, length), done.type) as (y, _):
                vectors(y, n_vectors)
            done = end
        left = builder.sub(n_y, done)
        with builder.if_then(builder.icmp_signed(">", left, _intp(context, 0)), likely=False):
            lanes = ir.Constant(ir.VectorType(left.type, LANES), list(range(LANES)))
            vectors(done, 1, builder.icmp_signed("<", lanes, _splat(builder, left)))
        return context.get_dummy_value()

    return signature, generate


def _data(context, builder, array_type, array):
    return context.make_array(array_type)(context, builder, array).data


def _intp(context, value):
    return ir.Constant(context.get_value_type(types.intp), value)


def _splat(builder, value):
    """The vector whose every lane is `value`."""
    undefined = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_INT32, 0))
    lanes = ir.Constant(ir.VectorType(_INT32, LANES), [0] * LANES)
    return builder.shuffle_vector(first, undefined, lanes)


def _load(builder, pointer, place, mask=None):
    """16 floats from pointer[place] on; with a mask, 0 where it is unset, and nothing read there."""
    at = _vector_at(builder, pointer, place)
    if mask is None:
        return builder.load(at, align=_ALIGNMENT)
    zeros = ir.Constant(_VECTOR, [0.0] * LANES)
    name = f"llvm.masked.load.v{LANES}f32.p0"
    function_type = ir.FunctionType(_VECTOR, [at.type, _INT32, mask.type, _VECTOR])
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    return builder.call(function, [at, ir.Constant(_INT32, _ALIGNMENT), mask, zeros])


def _store(builder, pointer, place, value, mask=None):
    """The reverse of `_load`."""
    at = _vector_at(builder, pointer, place)
    if mask is None:
        builder.store(value, at, align=_ALIGNMENT)
        return
    name = f"llvm.masked.store.v{LANES}f32.p0"
    function_type = ir.FunctionType(ir.VoidType(), [_VECTOR, at.type, _INT32, mask.type])
    function = cgutils.get_or_insert_function(builder.module, function_type, name)
    builder.call(function, [value, at, ir.Constant(_INT32, _ALIGNMENT), mask])


def _vector_at(builder, pointer, place):
    return builder.bitcast(builder.gep(pointer, [place]), _VECTOR.as_pointer())


def _fused(builder, a, b, total):
    """a * b + total, fused where the processor can."""
    return builder.fadd(total, builder.fmul(a, b, flags=("contract",)), flags=("contract",))
