// The real GEMM kernel on the emulator, bit for bit equal to ops/gemm/README.md spelled out as
// loops. This is the proof that the engine runs whole kernels; the GEMM's own cases live with the
// operation.
#include <chrono>
#include <cmath>
#include <cstring>

#include "arith/tensor_core.hpp"
#include "device/ptx/emu/math.hpp"
#include "ops/gemm/config.hpp"
#include "tests/emu/engine_support.hpp"

namespace kiln::emu {
namespace {

std::string enum_text(int value, const char* type) {
  return std::string("static_cast<kiln::") + type + ">(" + std::to_string(value) + ")";
}
std::string field_text(int value) { return std::to_string(value); }
std::string field_text(Multicast value) { return enum_text(static_cast<int>(value), "Multicast"); }
std::string field_text(BScales value) { return enum_text(static_cast<int>(value), "BScales"); }
std::string field_text(Addend value) { return enum_text(static_cast<int>(value), "Addend"); }
std::string field_text(OutType value) { return enum_text(static_cast<int>(value), "OutType"); }
std::string field_text(CopyPath value) { return enum_text(static_cast<int>(value), "CopyPath"); }
std::string field_text(ScaleCopy value) { return enum_text(static_cast<int>(value), "ScaleCopy"); }

std::string kernel_text(const GemmConfig& config) {
  std::string fields;
  for_each_field(config, [&](const char* name, const auto& value) {
    fields += std::string(fields.empty() ? "." : ", .") + name + " = " + field_text(value);
  });
  return "#include \"ops/gemm/kernel.cuh\"\nusing K = kiln::Gemm<kiln::GemmConfig{" + fields +
         "}>;\nKILN_KERNEL(K)\n";
}

struct Shape {
  int m, n, k;
};

/// Operands with padded rows, and D with a canary in everything outside [M, N].
class Problem {
 public:
  Problem(const GemmConfig& config, const Shape& shape, std::uint32_t seed)
      : config_(config), shape_(shape), k_blocks_(ceil_div(shape.k, 128)) {
    const int padding = config.load == CopyPath::tma ? 16 : 3;
    stride_ = config.load == CopyPath::tma ? align_up(shape.k, 16) + padding : shape.k + padding;
    d_columns_ = align_up(shape.n, 8) + (config.store == CopyPath::tma ? 8 : 1);
    TestRandom random(seed);
    fill(a_, shape.m, random);
    fill(b_, shape.n, random);
    fill_scales(a_scales_, shape.m, random);
    b_scale_rows_ = config.b_scales == BScales::row_1x128 ? shape.n : ceil_div(shape.n, 128);
    fill_scales(b_scales_, b_scale_rows_, random);
    c_.resize(static_cast<std::size_t>((shape.m + 1) * d_columns_));
    for (auto& value : c_)
      value = std::ldexp(static_cast<float>(random.next() % 4096) - 2048.0f, -3);
    for (const float value : c_) c_bf16_.push_back(static_cast<u16>(bf16_rn(value)));
    d_.assign(static_cast<std::size_t>((shape.m + 1) * d_columns_ * out_bytes(config)), kCanary);
  }

  GemmParams params() {
    GemmParams p = {};
    const bool share_a = config_.multicast == Multicast::a,
               share_b = config_.multicast == Multicast::b;
    if (config_.load == CopyPath::tma) {
      p.a_map = operand_map(a_, shape_.m, config_.tile_m / (share_a ? 2 : 1));
      p.b_map = operand_map(b_, shape_.n, config_.tile_n / (share_b ? 2 : 1));
    }
    if (config_.store == CopyPath::tma) p.d_map = out_map();
    // A's scales lie along K, B's along rows: both layouts that callers have.
    p.a_scales = {a_scales_.data(), k_blocks_, 1, shape_.m, k_blocks_ % 4 == 0};
    p.b_scales = {b_scales_.data(), 1, b_scale_rows_, b_scale_rows_, 0};
    p.a = {a_.data(), stride_, 1};
    p.b = {b_.data(), stride_, 1};
    const bool c_is_bf16 = config_.c == Addend::bf16;
    p.c = {c_is_bf16 ? reinterpret_cast<u8*>(c_bf16_.data()) : reinterpret_cast<u8*>(c_.data()),
           d_columns_ * (c_is_bf16 ? 2 : 4), 2};
    p.d = {d_.data(), d_columns_ * out_bytes(config_), out_bytes(config_)};
    p.load_bytes = operand_bytes(config_);
    p.m = shape_.m;
    p.n = shape_.n;
    p.k = shape_.k;
    p.k_blocks = k_blocks_;
    p.grid = TileGrid(ceil_div(ceil_div(shape_.m, config_.tile_m), share_b ? 2 : 1),
                      ceil_div(ceil_div(shape_.n, config_.tile_n), share_a ? 2 : 1), 2);
    return p;
  }

