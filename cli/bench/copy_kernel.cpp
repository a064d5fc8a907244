#include "cli/bench/companion.hpp"
#include "runtime/jit.hpp"

namespace kiln::bench {
namespace {

// As in the kernel's source.
struct CopyParams {
  const void* from;
  void* to;
  i64 chunks;
};
constexpr int kThreads = 512, kChunksOfCta = kThreads * 4;

}  // namespace

std::string copy_source() {
  return "#include \"device/chunk.cuh\"\n"
         "namespace kiln {\n"
         "struct Copy {\n"
         "  struct Params {\n"
         "    const Chunk* from;\n"
         "    Chunk* to;\n"
         "    i64 chunks;\n"
         "  };\n"
         "  static constexpr int kThreads = 512, kCtasPerSm = 4;\n"
         "  static DEV void run(const Params& p) {\n"
         "    const i64 first = i64{4} * kThreads * ptx::cta_idx() + ptx::thread_idx();\n"
         "    Chunk chunk[4];\n"
         "    KILN_UNROLL\n"
         "    for (int i = 0; i < 4; ++i)\n"
         "      if (first + i * kThreads < p.chunks) chunk[i] = p.from[first + i * kThreads];\n"
         "    KILN_UNROLL\n"
         "    for (int i = 0; i < 4; ++i)\n"
         "      if (first + i * kThreads < p.chunks) p.to[first + i * kThreads] = chunk[i];\n"
         "  }\n"
         "};\n"
         "}  // namespace kiln\n"
         "using K = kiln::Copy;\n"
         "KILN_KERNEL(K)\n";
}

CopyKernel::CopyKernel(Backend& backend)
    : backend_(backend), kernel_(jit(backend, copy_source(), {.threads = kThreads})) {}

void CopyKernel::start(void* to, const void* from, i64 bytes) const {
  const CopyParams params = {from, to, bytes / 16};
  backend_.launch(kernel_, static_cast<int>((params.chunks + kChunksOfCta - 1) / kChunksOfCta),
                  &params, sizeof params, {});
}

}  // namespace kiln::bench
