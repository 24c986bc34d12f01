// Views resampled in the plane of the detector, and the transpose of that: the arithmetic of warp.py in CUDA C.
//
// Pixel (i, j) of the detector sees the plane at (u, v) = affine (i, j, 1) + field(i, j), between 4 x 4 pixels by cubics.
// A thread owns a pixel of the result and gathers, in both directions: no atomics, and the order of each sum is
// fixed. Lanes of a warp lie along v, or y. Places are worked out in double and less their whole part are float32.
// A pixel of the detector gathers 16 of the plane; one of the plane gathers what may see it, 16 to 36 pixels where a
// view keeps its size. On paper, H200: 61 views of 1024^2 take 25 taps of 25 instructions back, and 150 to begin with:
// 64e6 * 775 / 32 of a warp, of which 132 * 1.75e9 * 4 are issued a second: 1.7 ms, where back-projection takes 10 to 20.
//
// Macros: LANES, ROWS (warps of a block).

#define BLOCK (LANES * ROWS)
#define TAPS 4
#define REACH 2.001    // of a cubic, and for rounding
#define CLOSER 3       // times that the pixels which see a place are searched for
#define FAR 1.0e8      // pixels: as good as beyond everything, and fits an int

// Where the pixels are that may see a place of the plane. (i, j) = inverse ((u, v) - constant - middle) but for `reach`,
// as far as the field strays from its middle. And, from a pixel that sees a place `error` off, no further than
// closer (REACH + |error|), as fast as the field changes.
struct Window {
    double inverse[4];
    double middle[2];
    double reach[2];
    double closer[4];
};

// Keys' cubic, a = -1/2.
__device__ float cubic(float x) {
    x = fabsf(x);
    if (x < 1.0f) return (1.5f * x - 2.5f) * x * x + 1.0f;
    return x < 2.0f ? -0.5f * (x - 1.0f) * (2.0f - x) * (2.0f - x) : 0.0f;
}

// The same at 1 + t, t, 1 - t and 2 - t: of the four around a place t beyond the second, 0 <= t < 1.
template <typename T>
__device__ void cubics(T t, T* weights) {
    const T half = T(0.5), s = 1 - t;
    weights[0] = -half * t * s * s;
    weights[1] = (3 * half * t - 5 * half) * t * t + 1;
    weights[2] = (3 * half * s - 5 * half) * s * s + 1;
    weights[3] = -half * s * t * t;
}

// First of the four nodes around pixel i, and their weights: nodes are the centres of equal parts of the pixels.
__device__ int cubic_nodes(int i, int n_pixels, int n_nodes, double* weights) {
    const double place = fmin(fmax((i + 0.5) * n_nodes / n_pixels - 0.5, 0.0), n_nodes - 1.0);
    cubics(place - floor(place), weights);
    return (int)floor(place) - 1;
}

// moves (n_views, 2, n_u, n_v): the field (n_views, n_across, n_along, 2) at every pixel.
// Grid: x over ROWS pixels along u, y over views, z over LANES pixels along v.
extern "C" __global__ void __launch_bounds__(BLOCK)
    field_cuda(const double* __restrict__ field, float* __restrict__ moves, int n_across, int n_along, int n_u,
               int n_v) {
    const int i = blockIdx.x * ROWS + threadIdx.y, j = blockIdx.z * LANES + threadIdx.x, view = blockIdx.y;
    if (i >= n_u || j >= n_v) return;
    double across[TAPS], along[TAPS];
    const int p_first = cubic_nodes(i, n_u, n_across, across), q_first = cubic_nodes(j, n_v, n_along, along);
    for (int axis = 0; axis < 2; axis++) {
        double total = 0.0;
        for (int l = 0; l < TAPS; l++) {
            const int q = min(max(q_first + l, 0), n_along - 1);
            double knot = 0.0;
            for (int k = 0; k < TAPS; k++) {
                const int p = min(max(p_first + k, 0), n_across - 1);
                knot += across[k] * field[(((size_t)view * n_across + p) * n_along + q) * 2 + axis];
            }
            total += along[l] * knot;
        }
        moves[(((size_t)view * 2 + axis) * n_u + i) * n_v + j] = (float)total;
    }
}

