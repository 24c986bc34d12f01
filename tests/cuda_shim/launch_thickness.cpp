// The kernels of thickness.cu behind plain C functions, for ctypes. First the grid and the block, then the kernel's own
// arguments.
#include "cuda_shim.h"
#include SOURCE_CU

using In = const VALUE*;
using Weights = const long long*;

extern "C" void launch_spread_distance_cuda(const dim3* shape, In source, Weights weights, VALUE* target, int axis,
                                            int n_z, int n_y, int n_x) {
    launch(shape[0], shape[1], [=] { spread_distance_cuda(source, weights, target, axis, n_z, n_y, n_x); });
}

extern "C" void launch_mark_balls_cuda(const dim3* shape, In squared, const int* offsets, const int* tables,
                                       Weights shells, Weights enclosing, unsigned char* kept, int n_shells,
                                       int n_entries, int shift, int n_z, int n_y, int n_x) {
    launch(shape[0], shape[1], [=] {
        mark_balls_cuda(squared, offsets, tables, shells, enclosing, kept, n_shells, n_entries, shift, n_z, n_y, n_x);
    });
}

extern "C" void launch_paint_balls_cuda(const dim3* shape, Weights places, In squared, Weights weights, VALUE* covered,
                                        int n_z, int n_y, int n_x) {
    launch(shape[0], shape[1], [=] { paint_balls_cuda(places, squared, weights, covered, n_z, n_y, n_x); });
}
