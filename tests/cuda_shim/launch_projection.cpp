// The kernels of projection.cu behind plain C functions, for ctypes. First the grid and the block, then the
// kernel's own arguments.
#include "cuda_shim.h"
#include SOURCE_CU

using In = const float*;
using Geometry = const double*;

extern "C" void launch_back_cuda(const dim3* shape, In images, Geometry cosines, Geometry sines, Geometry offsets,
                                 float* volume, int n_views, int n_padded, int pad_before, int n_u, int n_z, int n_x,
                                 int n_y) {
    launch(shape[0], shape[1], [=] {
        back_cuda(images, cosines, sines, offsets, volume, n_views, n_padded, pad_before, n_u, n_z, n_x, n_y);
    });
}

extern "C" void launch_forward_cuda(const dim3* shape, In volume, Geometry cosines, Geometry sines, Geometry offsets,
                                    float* images, int n_views, int n_padded, int pad_before, int n_u, int n_z,
                                    int n_x, int n_y) {
    launch(shape[0], shape[1], [=] {
        forward_cuda(volume, cosines, sines, offsets, images, n_views, n_padded, pad_before, n_u, n_z, n_x, n_y);
    });
}

extern "C" void launch_back_affine_cuda(const dim3* shape, In images, Geometry affine, float* volume, int n_views,
                                        int n_u, int n_v, int n_z, int n_x, int n_y) {
    launch(shape[0], shape[1],
           [=] { back_affine_cuda(images, affine, volume, n_views, n_u, n_v, n_z, n_x, n_y); });
}

extern "C" void launch_forward_affine_cuda(const dim3* shape, In volume, Geometry affine, float* images, int n_views,
                                           int n_u, int n_v, int n_z, int n_x, int n_y) {
    launch(shape[0], shape[1],
           [=] { forward_affine_cuda(volume, affine, images, n_views, n_u, n_v, n_z, n_x, n_y); });
}