  Statistics run(std::uint64_t seed, int ctas = 4, int workers = 0) {
    std::fill(d_.begin(), d_.end(), kCanary);
    const Kernel& kernel = compile(kernel_text(config_),
                                   {threads(config_), cluster_size(config_), smem_bytes(config_)});
    const GemmParams p = params();
    return launch(kernel, ctas, &p, sizeof p, {.seed = seed, .workers = workers});
  }

  const std::vector<u8>& d() const { return d_; }

  /// ops/gemm/README.md, and the canary where nothing may be written.
  std::vector<u8> wanted() const {
    std::vector<u8> bytes(d_.size(), kCanary);
    const auto size = static_cast<std::size_t>(out_bytes(config_));
    for (int i = 0; i < shape_.m; ++i)
      for (int j = 0; j < shape_.n; ++j) {
        const float value = element(i, j);
        const u32 out = size == 4 ? __builtin_bit_cast(u32, value) : bf16_rn(value);
        std::memcpy(&bytes[static_cast<std::size_t>(i * d_columns_ + j) * size], &out, size);
      }
    return bytes;
  }

 private:
  static constexpr u8 kCanary = 0xA5;

  void fill(std::vector<u8>& operand, int rows, TestRandom& random) {
    operand.resize(static_cast<std::size_t>(rows * stride_ + 16));
    for (auto& byte : operand) byte = 0x7F;  // NaN: padding must not be read into anything
    for (int r = 0; r < rows; ++r)
      for (int k = 0; k < shape_.k; ++k) {
        auto byte = static_cast<u8>(random.next());
        if ((byte & 0x7F) == 0x7F) byte = 0x80;
        operand[static_cast<std::size_t>(r * stride_ + k)] = byte;
      }
  }
  void fill_scales(std::vector<float>& scales, int rows, TestRandom& random) {
    scales.resize(static_cast<std::size_t>(rows * k_blocks_));
    for (auto& scale : scales)
      scale = std::ldexp(1.0f + static_cast<float>(random.next() % 1000) / 999.0f, -10);
  }
  TensorMap operand_map(std::vector<u8>& operand, int rows, int box_rows) {
    TensorMapSpec spec;
    spec.base = operand.data();
    spec.extent = {static_cast<u64>(shape_.k), static_cast<u64>(rows), 1};
    spec.stride = {static_cast<u64>(stride_), 0};
    spec.box = {128, static_cast<u32>(box_rows), 1};
    spec.swizzle = Swizzle::b128;
    return emu_backend().encode(spec);
  }
  TensorMap out_map() {
    TensorMapSpec spec;
    spec.base = d_.data();
    spec.element = config_.d == OutType::bf16 ? Element::bf16 : Element::fp32;
    spec.extent = {static_cast<u64>(shape_.n), static_cast<u64>(shape_.m), 1};
    spec.stride = {static_cast<u64>(d_columns_ * out_bytes(config_)), 0};
    spec.box = {static_cast<u32>(strip_columns(config_)), 64, 1};
    const int bytes = strip_bytes(config_);
    spec.swizzle = bytes == 128 ? Swizzle::b128 : bytes == 64 ? Swizzle::b64 : Swizzle::b32;
    return emu_backend().encode(spec);
  }

