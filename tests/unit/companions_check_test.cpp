// What quantize, swiglu, permute and unpermute refuse: the argument is named, and nothing is
// written.
#include <algorithm>
#include <functional>

#include "ops/permute/api.hpp"
#include "ops/quantize/api.hpp"
#include "ops/swiglu/api.hpp"
#include "tests/support/runtime_support.hpp"
#include "tests/unit/runtime_allocation_count.hpp"

namespace kiln {
namespace {

constexpr Options kCpu{.device = {Device::Kind::cpu}};
constexpr ErrorCode kInvalid = ErrorCode::invalid_argument;

/// Memory for every tensor, all of it 0xEE.
class Arena {
 public:
  Arena() { std::fill(std::begin(bytes_), std::end(bytes_), u8{0xEE}); }
  void* at(int kib) { return bytes_ + (kib << 10); }
  bool untouched() const {
    return std::all_of(std::begin(bytes_), std::end(bytes_), [](u8 b) { return b == 0xEE; });
  }

 private:
  alignas(256) u8 bytes_[512 << 10];
};

template <class Args>
struct Refusal {
  const char* name;
  std::vector<std::string> words;
  std::function<void(Args&, Options&)> change;
};

// ---- quantize -----------------------------------------------------------------------------------

class QuantizeCheck : public testing::Test {
 protected:
  QuantizeArgs args() {
    return {
        .x = TensorView::row_major(arena.at(0), DType::bf16, 130, 200),
        .out = {TensorView::row_major(arena.at(64), DType::e4m3, 130, 200),
                TensorView::row_major(arena.at(128), DType::fp32, 130, 2), ScaleRecipe::row_1x128},
        .transposed = ScaledTensor{TensorView::row_major(arena.at(192), DType::e4m3, 200, 130),
                                   TensorView::row_major(arena.at(256), DType::fp32, 200, 2),
                                   ScaleRecipe::row_1x128}};
  }
  Arena arena;
};

TEST_F(QuantizeCheck, RefusesAndWritesNothing) {
  using Refuse = Refusal<QuantizeArgs>;
  const Refuse refusals[] = {
      {"null", {"quantize: x is null"}, [](auto& a, auto&) { a.x.data = nullptr; }},
      {"dtype", {"x has dtype e4m3"}, [](auto& a, auto&) { a.x.dtype = DType::e4m3; }},
      {"misaligned",
       {"x is at address", "multiple of 2"},
       [](auto& a, auto&) { a.x.data = static_cast<char*>(a.x.data) + 1; }},
      {"columns apart",
       {"x.stride[1] is 2"},
       [](auto& a, auto&) {
         a.x.stride = {400, 2};
       }},
      {"row stride", {"x.stride[0] is 199"}, [](auto& a, auto&) { a.x.stride[0] = 199; }},
      {"negative", {"x has M = -1"}, [](auto& a, auto&) { a.x.shape[0] = -1; }},
      {"out dtype",
       {"out.values has dtype bf16"},
       [](auto& a, auto&) { a.out.values.dtype = DType::bf16; }},
      {"out shape",
       {"out.values has shape [130, 199], wanted [M, K] = [130, 200]"},
       [](auto& a, auto&) { a.out.values.shape[1] = 199; }},
      {"scales shape",
       {"out.scales has shape [130, 1], wanted [M, cdiv(K,128)] = [130, 2]"},
       [](auto& a, auto&) { a.out.scales.shape[1] = 1; }},
      {"scales dtype",
       {"out.scales has dtype bf16"},
       [](auto& a, auto&) { a.out.scales.dtype = DType::bf16; }},
      {"scales in one place",
       {"out.scales has strides [1, 1]", "overlap"},
       [](auto& a, auto&) {
         a.out.scales.stride = {1, 1};
       }},
      {"recipe of blocks",
       {"out.scales has shape [130, 2], wanted [cdiv(M,128), cdiv(K,128)] = [2, 2]"},
       [](auto& a, auto&) { a.out.recipe = ScaleRecipe::block_128x128; }},
      {"recipe of the transposed",
       {"transposed.recipe is block_128x128", "row_1x128"},
       [](auto& a, auto&) {
         a.transposed->recipe = ScaleRecipe::block_128x128;
         a.transposed->scales.shape = {2, 2};
       }},
      {"transposed scales",
       {"transposed.scales has shape [199, 2], wanted [K, cdiv(M,128)] = [200, 2]"},
       [](auto& a, auto&) { a.transposed->scales.shape[0] = 199; }},
      {"over x",
       {"out.values", "overlaps x"},
       [](auto& a, auto&) { a.out.values.data = a.x.data; }},
      {"over each other",
       {"transposed.scales", "overlaps out.scales"},
       [](auto& a, auto&) { a.transposed->scales.data = a.out.scales.data; }},
      {"batch",
       {"out.values is a batch of 1, wanted 2"},
       [](auto& a, auto&) { a.x = a.x.batched(2); }},
      {"rounding",
       {"rounding is 7"},
       [](auto& a, auto&) { a.rounding = static_cast<ScaleRounding>(7); }},
      {"budget", {"options.sm_budget is -1"}, [](auto&, auto& o) { o.sm_budget = -1; }},
  };
  for (const Refuse& refusal : refusals) {
    SCOPED_TRACE(refusal.name);
    QuantizeArgs changed = args();
    Options options = kCpu;
    refusal.change(changed, options);
    expect_error(kInvalid, refusal.words, [&] { quantize(changed, options); });
    expect_error(kInvalid, refusal.words, [&] { quantize_prepare(changed, options); });
  }
  EXPECT_TRUE(arena.untouched());
}

TEST_F(QuantizeCheck, NothingIsNothing) {
  QuantizeArgs empty = args();
  empty.x.shape[0] = empty.out.values.shape[0] = empty.out.scales.shape[0] = 0;
  empty.transposed.reset();
  quantize(empty, kCpu);
  quantize(empty);  // no GPU is looked for
  EXPECT_TRUE(arena.untouched());
  EXPECT_EQ(quantize_workspace_bytes(args(), kCpu), 0);
}

// ---- swiglu -------------------------------------------------------------------------------------

class SwigluCheck : public testing::Test {
 protected:
  SwigluArgs args() {
    return {.x = TensorView::row_major(arena.at(0), DType::bf16, 30, 400),
            .out = {TensorView::row_major(arena.at(64), DType::e4m3, 30, 200),
                    TensorView::row_major(arena.at(128), DType::fp32, 30, 2)},
            .clamp = 2.0F,
            .weights = TensorView::vector(arena.at(192), DType::fp32, 30),
            .rows = TensorView::vector(arena.at(256), DType::int32, 1)};
  }
  Arena arena;
};

TEST_F(SwigluCheck, RefusesAndWritesNothing) {
  using Refuse = Refusal<SwigluArgs>;
  const Refuse refusals[] = {
      {"fp32",
       {"swiglu: x has dtype fp32, wanted bf16"},
       [](auto& a, auto&) { a.x.dtype = DType::fp32; }},
      {"odd",
       {"x has shape [30, 399], wanted [M, 2H]"},
       [](auto& a, auto&) { a.x.shape[1] = 399; }},
      {"out dtype",
       {"out.values has dtype fp32, wanted e4m3 or bf16"},
       [](auto& a, auto&) { a.out.values.dtype = DType::fp32; }},
      {"scales beside bf16",
       {"out.scales is not null"},
       [](auto& a, auto&) { a.out.values.dtype = DType::bf16; }},
      {"scales",
       {"out.scales has shape [30, 1], wanted [M, cdiv(H,128)] = [30, 2]"},
       [](auto& a, auto&) { a.out.scales.shape[1] = 1; }},
      {"recipe",
       {"out.recipe is block_128x128"},
       [](auto& a, auto&) { a.out.recipe = ScaleRecipe::block_128x128; }},
      {"clamp", {"clamp is 0"}, [](auto& a, auto&) { a.clamp = 0.0F; }},
      {"weights",
       {"weights has shape [29, 1], wanted [M, 1] = [30, 1]"},
       [](auto& a, auto&) { a.weights->shape[0] = 29; }},
      {"rows",
       {"rows has shape [2, 1], wanted [1, 1]"},
       [](auto& a, auto&) { a.rows->shape[0] = 2; }},
      {"in place",
       {"out.values", "overlaps x"},
       [](auto& a, auto&) { a.out.values.data = a.x.data; }},
      {"report",
       {"options.index_report is not aligned"},
       [](auto&, auto& o) { o.index_report = reinterpret_cast<std::int32_t*>(4); }},
  };
  for (const Refuse& refusal : refusals) {
    SCOPED_TRACE(refusal.name);
    SwigluArgs changed = args();
    Options options = kCpu;
    refusal.change(changed, options);
    expect_error(kInvalid, refusal.words, [&] { swiglu(changed, options); });
  }
  EXPECT_TRUE(arena.untouched());
}

// ---- permute, unpermute -------------------------------------------------------------------------

class PermuteCheck : public testing::Test {
 protected:
  PermuteArgs args() {
    const auto matrix = [&](int kib, DType dtype, i64 rows, i64 columns) {
      return TensorView::row_major(arena.at(kib), dtype, rows, columns);
    };
    return {
        .ids = matrix(0, DType::int32, 20, 3),
        .groups = 7,
        .alignment = 8,
        .ends = TensorView::vector(arena.at(32), DType::int32, 7),
        .sources = TensorView::vector(arena.at(64), DType::int32, 109),
        .rows = matrix(96, DType::int32, 20, 3),
        .values = MovedRows{matrix(128, DType::e4m3, 20, 64), matrix(160, DType::e4m3, 109, 64)},
        .scales = MovedRows{matrix(192, DType::fp32, 20, 2), matrix(224, DType::fp32, 109, 2)},
        .weights = MovedRows{matrix(256, DType::fp32, 20, 3),
                             TensorView::vector(arena.at(288), DType::fp32, 109)}};
  }
  Arena arena;
};

TEST_F(PermuteCheck, RefusesAndWritesNothing) {
  using Refuse = Refusal<PermuteArgs>;
  const Refuse refusals[] = {
      {"ids",
       {"permute: ids has dtype fp32, wanted int32 or int64"},
       [](auto& a, auto&) { a.ids.dtype = DType::fp32; }},
      {"no group", {"groups is 0, wanted 1 to 1024"}, [](auto& a, auto&) { a.groups = 0; }},
      {"groups", {"groups is 1025"}, [](auto& a, auto&) { a.groups = 1025; }},
      {"alignment", {"alignment is 0"}, [](auto& a, auto&) { a.alignment = 0; }},
      {"too few rows",
       {"sources has 108 rows", "most_permuted_rows(20, 3, 7, 8) = 109"},
       [](auto& a, auto&) { a.sources.shape[0] = 108; }},
      {"ends",
       {"ends has shape [6, 1], wanted [7, 1]"},
       [](auto& a, auto&) { a.ends.shape[0] = 6; }},
      {"rows",
       {"rows has shape [20, 2], wanted [T, J] = [20, 3]"},
       [](auto& a, auto&) { a.rows.shape[1] = 2; }},
      {"types",
       {"values.to has dtype bf16, wanted e4m3"},
       [](auto& a, auto&) { a.values->to.dtype = DType::bf16; }},
      {"values",
       {"values.to has shape [108, 64], wanted [R, H] = [109, 64]"},
       [](auto& a, auto&) { a.values->to.shape[0] = 108; }},
      {"scales",
       {"scales.from has dtype e4m3"},
       [](auto& a, auto&) { a.scales->from.dtype = DType::e4m3; }},
      {"weights",
       {"weights.from has shape [20, 2], wanted [T, J] = [20, 3]"},
       [](auto& a, auto&) { a.weights->from.shape[1] = 2; }},
      {"in place",
       {"values.to", "overlaps values.from"},
       [](auto& a, auto&) { a.values->to.data = a.values->from.data; }},
      {"outputs",
       {"rows", "overlaps sources"},
       [](auto& a, auto&) { a.rows.data = a.sources.data; }},
  };
  for (const Refuse& refusal : refusals) {
    SCOPED_TRACE(refusal.name);
    PermuteArgs changed = args();
    Options options = kCpu;
    refusal.change(changed, options);
    expect_error(kInvalid, refusal.words, [&] { permute(changed, options); });
  }
  EXPECT_TRUE(arena.untouched());
}

TEST_F(PermuteCheck, UnpermuteRefusesAndWritesNothing) {
  const UnpermuteArgs right{.x = TensorView::row_major(arena.at(0), DType::bf16, 50, 64),
                            .rows = TensorView::row_major(arena.at(32), DType::int32, 20, 3),
                            .out = TensorView::row_major(arena.at(64), DType::bf16, 20, 64),
                            .weights = TensorView::row_major(arena.at(96), DType::fp32, 20, 3)};
  using Refuse = Refusal<UnpermuteArgs>;
  const Refuse refusals[] = {
      {"x", {"unpermute: x has dtype e4m3"}, [](auto& a, auto&) { a.x.dtype = DType::e4m3; }},
      {"columns",
       {"x has shape [50, 63], wanted [R, H] with H = 64"},
       [](auto& a, auto&) { a.x.shape[1] = 63; }},
      {"tokens",
       {"rows has shape [19, 3], wanted [T, J] with T = 20"},
       [](auto& a, auto&) { a.rows.shape[0] = 19; }},
      {"rows", {"rows has dtype int64"}, [](auto& a, auto&) { a.rows.dtype = DType::int64; }},
      {"weights", {"weights has shape [20, 2]"}, [](auto& a, auto&) { a.weights->shape[1] = 2; }},
      {"in place", {"out", "overlaps x"}, [](auto& a, auto&) { a.out.data = a.x.data; }},
  };
  for (const Refuse& refusal : refusals) {
    SCOPED_TRACE(refusal.name);
    UnpermuteArgs changed = right;
    Options options = kCpu;
    refusal.change(changed, options);
    expect_error(kInvalid, refusal.words, [&] { unpermute(changed, options); });
  }
  EXPECT_TRUE(arena.untouched());
}

TEST_F(QuantizeCheck, AllocatesNothing) {
  const QuantizeArgs right = args();
  const auto before = allocation_count();
  check_quantize(right, kCpu);
  EXPECT_EQ(allocation_count(), before);
}
TEST_F(SwigluCheck, AllocatesNothing) {
  const SwigluArgs right = args();
  const auto before = allocation_count();
  check_swiglu(right, kCpu);
  EXPECT_EQ(allocation_count(), before);
}
TEST_F(PermuteCheck, AllocatesNothing) {
  const PermuteArgs right = args();
  const auto before = allocation_count();
  check_permute(right, kCpu);
  EXPECT_EQ(allocation_count(), before);
}

TEST(Permute, MostRows) {
  EXPECT_EQ(most_permuted_rows(100, 8, 256), 800);
  EXPECT_EQ(most_permuted_rows(100, 8, 256, 128), 800 + 256 * 127);
  EXPECT_EQ(most_permuted_rows(3, 1, 256, 128), 3 + 3 * 127);
  EXPECT_EQ(permute_workspace_bytes({}), 0);
}

}  // namespace
}  // namespace kiln
