// The kernels of warp.cu behind plain C functions, for ctypes. First the grid and the block, then the kernel's own
// arguments.
#include "cuda_shim.h"
#include SOURCE_CU

using In = const float*;
using Geometry = const double*;

extern "C" void launch_field_cuda(const dim3* shape, Geometry field, float* moves, int n_across, int n_along, int n_u,
                                  int n_v) {
    launch(shape[0], shape[1], [=] { field_cuda(field, moves, n_across, n_along, n_u, n_v); });
}

extern "C" void launch_warp_cuda(const dim3* shape, In planes, Geometry affine, In moves, float* images, int is_absolute, int has_moves,
                                 int n_padded, int first_row, int n_rows, int n_y, int n_u, int n_v) {
    launch(shape[0], shape[1], [=] {
        warp_cuda(planes, affine, moves, images, is_absolute, has_moves, n_padded, first_row, n_rows, n_y, n_u, n_v);
    });
}

extern "C" void launch_warp_transpose_cuda(const dim3* shape, In images, Geometry affine, const Window* windows,
                                           In moves, float* planes, int is_absolute, int has_moves, int n_padded, int first_row,
                                           int n_rows, int n_y, int n_u, int n_v) {
    launch(shape[0], shape[1], [=] {
        warp_transpose_cuda(images, affine, windows, moves, planes, is_absolute, has_moves, n_padded, first_row, n_rows, n_y, n_u,
                            n_v);
    });
}
