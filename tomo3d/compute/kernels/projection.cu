// Parallel-beam projection and its exact transpose: the arithmetic of projection.py and affine.py in CUDA C.
//
// Every thread owns its results and gathers, in both directions: no atomics, and the order of each sum is fixed.
// Lanes of a warp lie along y (or v), so that loads are coalesced; where a voxel lands, or what a pixel gathers,
// is worked out in double once for the block's LANES * Y_PER_LANE slices and shared. Interpolation is done here and
// not by the texture units, whose weights have 9 bits.
//
// Back-projection on paper, H200 (132 SM at 1.75 GHz; an SM loads 128 bytes from L1, issues 4 warp instructions and
// does 128 multiply-adds a clock). An update (voxel and view) loads two floats from L1: 8 bytes, hence at most
// 132 * 1.75e9 * 128 / 8 = 3,700 GUPS. With Y_PER_LANE = 4 a lane does four updates by 8 loads, 8 multiply-adds, one
// 8-byte broadcast load of the tap and its addresses: 225 instructions for 32 updates in the code for sm_90, hence
// 132 * 1.75e9 * 128 / 7 = 4,200 GUPS. From L2 a tile of 8 x 8 voxels reads at most 8 (|cos t| + |sin t|) + 2 = 13.3
// rows for 64 updates, 0.8 bytes an update: 5,500 GB/s / 0.8 = 6,600 GUPS. The compiler starts 25 loads before it needs
// the first, in the 128 registers that two blocks of 256 threads leave (tests: no spills): 16 warps an SM, which
// hide an L1 latency of 35 clocks and most of L2's 250. Half of the first bound is expected; none was at hand to
// measure. Projection loads up to 2.83 floats an update where the beam is farthest from the axes, 2,600 GUPS from
// L1, and reads each voxel of a layer from L2 once a view: 4 bytes an update, 1,400 GUPS, the bound that counts.
//
// Macros: LANES, ROWS (warps of a block), Y_PER_LANE, X_PER_LANE, U_PER_LANE, VIEWS, LAYERS.

#define BLOCK (LANES * ROWS)
#define SLICES (LANES * Y_PER_LANE)

// The two rows of the detector that a voxel meets: `row` and the one after, with 1 - weight and weight.
struct alignas(8) Tap {
    int row;
    float weight;
};

// Up to three voxels of a layer that a pixel gathers, the first of them as a number of rows along y.
struct alignas(16) Gather {
    int first;
    float weight[3];
};

// Where the first voxel of a row along y lands: pixel (i, j) and the fractions beyond it.
struct alignas(16) Landing {
    int i;
    float f;
    int j;
    float g;
};

struct Slope {
    float u;  // of u along y
    float v;  // of v - y along y
};

// Layers 0 <= i < n at which at + i * slope lies within [low, high]: first <= i < stop.
__device__ void crossing(double at, double slope, double low, double high, int n, int* first, int* stop) {
    double a = 0.0, b = n - 1.0;
    if (slope != 0.0) {
        const double p = (low - at) / slope, q = (high - at) / slope;
        a = fmax(a, floor(fmin(p, q)));
        b = fmin(b, ceil(fmax(p, q)));
    } else if (at < low || at > high) {
        b = -1.0;
    }
    *first = (int)fmin(a, (double)n);
    *stop = (int)fmax(b, -1.0) + 1;
}

// sum[k] += weight * row[k LANES], for those of a lane's slices that lie within the `n_left` ones. Full blocks have a
// branch of their own, in which nothing is tested: else a branch round every load would keep it from starting early.
template <bool IS_FULL>
__device__ void add_row(const float* __restrict__ row, float weight, int n_left, float* sum) {
#pragma unroll
    for (int k = 0; k < Y_PER_LANE; k++)
        if (IS_FULL || k * LANES < n_left) sum[k] += weight * __ldg(row + k * LANES);
}

// What one view adds to a lane's voxels, one by one along x.
template <bool IS_FULL>
__device__ void add_view(const float* __restrict__ image, const Tap* taps, int n_y, int n_left,
                         float (*sum)[Y_PER_LANE]) {
#pragma unroll
    for (int i = 0; i < X_PER_LANE; i++) {
        const Tap tap = taps[i];
        const float* low = image + (ptrdiff_t)tap.row * n_y;
        add_row<IS_FULL>(low, 1.0f - tap.weight, n_left, sum[i]);
        add_row<IS_FULL>(low + n_y, tap.weight, n_left, sum[i]);
    }
}

