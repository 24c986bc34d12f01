// Just enough of CUDA C++ to run our kernels on a CPU: one std::thread per thread of a block, a real barrier for
// __syncthreads, blocks one after another, so that a static serves as the block's shared memory.
#pragma once
#include <algorithm>
#include <atomic>
#include <barrier>
#include <cmath>
#include <cstddef>
#include <thread>
#include <vector>

struct dim3 {
    unsigned x, y, z;
};

inline thread_local dim3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
inline std::barrier<>* block_barrier = nullptr;

#define __global__
#define __device__ static
#define __shared__ static
#define __launch_bounds__(...)
inline void __syncthreads() { block_barrier->arrive_and_wait(); }
template <typename T>
inline T __ldg(const T* address) {
    return *address;
}
template <typename T>
inline T atomicMax(T* address, T value) {
    std::atomic_ref<T> there(*address);
    T before = there.load();
    while (before < value && !there.compare_exchange_weak(before, value)) {
    }
    return before;
}
using std::max;
using std::min;

// A thread that returns early from a block must not be waited for there: the block's end is another barrier.
template <typename Kernel>
void launch(dim3 grid, dim3 block, Kernel kernel) {
    const unsigned n_threads = block.x * block.y * block.z;
    std::barrier<> within(n_threads), end(n_threads);
    gridDim = grid, blockDim = block, block_barrier = &within;
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < n_threads; t++)
        threads.emplace_back([=, &end] {
            threadIdx = {t % block.x, t / block.x % block.y, t / (block.x * block.y)};
            for (unsigned b = 0; b < grid.x * grid.y * grid.z; b++) {
                blockIdx = {b % grid.x, b / grid.x % grid.y, b / (grid.x * grid.y)};
                kernel();
                end.arrive_and_wait();
            }
        });
    for (auto& thread : threads) thread.join();
}
