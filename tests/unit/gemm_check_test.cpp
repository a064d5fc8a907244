// Bad input: every argument of gemm, everything that can be wrong with it. The error names the
// argument, nothing is launched and D is untouched.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "arith/host_matrix.hpp"
#include "kiln/kiln.hpp"
#include "ops/gemm/case_run.hpp"
#include "ops/gemm/cases.hpp"
#include "ops/gemm/check.hpp"

namespace kiln {
namespace {

constexpr i64 kM = 20, kN = 136, kK = 272;

/// A valid call on host memory, which a test then spoils.
class Call {
 public:
  explicit Call(ScaleRecipe b_recipe = ScaleRecipe::block_128x128, DType d = DType::bf16) {
    const i64 k_blocks = 3, b_rows = b_recipe == ScaleRecipe::row_1x128 ? kN : 2;
    args = {.a = {matrix(DType::e4m3, kM, kK), matrix(DType::fp32, kM, k_blocks),
                  ScaleRecipe::row_1x128},
            .b = {matrix(DType::e4m3, kN, kK), matrix(DType::fp32, b_rows, k_blocks), b_recipe},
            .d = matrix(d, kM, kN),
            .c = {}};
  }
  TensorView matrix(DType dtype, i64 rows, i64 columns) {
    // Room around, so that a spoilt view still points into memory of ours.
    memory_.push_back(std::vector<std::uint8_t>(
        static_cast<std::size_t>((rows * columns + 4096) * size_of(dtype)), 0));
    return TensorView::row_major(memory_.back().data() + 64, dtype, rows, columns);
  }
  /// Memory of this call's.
  std::uint8_t* room(i64 bytes) {
    memory_.emplace_back(static_cast<std::size_t>(bytes), 0);
    return memory_.back().data();
  }
  void add_c(DType dtype) { args.c = matrix(dtype, kM, kN); }
  std::vector<std::vector<std::uint8_t>> copy() const { return memory_; }

  GemmArgs args;
  Options options{.device = {Device::Kind::cpu}};