// What one layer adds to a lane's pixels. `second` and `third` are the places after `first`.
template <bool IS_FULL>
__device__ void add_layer(const float* __restrict__ layer, const Gather* gathers, int n_y, size_t second,
                          size_t third, int n_left, float (*sum)[Y_PER_LANE]) {
#pragma unroll
    for (int i = 0; i < U_PER_LANE; i++) {
        const Gather gather = gathers[i];
        const float* voxel = layer + (ptrdiff_t)gather.first * n_y;
        add_row<IS_FULL>(voxel, gather.weight[0], n_left, sum[i]);
        add_row<IS_FULL>(voxel + second, gather.weight[1], n_left, sum[i]);
        if (gather.weight[2] > 0.0f) add_row<IS_FULL>(voxel + third, gather.weight[2], n_left, sum[i]);
    }
}

// One voxel's share of an image: the landing of its row, y slices on. Inside, all four pixels are there.
template <bool IS_INSIDE>
__device__ float interpolated(const float* __restrict__ image, Landing at, Slope slope, int y, int n_u, int n_v) {
    const float u = at.f + slope.u * y, w = at.g + slope.v * y;
    const int i = at.i + (int)floorf(u), j = at.j + y + (int)floorf(w);
    const float p = u - floorf(u), q = w - floorf(w);
    const bool low = IS_INSIDE || (i >= 0 && i < n_u), high = IS_INSIDE || (i >= -1 && i < n_u - 1);
    const bool left = IS_INSIDE || (j >= 0 && j < n_v), right = IS_INSIDE || (j >= -1 && j < n_v - 1);
    const float* tap = image + (ptrdiff_t)i * n_v + j;
    const float a = low && left ? __ldg(tap) : 0.0f, b = low && right ? __ldg(tap + 1) : 0.0f;
    const float c = high && left ? __ldg(tap + n_v) : 0.0f, d = high && right ? __ldg(tap + n_v + 1) : 0.0f;
    return (1.0f - p) * ((1.0f - q) * a + q * b) + p * ((1.0f - q) * c + q * d);
}

// Add the back-projection of images (n_views, n_padded, n_y), zero in the padding, to volume (n_z, n_x, n_y).
// Grid: x over tiles of X_PER_LANE along x, y over tiles of ROWS along z, z over SLICES slices.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    back_cuda(const float* __restrict__ images, const double* __restrict__ cosines,
              const double* __restrict__ sines, const double* __restrict__ offsets, float* __restrict__ volume,
              int n_views, int n_padded, int pad_before, int n_u, int n_z, int n_x, int n_y) {
    __shared__ Tap taps[VIEWS * ROWS * X_PER_LANE];
    const int thread = threadIdx.y * LANES + threadIdx.x;
    const int x_first = blockIdx.x * X_PER_LANE, z_first = blockIdx.y * ROWS;
    const int y = blockIdx.z * SLICES + threadIdx.x, n_left = n_y - y;
    const bool is_full = (int)(blockIdx.z + 1) * SLICES <= n_y;
    float sum[X_PER_LANE][Y_PER_LANE];
#pragma unroll
    for (int i = 0; i < X_PER_LANE; i++)
#pragma unroll
        for (int k = 0; k < Y_PER_LANE; k++) sum[i][k] = 0.0f;

    for (int view = 0; view < n_views; view += VIEWS) {
        const int n_here = min(VIEWS, n_views - view);
        __syncthreads();
        for (int t = thread; t < n_here * ROWS * X_PER_LANE; t += BLOCK) {
            const int v = view + t / (ROWS * X_PER_LANE);
            const double z = z_first + (t / X_PER_LANE) % ROWS - 0.5 * (n_z - 1);
            const double x = x_first + t % X_PER_LANE - 0.5 * (n_x - 1);
            const double landed = x * cosines[v] + z * sines[v] + offsets[v];
            const double u = fmin(fmax(landed, -1.0), (double)n_u) + pad_before;  // beyond the detector: padding
            taps[t].row = (int)u;
            taps[t].weight = (float)(u - (int)u);
        }
        __syncthreads();
        for (int v = 0; v < n_here; v++) {
            const float* image = images + (size_t)(view + v) * n_padded * n_y + y;
            const Tap* mine = taps + (v * ROWS + threadIdx.y) * X_PER_LANE;
            if (is_full)
                add_view<true>(image, mine, n_y, n_left, sum);
            else
                add_view<false>(image, mine, n_y, n_left, sum);
        }
    }
    const int z = z_first + threadIdx.y;
#pragma unroll
    for (int i = 0; i < X_PER_LANE; i++)
#pragma unroll
        for (int k = 0; k < Y_PER_LANE; k++)
            if (z < n_z && x_first + i < n_x && y + k * LANES < n_y)
                volume[((size_t)z * n_x + x_first + i) * n_y + y + k * LANES] += sum[i][k];
}

