// Local thickness by the voxel definition: distance to the background, pruning and painting of balls, in CUDA C. The
// arithmetic of distance.py and thickness.py, in integers: results are equal to the last bit.
//
// Lanes of a warp lie along x. A thread owns a voxel of the result, but in painting, where a block owns a ball. There
// atomics take the maximum of integers, whose order does not matter.
// On paper, H200, 400^3 blobs of 20 voxels: each pass of the distance reads 10 to 20 neighbours of a voxel in L1 and
// L2, 64e6 * 20 * 4 bytes at 5 TB/s: 1 ms; 190 million rows of 10 voxels painted, most of them only read: 2 to 5 ms.
//
// Macros: LANES, ROWS (warps of a block), VALUE_BITS (of squared distances: 32 or 64).

#define BLOCK (LANES * ROWS)
#if VALUE_BITS == 32
typedef int VALUE;
#else
typedef long long VALUE;
#endif
#define UNREACHED ((VALUE)(sizeof(VALUE) == 4 ? 0x7fffffffLL : 0x7fffffffffffffffLL))

// target <- min over j of source[j] + weight (i - j)^2 along one axis: 0 is z, 1 y, 2 x.
// Grid: x over ROWS rows, y over slices, z over LANES columns.
extern "C" __global__ void __launch_bounds__(BLOCK)
    spread_distance_cuda(const VALUE* __restrict__ source, const long long* __restrict__ weights,
                         VALUE* __restrict__ target, int axis, int n_z, int n_y, int n_x) {
    const int y = blockIdx.x * ROWS + threadIdx.y, z = blockIdx.y, x = blockIdx.z * LANES + threadIdx.x;
    if (y >= n_y || x >= n_x) return;
    const size_t at = ((size_t)z * n_y + y) * n_x + x;
    const size_t step = axis == 0 ? (size_t)n_y * n_x : axis == 1 ? (size_t)n_x : 1;
    const int here = axis == 0 ? z : axis == 1 ? y : x, n = axis == 0 ? n_z : axis == 1 ? n_y : n_x;
    const long long weight = weights[axis];
    long long best = source[at];
    for (int d = 1; d < n; d++) {
        const long long more = weight * d * d;
        if (more >= best) break;
        if (here >= d) {
            const VALUE other = __ldg(source + at - d * step);
            if (other != UNREACHED && other + more < best) best = other + more;
        }
        if (here + d < n) {
            const VALUE other = __ldg(source + at + d * step);
            if (other != UNREACHED && other + more < best) best = other + more;
        }
    }
    target[at] = (VALUE)best;
}

// kept <- 1 for each ball that no ball at one of the offsets contains, else 0; see mark_balls_cpu.
// shells (n_shells, 2): number of offsets, squared radius from which on that many are tried. Grid as above.
extern "C" __global__ void __launch_bounds__(BLOCK)
    mark_balls_cuda(const VALUE* __restrict__ squared, const int* __restrict__ offsets, const int* __restrict__ tables,
                    const long long* __restrict__ shells, const long long* __restrict__ enclosing,
                    unsigned char* __restrict__ kept, int n_shells, int n_entries, int shift, int n_z, int n_y, int n_x) {
    const int y = blockIdx.x * ROWS + threadIdx.y, z = blockIdx.y, x = blockIdx.z * LANES + threadIdx.x;
    if (y >= n_y || x >= n_x) return;
    const size_t at = ((size_t)z * n_y + y) * n_x + x;
    const long long r2 = squared[at];
    bool is_kept = r2 > 0;
    int n_offsets = 0;
    for (int k = 0; is_kept && k < n_shells; k++)
        if (r2 >= shells[2 * k + 1]) n_offsets = (int)shells[2 * k];
    for (int j = 0; is_kept && j < n_offsets; j++) {
        const int k = z + __ldg(offsets + 3 * j), l = y + __ldg(offsets + 3 * j + 1), m = x + __ldg(offsets + 3 * j + 2);
        if (k < 0 || k >= n_z || l < 0 || l >= n_y || m < 0 || m >= n_x) continue;
        const long long needed = __ldg(enclosing + (size_t)tables[j] * n_entries + (size_t)((r2 - 1) >> shift));
        is_kept = __ldg(squared + ((size_t)k * n_y + l) * n_x + m) < needed;
    }
    kept[at] = is_kept;
}

// Largest whole number whose square, times `weight`, is at most `rest` >= 0.
__device__ int whole_root(long long rest, long long weight) {
    long long root = (long long)sqrt((double)rest / (double)weight);
    while (weight * root * root > rest) root--;
    while (weight * (root + 1) * (root + 1) <= rest) root++;
    return (int)root;
}

// covered <- the larger of what it is and of r2 of the balls that cover each voxel. places (n_balls): where balls are
// centred in the flattened `squared`, their r2. Grid: x over balls.
extern "C" __global__ void __launch_bounds__(BLOCK)
    paint_balls_cuda(const long long* __restrict__ places, const VALUE* __restrict__ squared,
                     const long long* __restrict__ weights, VALUE* covered, int n_z, int n_y, int n_x) {
    const long long place = places[blockIdx.x];
    const VALUE r2 = squared[place];
    const int x = (int)(place % n_x), y = (int)(place / n_x % n_y), z = (int)(place / ((long long)n_y * n_x));
    const int reach_z = whole_root(r2 - 1, weights[0]), reach_y = whole_root(r2 - 1, weights[1]);
    const int n_rows = (2 * reach_z + 1) * (2 * reach_y + 1);
    for (int row = threadIdx.y; row < n_rows; row += ROWS) {
        const int dz = row / (2 * reach_y + 1) - reach_z, dy = row % (2 * reach_y + 1) - reach_y;
        if (z + dz < 0 || z + dz >= n_z || y + dy < 0 || y + dy >= n_y) continue;
        const long long rest = r2 - 1 - weights[0] * dz * dz - weights[1] * dy * dy;
        if (rest < 0) continue;
        const int half = whole_root(rest, weights[2]), last = min(n_x - 1, x + half);
        VALUE* line = covered + ((size_t)(z + dz) * n_y + y + dy) * n_x;
        for (int i = max(0, x - half) + threadIdx.x; i <= last; i += LANES)
            if (line[i] < r2) atomicMax(line + i, r2);
    }
}
