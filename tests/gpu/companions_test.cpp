// The operations beside the GEMMs on the H200: every byte of memory equals the model's.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "arith/codecs.hpp"
#include "arith/host_matrix.hpp"
#include "ops/guarded_call.hpp"
#include "ops/permute/api.hpp"
#include "ops/permute/case_run.hpp"
#include "ops/quantize/api.hpp"
#include "ops/quantize/case_run.hpp"
#include "ops/swiglu/api.hpp"
#include "ops/swiglu/case_run.hpp"
#include "runtime/backend.hpp"
#include "tests/gpu/cuda_stream.hpp"
#include "tests/support/companion_cases.hpp"

namespace kiln::test {
namespace {

constexpr Device kCuda{Device::Kind::cuda};

TEST(Quantize, CasesOfTheEmulatorEqualTheModel) { expect_every_case_right<QuantizeCase>(kCuda); }

TEST(Quantize, FuzzedCasesEqualTheModel) {
  expect_drawn_cases_right<QuantizeCase>(kCuda, 300, 700, 1500, [](unsigned) { return Options{}; });
}

TEST(Quantize, LaunchOptionsChangeNoBit) {
  for (const int sms : {1, 7, 131, 0}) {
    const QuantizeCase test{.name = "launch", .rows = 1000, .columns = 2000, .transposed = true};
    EXPECT_EQ(wrong_in(test, kCuda, {.sm_budget = sms, .pdl = sms % 2 == 1}), "") << sms;
  }
}

/// The x around `scale * 448` that has this scale; 0: there is none.
float largest_with(float scale) {
  for (int step = -2; step <= 2; ++step) {
    const float x = std::bit_cast<float>(std::bit_cast<u32>(scale * 448) + static_cast<u32>(step));
    if (x / 448 == scale) return x;
  }
  return 0;
}

/// Scales whose inverse depends on what the GPU's reciprocal starts from (device/quotient.hpp),
/// with values in the middle of two codes, where a bit of the inverse shows.
TEST(Quantize, HardInverses) {
  std::vector<float> scales;
  for (u32 mantissa = 0; mantissa < 1u << 23; ++mantissa) {
    const float s = std::bit_cast<float>(127u << 23 | mantissa), inverse = 1 / s;
    const auto refined = [&](int off) {
      const float near = std::bit_cast<float>(std::bit_cast<u32>(inverse) + static_cast<u32>(off));
      return std::fma(near, std::fma(-s, near, 1.0F), near);
    };
    const bool hard = refined(1) != inverse || refined(-1) != inverse;
    if (hard && largest_with(s) != 0) scales.push_back(s);
  }
  ASSERT_GE(scales.size(), 16u);  // of 32 hard ones
  GuardedCall call;
  const auto rows = static_cast<i64>(scales.size());
  call.add("x", DType::fp32, rows, 128);
  call.add("out.values", DType::e4m3, rows, 128);
  call.add("out.scales", DType::fp32, rows, 1);
  const GuardedCall::Views views = call.views();
  for (i64 i = 0; i < rows; ++i) {
    const float s = scales[static_cast<std::size_t>(i)];
    for (int j = 0; j < 128; ++j) {
      const float middle =
          j == 0 || j > 125
              ? 0
              : (e4m3_to_float(static_cast<u8>(j)) + e4m3_to_float(static_cast<u8>(j + 1))) / 2;
      write_element(views[0], i, j, j == 0 ? largest_with(s) : middle * s);
    }
  }
  const auto args = [](const GuardedCall::Views& v) {
    return QuantizeArgs{.x = v[0], .out = {v[1], v[2]}, .transposed = {}};
  };
  const auto wrong = call.difference(
      kCuda, [&](const auto& v) { quantize_model(args(v)); },
      [&](const auto& v) { quantize(args(v), {.device = kCuda}); });
  EXPECT_EQ(wrong.value_or(""), "");
}

TEST(Permute, CasesOfTheEmulatorEqualTheModel) { expect_every_case_right<PermuteCase>(kCuda); }

TEST(Permute, FuzzedCasesEqualTheModel) {
  expect_drawn_cases_right<PermuteCase>(kCuda, 300, 5000, 300, [](unsigned seed) {
    return Options{.sm_budget = seed % 5 == 0 ? 3 : 0, .pdl = seed % 2 == 0};
  });
}

/// A warp of the map has its part in several turns.
TEST(Permute, ManySlots) {
  const PermuteCase test{.name = "many",
                         .tokens = 100'000,
                         .slots = 8,
                         .groups = 256,
                         .alignment = 128,
                         .wide_ids = true,
                         .dropped = 9,
                         .skewed = true,
                         .columns = 64,
                         .weights = true};
  EXPECT_EQ(wrong_in(test, kCuda), "") << to_string(test);
}

TEST(Unpermute, CasesOfTheEmulatorEqualTheModel) { expect_every_case_right<UnpermuteCase>(kCuda); }

TEST(Unpermute, FuzzedCasesEqualTheModel) {
  expect_drawn_cases_right<UnpermuteCase>(kCuda, 300, 300, 1500,
                                          [](unsigned) { return Options{}; });
}

TEST(Swiglu, CasesOfTheEmulatorEqualTheModel) { expect_every_case_right<SwigluCase>(kCuda); }

TEST(Swiglu, FuzzedCasesEqualTheModel) {
  expect_drawn_cases_right<SwigluCase>(kCuda, 300, 500, 900,
                                       [](unsigned seed) { return Options{.pdl = seed % 2 == 0}; });
}

/// One gate a row; its weight, a power of two, makes the element so large that the row's scale, in
/// FP32, shows its last bit.
TEST(Swiglu, EveryBf16Gate) {
  constexpr i64 kGates = 65536, kH = 128;
  GuardedCall call;
  call.add("x", DType::bf16, kGates, 2 * kH);
  call.add("out.values", DType::e4m3, kGates, kH);
  call.add("out.scales", DType::fp32, kGates, 1);
  call.add("weights", DType::fp32, kGates, 1);
  const GuardedCall::Views views = call.views();
  for (i64 i = 0; i < kGates; ++i) {
    for (i64 j = 0; j < 2 * kH; ++j) write_element(views[0], i, j, 0);
    const float gate = bf16_to_float(static_cast<u16>(i));
    write_element(views[0], i, i % kH, gate);
    write_element(views[0], i, kH + i % kH, 1);
    const double size = std::abs(double{gate} / (1 + std::exp(-double{gate})));
    const int exponent = size > 0 && std::isfinite(size) ? std::ilogb(size) : 0;
    write_element(views[3], i, 0, static_cast<float>(std::ldexp(1.0, std::min(-exponent, 120))));
  }
  const auto args = [](const GuardedCall::Views& v) {
    return SwigluArgs{.x = v[0], .out = {v[1], v[2]}, .clamp = {}, .weights = v[3], .rows = {}};
  };
  EXPECT_EQ(call.difference(
                    kCuda, [&](const auto& v) { swiglu_model(args(v)); },
                    [&](const auto& v) { swiglu(args(v), {.device = kCuda}); })
                .value_or(""),
            "");
}

// ---- in a graph ---------------------------------------------------------------------------------

/// Device memory of the host's vectors.
class DeviceVector {
 public:
  explicit DeviceVector(std::size_t bytes) : data_(backend_.allocate(bytes)), bytes_(bytes) {}
  ~DeviceVector() { backend_.free(data_); }
  DeviceVector(const DeviceVector&) = delete;
  DeviceVector& operator=(const DeviceVector&) = delete;