// Add the projection of volume to the images, but for their padding: the transpose of back_cuda, same arguments.
// Detector pixel u gathers max(0, 1 - |x cos t + z sin t + offset - u|) of each voxel. The rays are followed layer by
// layer of z, or of x where the beam is nearer to x, so that at most three voxels of a layer count: 2 / 0.707 < 3.
// Grid: x over tiles of ROWS * U_PER_LANE pixels, y over views, z over SLICES slices.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    forward_cuda(const float* __restrict__ volume, const double* __restrict__ cosines,
                 const double* __restrict__ sines, const double* __restrict__ offsets, float* __restrict__ images,
                 int n_views, int n_padded, int pad_before, int n_u, int n_z, int n_x, int n_y) {
    __shared__ Gather gathers[LAYERS * ROWS * U_PER_LANE];
    const int thread = threadIdx.y * LANES + threadIdx.x;
    const int view = blockIdx.y;
    const int u_first = blockIdx.x * ROWS * U_PER_LANE;
    const int y = blockIdx.z * SLICES + threadIdx.x, n_left = n_y - y;
    const bool is_full = (int)(blockIdx.z + 1) * SLICES <= n_y;
    const bool along_z = fabs(cosines[view]) >= fabs(sines[view]);
    const double run = along_z ? cosines[view] : sines[view];   // of u, from voxel to voxel across
    const double rise = along_z ? sines[view] : cosines[view];  // of u, from layer to layer
    const int n_layers = along_z ? n_z : n_x, n_across = along_z ? n_x : n_z;
    const size_t layer_stride = (size_t)(along_z ? n_x : 1) * n_y;
    const int across_rows = along_z ? 1 : n_x;
    const size_t second = (size_t)min(1, n_across - 1) * across_rows * n_y;
    const size_t third = (size_t)min(2, n_across - 1) * across_rows * n_y;
    // pixel u meets layer i at u / run + start - i * slope across
    const double slope = rise / run;
    const double start = 0.5 * (n_across - 1) + 0.5 * (n_layers - 1) * slope - offsets[view] / run;
    int first_a, first_b, stop_a, stop_b;
    crossing(u_first / run + start, -slope, -2.0, n_across + 1.0, n_layers, &first_a, &stop_a);
    crossing((u_first + ROWS * U_PER_LANE - 1) / run + start, -slope, -2.0, n_across + 1.0, n_layers, &first_b,
             &stop_b);
    int first = min(first_a, first_b), stop = max(stop_a, stop_b);
    if (slope == 0.0) first = 0, stop = n_layers;  // the ends of the tile may miss what its middle meets

    float sum[U_PER_LANE][Y_PER_LANE];
#pragma unroll
    for (int i = 0; i < U_PER_LANE; i++)
#pragma unroll
        for (int k = 0; k < Y_PER_LANE; k++) sum[i][k] = 0.0f;

    for (int layer = first; layer < stop; layer += LAYERS) {
        const int n_here = min(LAYERS, stop - layer);
        __syncthreads();
        for (int t = thread; t < n_here * ROWS * U_PER_LANE; t += BLOCK) {
            const int u = u_first + t % (ROWS * U_PER_LANE);
            const double at = u / run + start - (layer + t / (ROWS * U_PER_LANE)) * slope;
            // three places within the layer, if it has so many, that hold all those within reach
            const double last = max(n_across - 3, 0);
            const int place = (int)fmin(fmax(ceil(at - 1.0 / fabs(run)), 0.0), last);
            gathers[t].first = place * across_rows;
            for (int m = 0; m < 3; m++) {
                const double weight = 1.0 - fabs(place + m - at) * fabs(run);
                gathers[t].weight[m] = place + m < n_across && weight > 0.0 ? (float)weight : 0.0f;
            }
        }
        __syncthreads();
        for (int l = 0; l < n_here; l++) {
            const float* from = volume + (layer + l) * layer_stride + y;
            const Gather* mine = gathers + (l * ROWS + threadIdx.y) * U_PER_LANE;
            if (is_full)
                add_layer<true>(from, mine, n_y, second, third, n_left, sum);
            else
                add_layer<false>(from, mine, n_y, second, third, n_left, sum);
        }
    }
#pragma unroll
    for (int i = 0; i < U_PER_LANE; i++) {
        const int u = u_first + threadIdx.y * U_PER_LANE + i;
#pragma unroll
        for (int k = 0; k < Y_PER_LANE; k++)
            if (u < n_u && y + k * LANES < n_y)
                images[((size_t)view * n_padded + pad_before + u) * n_y + y + k * LANES] += sum[i][k];
    }
}

