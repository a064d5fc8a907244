// Host time of cuLaunchKernelEx by the size of the kernel's one parameter, and of what surrounds
// it.
#include <cuda.h>
#include <cuda_runtime.h>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <vector>
template <int N>
struct alignas(64) P {
  char b[N];
};
template <int N>
__global__ void kernel(const __grid_constant__ P<N> p, int* out) {
  if (out) *out = p.b[N - 1];
}
using Launch = CUresult (*)(const CUlaunchConfig*, CUfunction, void**, void**);
using Get = CUresult (*)(CUcontext*);
Launch launch;
Get get;
using Clock = std::chrono::steady_clock;
double median_us(const std::function<void()>& f) {
  std::vector<double> v;
  for (int b = 0; b < 100; ++b) {
    cudaDeviceSynchronize();
    auto s = Clock::now();
    for (int i = 0; i < 100; ++i) f();
    v.push_back(std::chrono::duration<double, std::micro>(Clock::now() - s).count() / 100);
  }
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}
template <int N>
void measure(bool cluster) {
  cudaFunction_t f;
  cudaGetFuncBySymbol(&f, (const void*)kernel<N>);
  static P<N> p = {};
  int* out = nullptr;
  void* args[] = {&p, &out};
  CUlaunchAttribute a = {};
  a.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
  a.value.clusterDim = {2, 1, 1};
  CUlaunchConfig c = {};
  c.gridDimX = 132;
  c.gridDimY = c.gridDimZ = 1;
  c.blockDimX = 384;
  c.blockDimY = c.blockDimZ = 1;
  c.attrs = &a;
  c.numAttrs = cluster;
  double same = median_us([&] { launch(&c, (CUfunction)f, args, nullptr); });
  int n = 0;
  double fresh = median_us([&] {
    P<N> q;
    memset(&q, ++n, N);
    void* g[] = {&q, &out};
    launch(&c, (CUfunction)f, g, nullptr);
  });
  printf("%s%5d bytes: %.3f us, written afresh %.3f us\n", cluster ? "cluster, " : "", N, same,
         fresh);
}
int main() {
  cudaFree(0);
  cudaDriverEntryPointQueryResult r;
  cudaGetDriverEntryPointByVersion("cuLaunchKernelEx", (void**)&launch, 12000, cudaEnableDefault,
                                   &r);
  cudaGetDriverEntryPointByVersion("cuCtxGetCurrent", (void**)&get, 12000, cudaEnableDefault, &r);
  CUcontext x;
  for (int k = 0; k < 2; ++k) {
    measure<64>(false);
    measure<128>(false);
    measure<384>(false);
    measure<640>(false);
    measure<896>(false);
    measure<1024>(false);
    measure<2048>(false);
    measure<896>(true);
  }
  printf("cuCtxGetCurrent %.4f us\n", median_us([&] { get(&x); }));
}
