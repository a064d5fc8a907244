// The operations beside the GEMMs on the H200: every byte of memory equals the model's.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "arith/codecs.hpp"
#include "ops/permute/api.hpp"
#include "ops/permute/case_run.hpp"
#include "ops/quantize/api.hpp"
#include "ops/quantize/case_run.hpp"
#include "ops/swiglu/case_run.hpp"
#include "runtime/backend.hpp"
#include "tests/gpu/cuda_stream.hpp"

namespace kiln::test {
namespace {

constexpr Device kCuda{Device::Kind::cuda};

TEST(Quantize, CasesOfTheEmulatorEqualTheModel) {
  for (const QuantizeCase& test : quantize_cases())
    EXPECT_EQ(run_case(test, kCuda).value_or(""), "") << to_string(test);
}

TEST(Quantize, FuzzedCasesEqualTheModel) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    const QuantizeCase test = random_quantize_case(seed, 700, 1500);
    EXPECT_EQ(run_case(test, kCuda).value_or(""), "") << to_string(test);
  }
}

TEST(Quantize, LaunchOptionsChangeNoBit) {
  for (const int sms : {1, 7, 131, 0}) {
    const QuantizeCase test{.name = "launch", .rows = 1000, .columns = 2000, .transposed = true};
    EXPECT_EQ(run_case(test, kCuda, {.sm_budget = sms, .pdl = sms % 2 == 1}).value_or(""), "")
        << sms;
  }
}

TEST(Permute, CasesOfTheEmulatorEqualTheModel) {
  for (const PermuteCase& test : permute_cases())
    EXPECT_EQ(run_case(test, kCuda).value_or(""), "") << to_string(test);
}

TEST(Permute, FuzzedCasesEqualTheModel) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    const PermuteCase test = random_permute_case(seed, 5000, 300);
    const Options options{.sm_budget = seed % 5 == 0 ? 3 : 0, .pdl = seed % 2 == 0};
    EXPECT_EQ(run_case(test, kCuda, options).value_or(""), "") << to_string(test);
  }
}

/// More slots than shares of the smallest size.
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
  EXPECT_EQ(run_case(test, kCuda).value_or(""), "") << to_string(test);
}

TEST(Unpermute, CasesOfTheEmulatorEqualTheModel) {
  for (const UnpermuteCase& test : unpermute_cases())
    EXPECT_EQ(run_case(test, kCuda).value_or(""), "") << to_string(test);
}

TEST(Unpermute, FuzzedCasesEqualTheModel) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    const UnpermuteCase test = random_unpermute_case(seed, 300, 1500);
    EXPECT_EQ(run_case(test, kCuda).value_or(""), "") << to_string(test);
  }
}

TEST(Swiglu, CasesOfTheEmulatorEqualTheModel) {
  for (const SwigluCase& test : swiglu_cases())
    EXPECT_EQ(run_case(test, kCuda).value_or(""), "") << to_string(test);
}

TEST(Swiglu, FuzzedCasesEqualTheModel) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    const SwigluCase test = random_swiglu_case(seed, 500, 900);
    EXPECT_EQ(run_case(test, kCuda, {.pdl = seed % 2 == 0}).value_or(""), "") << to_string(test);
  }
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
  const i64 bytes = permute_workspace_bytes(permuting);
  const DeviceVector workspace(static_cast<std::size_t>(bytes));
  const Options options{
      .stream = stream.get(), .pdl = true, .workspace = workspace.data(), .workspace_bytes = bytes};
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