// Add the back-projection of images (n_views, n_u, n_v) to volume (n_z, n_x, n_y); affine (n_views, 2, 4).
// Grid: as back_cuda, with X_PER_LANE columns. Over the SLICES slices of a block the positions are float32: at
// most 128 slopes from the double at its first slice, within 1e-5 pixels.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
    back_affine_cuda(const float* __restrict__ images, const double* __restrict__ affine, float* __restrict__ volume,
                     int n_views, int n_u, int n_v, int n_z, int n_x, int n_y) {
    __shared__ Landing landings[VIEWS * ROWS * X_PER_LANE];
    __shared__ Slope slopes[VIEWS];
    __shared__ bool is_inside[VIEWS * ROWS * X_PER_LANE];  // whether all pixels that a row of SLICES meets are there
    const int thread = threadIdx.y * LANES + threadIdx.x;
    const int x_first = blockIdx.x * X_PER_LANE, z_first = blockIdx.y * ROWS, y_first = blockIdx.z * SLICES;
    float sum[X_PER_LANE][Y_PER_LANE];
#pragma unroll
    for (int i = 0; i < X_PER_LANE; i++)
#pragma unroll
        for (int k = 0; k < Y_PER_LANE; k++) sum[i][k] = 0.0f;

    for (int view = 0; view < n_views; view += VIEWS) {
        const int n_here = min(VIEWS, n_views - view);
        __syncthreads();
        for (int t = thread; t < n_here * ROWS * X_PER_LANE; t += BLOCK) {
            const double* row = affine + 8 * (size_t)(view + t / (ROWS * X_PER_LANE));
            const double z = z_first + (t / X_PER_LANE) % ROWS - 0.5 * (n_z - 1);
            const double x = x_first + t % X_PER_LANE - 0.5 * (n_x - 1);
            const double y = y_first - 0.5 * (n_y - 1);
            // far beyond the detector is as good as beyond it, and fits an int
            const double far = 1.0e8;
            const double u = fmin(fmax(row[0] * x + row[1] * y + row[2] * z + row[3], -far), far);
            const double v = fmin(fmax(row[4] * x + row[5] * y + row[6] * z + row[7], -far), far);
            landings[t].i = (int)floor(u);
            landings[t].f = (float)(u - floor(u));
            landings[t].j = (int)floor(v);
            landings[t].g = (float)(v - floor(v));
            const double u_end = u + (SLICES - 1) * row[1], v_end = v + (SLICES - 1) * row[5];
            const double margin = 1.0e-3;  // for rounding
            is_inside[t] = fmin(u, u_end) > margin && fmax(u, u_end) < n_u - 1 - margin &&
                           fmin(v, v_end) > margin && fmax(v, v_end) < n_v - 1 - margin;
        }
        for (int t = thread; t < n_here; t += BLOCK) {
            slopes[t].u = (float)affine[8 * (size_t)(view + t) + 1];
            slopes[t].v = (float)(affine[8 * (size_t)(view + t) + 5] - 1.0);
        }
        __syncthreads();
        for (int v = 0; v < n_here; v++) {
            const float* image = images + (size_t)(view + v) * n_u * n_v;
#pragma unroll
            for (int n = 0; n < X_PER_LANE; n++) {
                const int row = (v * ROWS + threadIdx.y) * X_PER_LANE + n;
                const Landing at = landings[row];
                if (is_inside[row]) {
#pragma unroll
                    for (int k = 0; k < Y_PER_LANE; k++)
                        sum[n][k] +=
                            interpolated<true>(image, at, slopes[v], threadIdx.x + k * LANES, n_u, n_v);
                } else {
#pragma unroll
                    for (int k = 0; k < Y_PER_LANE; k++)
                        sum[n][k] +=
                            interpolated<false>(image, at, slopes[v], threadIdx.x + k * LANES, n_u, n_v);
                }
            }
        }
    }
    const int z = z_first + threadIdx.y;
#pragma unroll
    for (int n = 0; n < X_PER_LANE; n++)
#pragma unroll
        for (int k = 0; k < Y_PER_LANE; k++) {
            const int y = y_first + threadIdx.x + k * LANES;
            if (z < n_z && x_first + n < n_x && y < n_y)
                volume[((size_t)z * n_x + x_first + n) * n_y + y] += sum[n][k];
        }
}