// Overwrite images (n_views, n_u, n_v) with rows [first_row, first_row + n_rows) of planes (n_views, n_padded, n_y), seen
// through affine (n_views, 2, 3) and, if has_moves, moves (n_views, 2, n_u, n_v). If is_absolute, weights count by size.
// Grid: x over ROWS pixels along u, y over views, z over LANES pixels along v.
extern "C" __global__ void __launch_bounds__(BLOCK)
    warp_cuda(const float* __restrict__ planes, const double* __restrict__ affine, const float* __restrict__ moves,
              float* __restrict__ images, int is_absolute, int has_moves, int n_padded, int first_row, int n_rows, int n_y, int n_u,
              int n_v) {
    const int i = blockIdx.x * ROWS + threadIdx.y, j = blockIdx.z * LANES + threadIdx.x, view = blockIdx.y;
    if (i >= n_u || j >= n_v) return;
    const double* to = affine + 6 * (size_t)view;
    const double u = fmin(fmax(to[0] * i + to[1] * j + to[2], -FAR), FAR);
    const double v = fmin(fmax(to[3] * i + to[4] * j + to[5], -FAR), FAR);
    float f = (float)(u - floor(u)), g = (float)(v - floor(v));
    if (has_moves) {
        const float* move = moves + ((size_t)view * 2 * n_u + i) * n_v + j;
        f += __ldg(move);
        g += __ldg(move + (size_t)n_u * n_v);
    }
    const int row = (int)floor(u) + (int)floorf(f) - 1, column = (int)floor(v) + (int)floorf(g) - 1;
    float row_weights[TAPS], weights[TAPS];
    cubics(f - floorf(f), row_weights);
    cubics(g - floorf(g), weights);
    int places[TAPS];
#pragma unroll
    for (int c = 0; c < TAPS; c++) {
        const bool is_there = column + c >= 0 && column + c < n_y;
        if (!is_there) weights[c] = 0.0f;
        if (is_absolute) weights[c] = fabsf(weights[c]), row_weights[c] = fabsf(row_weights[c]);
        places[c] = is_there ? column + c : 0;
    }
    const float* plane = planes + ((size_t)view * n_padded + first_row) * n_y;
    float sum = 0.0f;
#pragma unroll
    for (int r = 0; r < TAPS; r++) {
        if (row + r < 0 || row + r >= n_rows) continue;
        const float* line = plane + (size_t)(row + r) * n_y;
        float part = 0.0f;
#pragma unroll
        for (int c = 0; c < TAPS; c++) part += weights[c] * __ldg(line + places[c]);
        sum += row_weights[r] * part;
    }
    images[((size_t)view * n_u + i) * n_v + j] = sum;
}

// Narrow [*first, *last] to the whole numbers within `reach` of `at`.
__device__ void narrow(double at, double reach, int* first, int* last) {
    *first = (int)fmax((double)*first, fmin(ceil(at - reach), FAR));
    *last = (int)fmin((double)*last, fmax(floor(at + reach), -FAR));
}

// Overwrite rows [first_row, first_row + n_rows) of planes with the transpose of warp_cuda of images.
// Grid: x over ROWS rows of the plane, y over views, z over LANES of its columns.
extern "C" __global__ void __launch_bounds__(BLOCK)
    warp_transpose_cuda(const float* __restrict__ images, const double* __restrict__ affine,
                        const Window* __restrict__ windows, const float* __restrict__ moves,
                        float* __restrict__ planes, int is_absolute, int has_moves, int n_padded, int first_row,
                        int n_rows, int n_y, int n_u, int n_v) {
    const int r = blockIdx.x * ROWS + threadIdx.y, c = blockIdx.z * LANES + threadIdx.x, view = blockIdx.y;
    if (r >= n_rows || c >= n_y) return;
    const double* to = affine + 6 * (size_t)view;
    const Window* window = windows + view;
    const double* inverse = window->inverse;
    const float* move_u = moves + (has_moves ? (size_t)view * 2 * n_u * n_v : 0);
    const float* move_v = move_u + (has_moves ? (size_t)n_u * n_v : 0);
    const double u_left = r - to[2] - window->middle[0], v_left = c - to[5] - window->middle[1];
    double i_at = inverse[0] * u_left + inverse[1] * v_left, j_at = inverse[2] * u_left + inverse[3] * v_left;
    int i_first = 0, i_last = n_u - 1, j_first = 0, j_last = n_v - 1;
    narrow(i_at, window->reach[0], &i_first, &i_last);
    narrow(j_at, window->reach[1], &j_first, &j_last);
    for (int k = 0; has_moves && k < CLOSER && i_first <= i_last && j_first <= j_last; k++) {
        const int i = (int)fmin(fmax(rint(i_at), (double)i_first), (double)i_last);
        const int j = (int)fmin(fmax(rint(j_at), (double)j_first), (double)j_last);
        const size_t at = (size_t)i * n_v + j;
        const double error_u = r - (to[0] * i + to[1] * j + to[2] + __ldg(move_u + at));
        const double error_v = c - (to[3] * i + to[4] * j + to[5] + __ldg(move_v + at));
        const double most_u = REACH + fabs(error_u), most_v = REACH + fabs(error_v);
        narrow(i, window->closer[0] * most_u + window->closer[1] * most_v, &i_first, &i_last);
        narrow(j, window->closer[2] * most_u + window->closer[3] * most_v, &j_first, &j_last);
        i_at = i + inverse[0] * error_u + inverse[1] * error_v;
        j_at = j + inverse[2] * error_u + inverse[3] * error_v;
    }
    const float u_step = (float)to[1], v_step = (float)to[4];
    float sum = 0.0f;
    const int j_middle = (j_first + j_last) / 2;
    for (int i = i_first; i <= i_last; i++) {
        const float du = (float)(to[0] * i + to[1] * j_middle + to[2] - r);
        const float dv = (float)(to[3] * i + to[4] * j_middle + to[5] - c);
        const size_t line = (size_t)i * n_v;
        for (int j = j_first; j <= j_last; j++) {
            float p = du + u_step * (j - j_middle), q = dv + v_step * (j - j_middle);
            if (has_moves) {
                p += __ldg(move_u + line + j);
                q += __ldg(move_v + line + j);
            }
            const float weight = cubic(p) * cubic(q);
            sum += (is_absolute ? fabsf(weight) : weight) * __ldg(images + (size_t)view * n_u * n_v + line + j);
        }
    }
    planes[((size_t)view * n_padded + first_row + r) * n_y + c] = sum;
}
