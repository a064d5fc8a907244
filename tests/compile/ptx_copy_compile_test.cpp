// Every wrapper of asynchronous copies is one instruction that ptxas knows: kernels that use them
// all, at every rank and for every pair of reduction and type, compile for sm_90a.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kiln/error.hpp"
#include "runtime/cubin_compiler.hpp"
#include "runtime/tensor_map.hpp"

namespace kiln {
namespace {

std::string kernel_of(const std::string& body) {
  return "#include \"device/ptx.hpp\"\nusing namespace kiln;\nusing namespace kiln::ptx;\n"
         "struct S { alignas(1024) u8 box[4096]; alignas(128) TensorMap map; Barrier full; };\n"
         "struct K {\n  struct Params { TensorMap map; TensorMap* made; u8* data; u16 mask; };\n"
         "  static constexpr int kThreads = 128;\n  DEV static void run(const Params& p) {\n"
         "    S& s = shared<S>();\n" +
         body + "\n  }\n};\nKILN_KERNEL(K)\n";
}

/// Throws what the compiler complains of.
void compile(const std::string& body) { cubin_compiler().compile(kernel_of(body)); }

#define KILN_NEED_COMPILER()      \
  try {                           \
    cubin_compiler().toolchain(); \
  } catch (const Error& error) {  \
    GTEST_SKIP() << error.what(); \
  }

const std::vector<std::string> kReductions = {"add", "min", "max", "bit_and", "bit_or", "bit_xor"};
const std::vector<std::string> kElements = {"u8",  "bf16", "fp32", "u16",  "u32",
                                            "s32", "u64",  "s64",  "fp16", "fp64"};

TEST(PtxCopyCompile, TensorCopiesOfEveryRank) {
  KILN_NEED_COMPILER();
  std::string body, at;
  for (int rank = 1; rank <= 5; ++rank) {
    at.append(", ").append(std::to_string(rank));
    const std::string d = std::to_string(rank).append("d");
    body += "tma_load_" + d + "(&p.map, &s.full, s.box" + at + ");\n";
    body += "tma_load_" + d + "_multicast(&p.map, &s.full, s.box" + at + ", p.mask);\n";
    body += "tma_store_" + d + "(&p.map, s.box" + at + ");\n";
    body += "tma_prefetch_" + d + "(&p.map" + at + ");\n";
    for (const std::string& op : kReductions)
      body += "tma_reduce_" + d + "<Reduction::" + op + ">(&p.map, s.box" + at + ");\n";
  }
  body +=
      "tma_prefetch_descriptor(&p.map); tma_store_commit();\n"
      "tma_store_wait_read<1>(); tma_store_wait<0>();\n";
  EXPECT_NO_THROW(compile(body));
}

TEST(PtxCopyCompile, BulkCopies) {
  KILN_NEED_COMPILER();
  std::string body =
      "bulk_load(p.data, &s.full, s.box, 64); bulk_load_multicast(p.data, &s.full, s.box, 64, "
      "p.mask);\nbulk_store(p.data, s.box, 64); bulk_copy_to_cluster(s.box, &s.full, s.box + 64, "
      "64, 1);\nbulk_prefetch(p.data, 64);\n";
  int global = 0, cluster = 0;
  for (std::size_t op = 0; op < kReductions.size(); ++op)
    for (std::size_t e = 0; e < kElements.size(); ++e) {
      const std::string pair =
          "<Reduction::" + kReductions[op] + ", Element::" + kElements[e] + ">";
      if (reduces_in_global(Reduction(op), Element(e))) {
        ++global;
        body += "bulk_reduce" + pair + "(p.data, s.box, 64);\n";
      }
      if (reduces_in_shared(Reduction(op), Element(e))) {
        ++cluster;
        body += "bulk_reduce_to_cluster" + pair + "(s.box, &s.full, s.box + 64, 64, 1);\n";
      }
    }
  EXPECT_EQ(global, 7 + 6 + 6 + 3 * 4);
  EXPECT_EQ(cluster, 3 + 2 * 5);
  EXPECT_NO_THROW(compile(body));
}

TEST(PtxCopyCompile, CpAsyncAndTensorMaps) {
  KILN_NEED_COMPILER();
  std::string body =
      "cp_async<4>(s.box, p.data); cp_async<8>(s.box, p.data, 3); cp_async<16>(s.box, p.data, 0);\n"
      "cp_async_commit(); cp_async_wait_group<2>(); cp_async_wait_all();\n"
      "cp_async_mbarrier_arrive_noinc(&s.full);\n"
      "fence_proxy_async(); fence_proxy_async_global(); fence_proxy_async_all();\n"
      "tensormap_replace_global_address(&s.map, p.data);\n"
      "tensormap_cp_fenceproxy(p.made, &s.map); fence_proxy_tensormap_acquire(p.made);\n";
  for (int d = 0; d < 5; ++d) {
    const std::string dimension = std::string("<").append(std::to_string(d)).append(">");
    body += "tensormap_replace_global_dim" + dimension + "(&s.map, 64);\n";
    body += "tensormap_replace_box_dim" + dimension + "(&s.map, 64);\n";
    if (d > 0) body += "tensormap_replace_global_stride" + dimension + "(&s.map, 64);\n";
  }
  EXPECT_NO_THROW(compile(body));
}

TEST(PtxCopyCompile, PairsThatNoInstructionHasAreRefused) {
  KILN_NEED_COMPILER();
  EXPECT_THROW(compile("bulk_reduce<Reduction::min, Element::fp32>(p.data, s.box, 64);"), Error);
  EXPECT_THROW(
      compile(
          "bulk_reduce_to_cluster<Reduction::add, Element::fp32>(s.box, &s.full, s.box, 64, 1);"),
      Error);
}

}  // namespace
}  // namespace kiln
