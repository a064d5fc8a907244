#include "tests/support/tensor_core_probe.hpp"

#include <cstring>

#include "runtime/jit.hpp"

namespace kiln::test {
namespace {

constexpr const char* kStepSource = R"(
#include "device/load.cuh"
#include "device/mma_sm90.cuh"
using namespace kiln;
struct K {
  struct Params { const u8* a; const u8* b; const float* c; float* d; };
  static constexpr int kThreads = 128;
  struct Smem { alignas(1024) u8 a[64 * 128]; alignas(1024) u8 b[16 * 128]; };
  DEV static void run(const Params& p) {
    Smem& smem = ptx::shared<Smem>();
    const int warp = ptx::warp_idx(), lane = ptx::lane_idx();
    const i64 tile = ptx::cta_idx();
    copy_tile_by_threads<64, 4>(p.a + tile * 2048, 32, 16, smem.a, 0, 32, 0, 64, warp);
    copy_tile_by_threads<16, 4>(p.b + tile * 512, 32, 16, smem.b, 0, 32, 0, 16, warp);
    ptx::fence_proxy_async();
    ptx::cta_sync();
    float d[8];
    const i64 first = tile * 1024 + (warp * 16 + lane / 4) * 16 + lane % 4 * 2;
    KILN_UNROLL
    for (int i = 0; i < 8; ++i) d[i] = p.c[first + i / 4 * 8 + i / 2 % 2 * 128 + i % 2];
    ptx::wgmma_fence();
    ptx::wgmma_e4m3<16>(d, ptx::wgmma_descriptor(smem.a), ptx::wgmma_descriptor(smem.b), true);
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>(d);
    KILN_UNROLL
    for (int i = 0; i < 8; ++i) p.d[first + i / 4 * 8 + i / 2 % 2 * 128 + i % 2] = d[i];
  }
};
KILN_KERNEL(K)
)";
constexpr int kStepSmem = 64 * 128 + 16 * 128;

constexpr const char* kScalarSource = R"(
#include "device/ptx.hpp"
using namespace kiln;
struct K {
  struct Params { const float* x; const float* y; const float* z; float* fma; float* mul; float* add; u32* packed; int count; };
  static constexpr int kThreads = 128;
  DEV static void run(const Params& p) {
    const int i = ptx::cta_idx() * kThreads + ptx::thread_idx();
    if (i >= p.count) return;
    p.fma[i] = ptx::fma_rn(p.x[i], p.y[i], p.z[i]);
    p.mul[i] = ptx::mul_rn(p.x[i], p.y[i]);
    p.add[i] = ptx::add_rn(p.x[i], p.y[i]);
    p.packed[i] = ptx::pack_bf16x2(p.x[i], p.y[i]);
  }
};
KILN_KERNEL(K)
)";

/// A vector's bytes in a backend's memory.
class Buffer {
 public:
  Buffer(Backend& backend, std::size_t bytes) : backend_(backend), bytes_(bytes) {
    data_ = backend.allocate(bytes);
  }
  Buffer(Backend& backend, const void* from, std::size_t bytes) : Buffer(backend, bytes) {
    backend.copy_in(data_, from, bytes);
  }
  ~Buffer() { backend_.free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void* data() const { return data_; }
  std::vector<u32> words() const {
    std::vector<u32> words(bytes_ / sizeof(u32));
    backend_.copy_out(words.data(), data_, bytes_);
    return words;
  }

 private:
  Backend& backend_;
  void* data_;
  std::size_t bytes_;
};

}  // namespace

std::vector<u32> run_steps(Backend& backend, const StepTiles& tiles) {
  const KernelShape shape{.threads = 128, .cluster = 1, .smem_bytes = kStepSmem};
  const LoadedKernel* kernel = jit(backend, kStepSource, shape);
  const Buffer a(backend, tiles.a.data(), tiles.a.size());
  const Buffer b(backend, tiles.b.data(), tiles.b.size());
  const Buffer c(backend, tiles.c.data(), tiles.c.size() * sizeof(u32));
  const Buffer d(backend, tiles.c.size() * sizeof(u32));
  const void* params[] = {a.data(), b.data(), c.data(), d.data()};
  backend.launch(kernel, tiles.tiles, params, sizeof params, {});
  backend.synchronize();
  return d.words();
}

ScalarResults run_scalars(Backend& backend, const std::vector<u32>& x, const std::vector<u32>& y,
                          const std::vector<u32>& z) {
  const KernelShape shape{.threads = 128, .cluster = 1, .smem_bytes = 0};
  const LoadedKernel* kernel = jit(backend, kScalarSource, shape);
  const std::size_t bytes = x.size() * sizeof(u32);
  const Buffer bx(backend, x.data(), bytes), by(backend, y.data(), bytes),
      bz(backend, z.data(), bytes);
  const Buffer fma(backend, bytes), mul(backend, bytes), add(backend, bytes),
      packed(backend, bytes);
  struct Params {
    const void *x, *y, *z;
    void *fma, *mul, *add, *packed;
    int count;
  } const params = {bx.data(),  by.data(),  bz.data(),     fma.data(),
                    mul.data(), add.data(), packed.data(), static_cast<int>(x.size())};
  backend.launch(kernel, ceil_div(params.count, 128), &params, sizeof params, {});
  backend.synchronize();
  return {fma.words(), mul.words(), add.words(), packed.words()};
}

}  // namespace kiln::test
