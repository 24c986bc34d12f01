"""What the processor can do at most: float32 multiply-adds a second, measured."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from benchmarks.timing import median_seconds

_LANES = 16
_CHAINS = 12  # enough independent sums to hide the latency, few enough for 16 registers
_ROUNDS = 4_000_000


@intrinsic
def _multiply_adds(typing_context: Any, n_rounds: Any, factor: Any) -> Any:
    """Twelve vectors of 16 floats, each multiplied by `factor` and added to itself, n_rounds times; their sum."""
    signature = types.float32(types.intp, types.float32)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.FloatType(), _LANES)
        undefined = ir.Constant(vector, ir.Undefined)
        first = builder.insert_element(undefined, arguments[1], ir.Constant(ir.IntType(32), 0))
        splat = builder.shuffle_vector(
            first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)
        )
        sums = [cgutils.alloca_once(builder, vector) for _ in range(_CHAINS)]
        for k, total in enumerate(sums):
            builder.store(ir.Constant(vector, [float(k)] * _LANES), total)
        with cgutils.for_range(builder, arguments[0]):
            for total in sums:
                value = builder.load(total)
                product = builder.fmul(value, splat, flags=("contract",))
                builder.store(builder.fadd(product, splat, flags=("contract",)), total)
        whole = builder.load(sums[0])
        for total in sums[1:]:
            whole = builder.fadd(whole, builder.load(total))
        result = builder.extract_element(whole, ir.Constant(ir.IntType(32), 0))
        for lane in range(1, _LANES):
            result = builder.fadd(result, builder.extract_element(whole, ir.Constant(ir.IntType(32), lane)))
        return result

    return signature, generate


@numba.njit(parallel=True)
def _run(n_threads: int, n_rounds: int) -> Any:
    totals = np.zeros(n_threads, dtype=np.float32)
    for thread in numba.prange(n_threads):
        totals[thread] = _multiply_adds(n_rounds, np.float32(0.5))  # type: ignore[call-arg]
    return totals


def peak_gflops(n_threads: int) -> float:
    """10^9 float32 operations a second of fused multiply-adds, on so many threads."""
    seconds, _ = median_seconds(lambda: _run(n_threads, _ROUNDS))
    return 2e-9 * n_threads * _ROUNDS * _CHAINS * _LANES / seconds