  float element(int i, int j) const {
    float sum = 0;
    for (int q = 0; q < k_blocks_; ++q) {
      u8 a[128] = {}, b[128] = {};
      const auto count = static_cast<std::size_t>(std::min(128, shape_.k - q * 128));
      std::memcpy(a, &a_[static_cast<std::size_t>(i * stride_ + q * 128)], count);
      std::memcpy(b, &b_[static_cast<std::size_t>(j * stride_ + q * 128)], count);
      float product = 0;
      for (int k = 0; k < 128; k += 32) product = mma_e4m3(product, a + k, b + k);
      const int b_row = config_.b_scales == BScales::row_1x128 ? j : j / 128;
      const float scale = a_scales_[static_cast<std::size_t>(i * k_blocks_ + q)] *
                          b_scales_[static_cast<std::size_t>(q * b_scale_rows_ + b_row)];
      sum = canonical(std::fma(scale, product, sum));
    }
    const auto at = static_cast<std::size_t>(i * d_columns_ + j);
    if (config_.c == Addend::fp32) sum = canonical(c_[at] + sum);
    if (config_.c == Addend::bf16) sum = canonical(ptx::bf16_to_float(c_bf16_[at]) + sum);
    return sum;
  }

  const GemmConfig config_;
  const Shape shape_;
  const int k_blocks_;
  i64 stride_ = 0;
  int d_columns_ = 0, b_scale_rows_ = 0;
  std::vector<u8> a_, b_, d_;
  std::vector<float> a_scales_, b_scales_, c_;
  std::vector<u16> c_bf16_;
};

struct GemmCase {
  const char* name;
  GemmConfig config;
  std::vector<Shape> shapes;
};

void PrintTo(const GemmCase& c, std::ostream* out) { *out << c.name; }

class EngineGemm : public testing::TestWithParam<GemmCase> {};

TEST_P(EngineGemm, EqualsTheSpecificationBitForBit) {
  const GemmCase& c = GetParam();
  ASSERT_EQ(refusal(c.config), nullptr) << refusal(c.config);
  for (const Shape& shape : c.shapes) {
    Problem problem(c.config, shape, static_cast<std::uint32_t>(shape.m + shape.n));
    const std::vector<u8> wanted = problem.wanted();
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      problem.run(seed);
      ASSERT_TRUE(problem.d() == wanted)
          << shape.m << "x" << shape.n << "x" << shape.k << " seed " << seed;
    }
  }
}

const std::vector<Shape> kRagged = {{1, 8, 16}, {130, 136, 400}, {257, 200, 1100}};

INSTANTIATE_TEST_SUITE_P(
    Configs, EngineGemm,
    testing::Values(
        GemmCase{"default_128x128", {}, kRagged},
        GemmCase{"narrow_64x16",
                 {.tile_m = 64, .tile_n = 16, .math_warpgroups = 1, .store_strips = 1},
                 {{1, 8, 16}, {70, 40, 700}}},
        GemmCase{"multicast_a_256x128",
                 {.tile_m = 256, .tile_n = 128, .stages = 2, .multicast = Multicast::a},
                 {{300, 392, 300}, {1, 8, 1100}}},
        GemmCase{"multicast_b_128x96",
                 {.tile_n = 96, .store_strips = 3, .multicast = Multicast::b},
                 {{300, 200, 300}, {129, 96, 1100}}},
        GemmCase{"b_scales_by_row", {.b_scales = BScales::row_1x128}, {{130, 136, 400}}},
        GemmCase{"fp32_with_c_fp32",
                 {.stages = 3, .store_strips = 4, .c = Addend::fp32, .d = OutType::fp32},
                 {{130, 136, 400}}},
        GemmCase{"bf16_with_c_bf16",
                 {.tile_n = 176, .store_strips = 11, .c = Addend::bf16},
                 {{130, 360, 400}}},
        GemmCase{"plain_load_and_store",
                 {.c = Addend::bf16, .load = CopyPath::plain, .store = CopyPath::plain},
                 {{1, 9, 17}, {130, 137, 401}}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(EngineGemmSpeed, OneCoreWithinItsBudget) {
  // 25 ms is the goal on an idle core, 7 ms were measured. Machines are neither idle nor equal, and
  // sanitizers cost their own, so only a loss of another order fails.
  Problem problem({}, {256, 256, 512}, 1);
  problem.run(1, 4, 1);
  double best = 1e9;
  Statistics statistics;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const auto start = std::chrono::steady_clock::now();
    statistics = problem.run(seed, 4, 1);
    best = std::min(
        best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
                  .count());
  }
  RecordProperty("milliseconds", std::to_string(best));
  RecordProperty("switches", std::to_string(statistics.switches));
  std::cout << "256x256x512: " << best << " ms, " << statistics.switches << " switches, "
            << statistics.wgmmas << " wgmmas, " << statistics.events << " events\n";
  EXPECT_LT(best, 500);
}

}  // namespace
}  // namespace kiln::emu