  void* data() const { return data_; }
  template <class T>
  void write(const std::vector<T>& from) {
    backend_.copy_in(data_, from.data(), bytes_);
    backend_.synchronize();  // for streams that do not wait for the default one
  }
  template <class T>
  std::vector<T> read() const {
    std::vector<T> to(bytes_ / sizeof(T));
    backend_.copy_out(to.data(), data_, bytes_);
    return to;
  }

 private:
  Backend& backend_ = cuda_backend(0);
  void* data_;
  std::size_t bytes_;
};

/// Ids and values change between replays; each replay gives what a call would give.
TEST(Companions, PermuteAndQuantizeInAGraph) {
  constexpr i64 kTokens = 700, kSlots = 6, kGroups = 40, kColumns = 256, kRows = kTokens * kSlots;
  DeviceVector ids(kRows * 4), ends(kGroups * 4), sources(kRows * 4), rows(kRows * 4),
      x(kTokens * kColumns * 2), moved(kRows * kColumns * 2), codes(kRows * kColumns),
      scales(kRows * kColumns / 128 * 4);
  const auto permute_on = [&](void* id, void* end, void* source, void* row, void* from, void* to) {
    return PermuteArgs{
        .ids = TensorView::row_major(id, DType::int32, kTokens, kSlots),
        .groups = kGroups,
        .ends = TensorView::vector(end, DType::int32, kGroups),
        .sources = TensorView::vector(source, DType::int32, kRows),
        .rows = TensorView::row_major(row, DType::int32, kTokens, kSlots),
        .values = MovedRows{TensorView::row_major(from, DType::bf16, kTokens, kColumns),
                            TensorView::row_major(to, DType::bf16, kRows, kColumns)},
        .scales = {},
        .weights = {}};
  };
  const auto quantize_on = [&](void* from, void* code, void* scale) {
    return QuantizeArgs{.x = TensorView::row_major(from, DType::bf16, kRows, kColumns),
                        .out = {TensorView::row_major(code, DType::e4m3, kRows, kColumns),
                                TensorView::row_major(scale, DType::fp32, kRows, kColumns / 128)},
                        .transposed = {}};
  };
  const PermuteArgs permuting =
      permute_on(ids.data(), ends.data(), sources.data(), rows.data(), x.data(), moved.data());
  const QuantizeArgs quantizing = quantize_on(moved.data(), codes.data(), scales.data());
  const Stream stream;
  const Options options{.stream = stream.get(), .pdl = true};
  permute_prepare(permuting, options);
  quantize_prepare(quantizing, options);
  const Graph graph(stream, [&] {
    permute(permuting, options);
    quantize(quantizing, options);
  });
  std::mt19937 random(5);
  for (int replay = 0; replay < 20; ++replay) {
    std::vector<int> id(kRows), end(kGroups), source(kRows), row(kRows);
    for (int& i : id) i = static_cast<int>(random() % kGroups);
    std::vector<u16> value(kTokens * kColumns), to(kRows * kColumns);
    for (u16& v : value) v = float_to_bf16(static_cast<float>(random() % 1000) - 500);
    std::vector<u8> code(kRows * kColumns);
    std::vector<float> scale(kRows * kColumns / 128);
    ids.write(id);
    x.write(value);
    graph.replay();
    permute_model(
        permute_on(id.data(), end.data(), source.data(), row.data(), value.data(), to.data()));
    quantize_model(quantize_on(to.data(), code.data(), scale.data()));
    ASSERT_EQ(ends.read<int>(), end) << replay;
    ASSERT_EQ(rows.read<int>(), row) << replay;
    ASSERT_EQ(moved.read<u16>(), to) << replay;
    ASSERT_EQ(codes.read<u8>(), code) << replay;
    ASSERT_EQ(scales.read<float>(), scale) << replay;
  }
}

}  // namespace
}  // namespace kiln::test