// Add the projection of volume to the images: the transpose of back_affine_cuda, same arguments.
// A pixel follows its ray layer by layer of z, or of x where the beam is nearer to x. In a layer its footprint,
// |u| < 1 and |v| < 1 from the pixel, is a parallelogram about the point that lands on the pixel: all voxels of
// the rectangle around it are tried, and the weights decide.
// Grid: x over ROWS pixels along u, y over views, z over LANES pixels along v.
extern "C" __global__ void __launch_bounds__(BLOCK)
    forward_affine_cuda(const float* __restrict__ volume, const double* __restrict__ affine,
                        float* __restrict__ images, int n_views, int n_u, int n_v, int n_z, int n_x, int n_y) {
    const int u = blockIdx.x * ROWS + threadIdx.y, v = blockIdx.z * LANES + threadIdx.x, view = blockIdx.y;
    if (u >= n_u || v >= n_v) return;
    const double* to_u = affine + 8 * (size_t)view;
    const double* to_v = to_u + 4;
    const double across_x = to_u[0] * to_v[1] - to_u[1] * to_v[0], across_z = to_u[2] * to_v[1] - to_u[1] * to_v[2];
    const bool along_z = fabs(across_x) >= fabs(across_z);
    const double det = along_z ? across_x : across_z;
    const int across = along_z ? 0 : 2;  // column of the axis across; the other one is that of the layers
    const double a = to_u[across], b = to_u[1], c = to_v[across], d = to_v[1];
    const int n_layers = along_z ? n_z : n_x, n_across = along_z ? n_x : n_z;
    const size_t layer_stride = (size_t)(along_z ? n_x : 1) * n_y, across_stride = (size_t)(along_z ? 1 : n_x) * n_y;
    // index (p, y) in layer i lands at (a p + b y + u_zero + i u_layer, c p + d y + v_zero + i v_layer)
    const double u_layer = to_u[2 - across], v_layer = to_v[2 - across];
    const double middle = 0.5 * (n_across - 1), middle_y = 0.5 * (n_y - 1), middle_layer = 0.5 * (n_layers - 1);
    const double u_zero = to_u[3] - a * middle - b * middle_y - u_layer * middle_layer;
    const double v_zero = to_v[3] - c * middle - d * middle_y - v_layer * middle_layer;
    const bool is_regular = fabs(det) > 1e-9;  // else the beam runs along y: try every voxel
    const double reach = is_regular ? (fabs(d) + fabs(b)) / fabs(det) : 0.0;
    const double reach_y = is_regular ? (fabs(a) + fabs(c)) / fabs(det) : 0.0;
    int first = 0, stop = n_layers;
    if (is_regular)
        crossing((d * (u - u_zero) - b * (v - v_zero)) / det, -(d * u_layer - b * v_layer) / det, -1.0 - reach,
                 n_across + reach, n_layers, &first, &stop);
    float sum = 0.0f;
    for (int layer = first; layer < stop; layer++) {
        const double u_left = u - u_zero - layer * u_layer, v_left = v - v_zero - layer * v_layer;
        int p_first = 0, p_last = n_across - 1, y_first = 0, y_last = n_y - 1;
        if (is_regular) {
            const double p = (d * u_left - b * v_left) / det, y = (a * v_left - c * u_left) / det;
            p_first = (int)fmin(fmax(ceil(p - reach), 0.0), (double)n_across);
            p_last = (int)fmax(fmin(floor(p + reach), n_across - 1.0), -1.0);
            y_first = (int)fmin(fmax(ceil(y - reach_y), 0.0), (double)n_y);
            y_last = (int)fmax(fmin(floor(y + reach_y), n_y - 1.0), -1.0);
        }
        for (int p = p_first; p <= p_last; p++) {
            const float* voxel = volume + layer * layer_stride + p * across_stride;
            const float du = (float)(a * p + b * y_first - u_left), dv = (float)(c * p + d * y_first - v_left);
            for (int y = y_first; y <= y_last; y++) {
                const float weight_u = 1.0f - fabsf(du + (float)b * (y - y_first));
                const float weight_v = 1.0f - fabsf(dv + (float)d * (y - y_first));
                if (weight_u > 0.0f && weight_v > 0.0f) sum += weight_u * weight_v * __ldg(voxel + y);
            }
        }
    }
    images[((size_t)view * n_u + u) * n_v + v] += sum;
}