 private:
  std::vector<std::vector<std::uint8_t>> memory_;
};

void shift(TensorView& view, i64 bytes) {
  view.data = static_cast<std::uint8_t*>(view.data) + bytes;
}

struct Spoiled {
  const char* name;
  std::function<void(Call&)> spoil;
  const char* words;  // of the message
};

void expect_refused(Call& call, const Spoiled& test) {
  const auto before = call.copy();
  for (const Device::Kind kind : {Device::Kind::cpu, Device::Kind::emu}) {
    call.options.device.kind = kind;
    try {
      gemm(call.args, call.options);
      ADD_FAILURE() << test.name << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument) << test.name << ": " << error.what();
      EXPECT_THAT(error.what(), testing::StartsWith("gemm: ")) << test.name;
      EXPECT_THAT(error.what(), testing::HasSubstr(test.words)) << test.name;
    }
    EXPECT_EQ(call.copy(), before) << test.name << ": memory was written";
  }
}

/// Every way to spoil a view of a call whose C and D are of a type.
std::vector<Spoiled> spoiled_views(DType outputs) {
  std::vector<Spoiled> tests;
  struct Named {
    const char* name;
    std::function<TensorView&(Call&)> view;
    DType dtype;
  };
  const Named views[] = {
      {"a", [](Call& c) -> TensorView& { return c.args.a.values; }, DType::e4m3},
      {"a.scales", [](Call& c) -> TensorView& { return c.args.a.scales; }, DType::fp32},
      {"b", [](Call& c) -> TensorView& { return c.args.b.values; }, DType::e4m3},
      {"b.scales", [](Call& c) -> TensorView& { return c.args.b.scales; }, DType::fp32},
      {"d", [](Call& c) -> TensorView& { return c.args.d; }, outputs},
      {"c", [](Call& c) -> TensorView& { return *c.args.c; }, outputs}};
  for (const Named& v : views) {
    auto add = [&](auto change, const std::string& words) {
      static std::vector<std::unique_ptr<std::string>> kept;
      kept.push_back(std::make_unique<std::string>(words));
      tests.push_back(
          {v.name, [view = v.view, change](Call& c) { change(view(c)); }, kept.back()->c_str()});
    };
    const std::string name = v.name;
    add([](TensorView& t) { t.data = nullptr; }, name + " is null");
    for (const i64 off : {1, 2, 3})
      if (off % size_of(v.dtype) != 0)
        add([off](TensorView& t) { shift(t, off); }, name + " is at address");
    for (const DType dtype : {DType::fp32, DType::bf16, DType::e4m3}) {
      const bool output = name == "c" || name == "d";
      if (dtype != v.dtype && !(output && dtype != DType::e4m3))
        add([dtype](TensorView& t) { t.dtype = dtype; }, name + " has dtype");
    }
    for (const int i : {0, 1}) {
      add([i](TensorView& t) { t.shape[i] += 1; }, "shape");
      add([i](TensorView& t) { t.shape[i] -= 1; }, "shape");
      add([i](TensorView& t) { t.stride[i] = 0; }, name + ".stride[");
      add([i](TensorView& t) { t.stride[i] = -7; }, name + ".stride[");
      add([i](TensorView& t) { t.stride[i] = i64{1} << 60; }, name + ".stride[");
    }
  }
  return tests;
}

TEST(GemmCheck, EveryViewSpoiledInEveryWayIsRefused) {
  for (const DType outputs : {DType::bf16, DType::fp32}) {
    const std::vector<Spoiled> tests = spoiled_views(outputs);
    EXPECT_GT(tests.size(), 70u);
    for (const Spoiled& test : tests) {
      Call call(ScaleRecipe::block_128x128, outputs);
      call.add_c(outputs);
      test.spoil(call);
      // A changed size of A or B is reported at the view that no longer fits it.
      expect_refused(call, test);
    }
  }
}

TEST(GemmCheck, SizesOutOfRangeAreRefused) {
  const Spoiled tests[] = {
      {"M < 0", [](Call& c) { c.args.a.values.shape[0] = -1; }, "a has M = -1"},
      {"K < 0", [](Call& c) { c.args.a.values.shape[1] = -1; }, "a has K = -1"},
      {"N < 0", [](Call& c) { c.args.b.values.shape[0] = -1; }, "b has N = -1"},
      {"M 2^31", [](Call& c) { c.args.a.values.shape[0] = i64{1} << 31; }, "wanted at most"},
      {"K 2^40", [](Call& c) { c.args.a.values.shape[1] = i64{1} << 40; }, "wanted at most"},
      {"N 2^62", [](Call& c) { c.args.b.values.shape[0] = i64{1} << 62; }, "wanted at most"},
      {"K differs", [](Call& c) { c.args.b.values.shape[1] = kK + 16; }, "b has shape"},
      {"D rows", [](Call& c) { c.args.d.shape[0] = kM - 1; }, "d has shape"},
      {"scales as [K, M]",
       [](Call& c) { std::swap(c.args.a.scales.shape[0], c.args.a.scales.shape[1]); },
       "a.scales has shape [3, 20], wanted [M, cdiv(K,128)] = [20, 3] for recipe row_1x128"},
  };
  for (const Spoiled& test : tests) {
    Call call;
    test.spoil(call);
    expect_refused(call, test);
  }
}

TEST(GemmCheck, RecipesAreATypedPropertyOfTheOperand) {
  Call blocks_on_a;
  blocks_on_a.args.a.recipe = ScaleRecipe::block_128x128;
  expect_refused(blocks_on_a, {"a by blocks", {}, "a.recipe is block_128x128, wanted row_1x128"});
  Call rows_claimed;
  rows_claimed.args.b.recipe = ScaleRecipe::row_1x128;
  expect_refused(rows_claimed,
                 {"b by rows", {}, "b.scales has shape [2, 3], wanted [N, cdiv(K,128)]"});
  Call unknown;
  unknown.args.b.recipe = static_cast<ScaleRecipe>(17);
  expect_refused(unknown, {"unknown", {}, "b.recipe is an unknown recipe"});
}

// ---- overlaps -----------------------------------------------------------------------------------

struct Input {
  const char* name;
  TensorView& (*view)(GemmArgs&);
};
constexpr Input kInputs[] = {
    {"a", [](GemmArgs& args) -> TensorView& { return args.a.values; }},
    {"a.scales", [](GemmArgs& args) -> TensorView& { return args.a.scales; }},
    {"b", [](GemmArgs& args) -> TensorView& { return args.b.values; }},
    {"b.scales", [](GemmArgs& args) -> TensorView& { return args.b.scales; }},
    {"c", [](GemmArgs& args) -> TensorView& { return *args.c; }}};

std::string overlaps(const Input& input) { return std::string("overlaps ") + input.name; }

/// Bytes from the first element to the end of the last one, of rows.
i64 span_of(const TensorView& t) {
  return ((t.shape[0] - 1) * t.stride[0] + t.shape[1]) * size_of(t.dtype);
}

TEST(GemmCheck, AnOutputThatOverlapsAnInputIsRefused) {
  for (const Input& input : kInputs)
    for (const i64 by : {-16, 0, 16}) {
      Call call;
      call.add_c(DType::bf16);
      // Where it begins with C it is C, unless its rows are further apart.
      if (by == 0) call.args.d.stride[0] += 8;
      call.args.d.data = input.view(call.args).data;
      shift(call.args.d, by);
      expect_refused(call, {input.name, {}, overlaps(input).c_str()});
    }
}

TEST(GemmCheck, OneElementInCommonIsRefusedAndNeighboursAreAccepted) {
  for (const Input& input : kInputs)
    for (const bool d_first : {true, false})
      for (const i64 padding : {0, 8})
        for (const bool overlap : {true, false}) {
          Call call(ScaleRecipe::block_128x128, DType::fp32);
          call.add_c(DType::fp32);
          TensorView &d = call.args.d, &view = input.view(call.args);
          d.stride[0] += padding;
          d.data = call.room(1 << 17) + (1 << 16);
          view.data = d.data;
          const i64 common = overlap ? size_of(view.dtype) : 0;
          shift(view, d_first ? span_of(d) - common : common - span_of(view));
          if (overlap) {
            expect_refused(call, {input.name, {}, overlaps(input).c_str()});
          } else {
            EXPECT_NO_THROW(check_gemm(call.args, call.options)) << input.name;
          }
        }
}

/// A call whose D and one input are columns of one matrix of `stride` bytes a row, which begin at
/// these bytes.
void put_beside_each_other(Call& call, TensorView& input, i64 stride, i64 d_at, i64 input_at) {
  std::uint8_t* rows = call.room(1 << 18) + (1 << 16);
  call.args.d.data = rows + d_at;
  call.args.d.stride[0] = stride / size_of(call.args.d.dtype);
  input.data = rows + input_at;
  input.stride[0] = stride / size_of(input.dtype);
}

TEST(GemmCheck, ColumnsOfOneMatrixMayBeInputAndOutput) {
  struct Place {
    const char* name;
    i64 stride, d_at, input_at;
    bool accepted;
  };
  for (const Input& input : kInputs)
    for (const DType type : {DType::bf16, DType::fp32}) {
      Call usual(ScaleRecipe::block_128x128, type);
      usual.add_c(DType::bf16);
      const TensorView& view = input.view(usual.args);
      const i64 size = size_of(view.dtype), row = view.shape[1] * size;
      const i64 d_size = size_of(type), d_row = kN * d_size, both = d_row + row;
      const Place places[] = {
          {"D and the input fill a row", both, 0, d_row, true},
          {"the input and D fill a row", both, row, 0, true},
          {"with gaps", both + 64, 16, d_row + 32, true},
          {"the input a row further on", both, 0, d_row + both, true},
          {"the input two rows before", both, 0, d_row - 2 * both, true},
          {"the last column of D is the input's first", both, 0, d_row - size, false},
          {"the last column of the input is D's first", both, row - d_size, 0, false},
          {"the input's last column lies in D's next row", both, 0, d_row + size, false},
          {"D's last column lies in the input's next row", both, row + d_size, 0, false}};
      for (const Place& place : places) {
        Call call(ScaleRecipe::block_128x128, type);
        call.add_c(DType::bf16);
        put_beside_each_other(call, input.view(call.args), place.stride, place.d_at,
                              place.input_at);
        if (place.accepted) {
          EXPECT_NO_THROW(check_gemm(call.args, call.options)) << input.name << ": " << place.name;
        } else {
          expect_refused(call, {place.name, {}, overlaps(input).c_str()});
        }
      }
      // The same columns with another stride meet somewhere.
      put_beside_each_other(usual, input.view(usual.args), both, 0, d_row);
      input.view(usual.args).stride[0] += 8;
      expect_refused(usual, {"another stride", {}, overlaps(input).c_str()});
    }
}

TEST(GemmCheck, ColumnsOfOneMatrixAreReadAndWrittenWhereTheyAre) {
  for (const Device::Kind kind : {Device::Kind::cpu, Device::Kind::emu}) {
    Call call;  // A and B are 0: D is C
    call.add_c(DType::bf16);
    call.options.device.kind = kind;
    put_beside_each_other(call, *call.args.c, 2 * kN * 2, 0, kN * 2);
    for (i64 i = 0; i < kM; ++i)
      for (i64 j = 0; j < kN; ++j) write_element(*call.args.c, i, j, static_cast<float>(i + j));
    gemm(call.args, call.options);
    for (i64 i = 0; i < kM; ++i)
      for (i64 j = 0; j < kN; ++j) {
        ASSERT_EQ(read_element(call.args.d, i, j), static_cast<float>(i + j)) << i << ", " << j;
        ASSERT_EQ(read_element(*call.args.c, i, j), static_cast<float>(i + j)) << i << ", " << j;
      }
  }
}

TEST(GemmCheck, CThatIsExactlyDIsAccepted) {
  Call call;
  call.args.c = call.args.d;
  EXPECT_EQ(check_gemm(call.args, call.options).c, Addend::bf16);
}

TEST(GemmCheck, OptionsAreChecked) {
  Call budget, workspace, device, second_cpu;
  budget.options.sm_budget = -1;
  expect_refused(budget, {"sm_budget", {}, "options.sm_budget is -1"});
  workspace.options.workspace_bytes = -5;
  expect_refused(workspace, {"workspace", {}, "options.workspace_bytes is -5"});
  device.options.device.index = -1;
  expect_refused(device, {"device", {}, "options.device.index is -1"});
  second_cpu.options.device.index = 1;
  expect_refused(second_cpu, {"cpu 1", {}, "this machine has one CPU"});
  Call policy, arithmetic, threads;
  policy.options.emulation.policy = static_cast<Emulation::Policy>(6);
  expect_refused(policy, {"policy", {}, "options.emulation.policy is 6, wanted a Policy, 0 to 5"});
  arithmetic.options.emulation.arithmetic = static_cast<Emulation::Arithmetic>(3);
  expect_refused(arithmetic, {"arithmetic", {}, "options.emulation.arithmetic is 3"});
  threads.options.emulation.threads = -1;
  expect_refused(threads, {"threads", {}, "options.emulation.threads is -1, wanted 0 or more"});
}

TEST(GemmCheck, CopyPathsFollowTheAddresses) {
  auto problem = [](auto change) {
    Call call;
    // Vectors of bytes are 16-byte aligned here, the views at 64 bytes into them.
    change(call.args);
    return check_gemm(call.args, call.options);
  };
  const GemmProblem usual = problem([](GemmArgs&) {});
  EXPECT_EQ(usual.load, CopyPath::tma);
  EXPECT_EQ(usual.store, CopyPath::tma);
  EXPECT_EQ(problem([](GemmArgs& a) { shift(a.a.values, 8); }).load, CopyPath::plain);
  EXPECT_EQ(problem([](GemmArgs& a) { shift(a.b.values, 1); }).load, CopyPath::plain);
  EXPECT_EQ(problem([](GemmArgs& a) { a.b.values.stride[0] += 8; }).load, CopyPath::plain);
  EXPECT_EQ(problem([](GemmArgs& a) { a.b.values.stride[0] += 16; }).load, CopyPath::tma);
  EXPECT_EQ(problem([](GemmArgs& a) { shift(a.d, 2); }).store, CopyPath::plain);
  EXPECT_EQ(problem([](GemmArgs& a) { a.d.stride[0] += 1; }).store, CopyPath::plain);
  EXPECT_EQ(problem([](GemmArgs& a) { a.d.stride[0] += 8; }).store, CopyPath::tma);
}

TEST(GemmCheck, ScalesAreCopiedWhereTheirLayoutAllows) {
  const auto scales = [](GemmCase t) {
    t.m = 150, t.n = 136;
    GemmCaseRun run(t);
    return check_gemm(run.host_args(), {.device = {Device::Kind::cpu}}).scales;
  };
  const GemmLayout rows = scales_along_rows(150), k = scales_along_k(400);
  EXPECT_EQ(scales({.k = 400, .a_scales = rows, .b_scales = k}), ScaleCopy::tma_mn);
  EXPECT_EQ(scales({.k = 400, .a_scales = k, .b_scales = k}), ScaleCopy::tma_k);
  EXPECT_EQ(scales({.k = 512, .a_scales = rows}), ScaleCopy::tma_mn);
  EXPECT_EQ(scales({.k = 512}), ScaleCopy::tma_k);
  // B's rows of scales, or A's, are not 16 bytes apart.
  EXPECT_EQ(scales({.k = 640, .a_scales = rows}), ScaleCopy::plain);
  EXPECT_EQ(scales({.k = 512, .a_scales = {.column_major = true, .padding = 1}}), ScaleCopy::plain);
  EXPECT_EQ(scales({.k = 512, .a_scales = {.padding = 1}}), ScaleCopy::plain);
  EXPECT_EQ(scales({.k = 512, .b_scales = {.column_major = true}}), ScaleCopy::plain);
  // One of them does not begin on 16 bytes.
  EXPECT_EQ(scales({.k = 512, .a_scales = {.offset = 1}}), ScaleCopy::plain);
  EXPECT_EQ(scales({.k = 512, .b_scales = {.offset = 2}}), ScaleCopy::plain);
  // Threads copy the operands, and so the scales.
  EXPECT_EQ(scales({.k = 512, .a = {.padding = 1}}), ScaleCopy::plain);
  // Of gradients both lie along the rows, or neither is copied.
  const ScaleRecipe by_row = ScaleRecipe::row_1x128;
  EXPECT_EQ(
      scales({.k = 512, .b_recipe = by_row, .a_scales = rows, .b_scales = scales_along_rows(136)}),
      ScaleCopy::tma_mn);
  EXPECT_EQ(scales({.k = 512, .b_recipe = by_row}), ScaleCopy::plain);
}

TEST(GemmCheck, FuzzedCasesHaveScalesOfEveryKind) {
  int count[3] = {};
  for (unsigned seed = 1; seed <= 100; ++seed) {
    GemmCaseRun run(random_gemm_case(seed, 60, 60, 700));
    ++count[static_cast<int>(check_gemm(run.host_args(), {.device = {Device::Kind::cpu}}).scales)];
  }
  for (const int each : count) EXPECT_GE(each, 3);
}

TEST(GemmCheck, AStoreThatEndsInsideSixteenBytesIsPlain) {
  Call call;
  call.args.b.values.shape[0] = call.args.d.shape[1] = kN - 1;
  EXPECT_EQ(check_gemm(call.args, call.options).store, CopyPath::plain);
}

TEST(GemmCheck, EmptyProductsDoNothing) {
  for (const bool no_rows : {true, false}) {
    Call call;
    if (no_rows) {
      call.args.a.values.shape[0] = call.args.a.scales.shape[0] = call.args.d.shape[0] = 0;
      call.args.a.values.data = call.args.d.data = call.args.a.scales.data = nullptr;
    } else {
      call.args.b.values.shape[0] = call.args.b.scales.shape[0] = call.args.d.shape[1] = 0;
      call.args.b.values.data = call.args.d.data = call.args.b.scales.data = nullptr;
    }
    const auto before = call.copy();
    EXPECT_NO_THROW(gemm(call.args, call.options));
    EXPECT_EQ(call.copy(), before);
  }
}

TEST(GemmCheck, NoKLeavesCOrZero) {
  for (const Device::Kind kind : {Device::Kind::cpu, Device::Kind::emu}) {
    Call call(ScaleRecipe::row_1x128, DType::fp32);
    for (TensorView* view :
         {&call.args.a.values, &call.args.a.scales, &call.args.b.values, &call.args.b.scales}) {
      view->shape[1] = 0;
      view->data = nullptr;
    }
    call.options.device.kind = kind;
    write_element(call.args.d, 3, 5, 42);
    gemm(call.args, call.options);
    EXPECT_EQ(read_element(call.args.d, 3, 5), 0);
    call.add_c(DType::bf16);
    write_element(*call.args.c, 3, 5, -1.5);
    gemm(call.args, call.options);
    EXPECT_EQ(read_element(call.args.d, 3, 5), -1.5);
  }
}

}  // namespace
}  // namespace kiln
