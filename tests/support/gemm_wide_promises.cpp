// Offsets beyond 2^31 and 2^32: products that are checked in sampled rows, since neither the model
// nor a copy to the host would be done in a test's time.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "arith/host_matrix.hpp"
#include "ops/gemm/api.hpp"
#include "ops/gemm/reference.hpp"
#include "ops/gemm/text.hpp"
#include "tests/support/gemm_promises.hpp"
#include "tests/support/gemm_run.hpp"

namespace kiln::test {
namespace {

using Bytes = std::vector<std::uint8_t>;

/// Memory of a device.
class Arena {
 public:
  Arena(const Device& device, i64 bytes) : backend_(backend_of(device)), bytes_(bytes) {
    data_ = static_cast<u8*>(backend_.allocate(static_cast<std::size_t>(bytes)));
    poison();
  }
  Arena(const Device& device, const Bytes& from) : Arena(device, static_cast<i64>(from.size())) {
    write(0, from.data(), bytes_);
  }
  ~Arena() { backend_.free(data_); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  u8* at(i64 offset) const { return data_ + offset; }
  /// Makes every byte 0xFF.
  void poison() {
    backend_.synchronize();
    backend_.fill(data_, 0xFF, static_cast<std::size_t>(bytes_));
    backend_.synchronize();
  }
  void write(i64 offset, const void* from, i64 bytes) {
    backend_.copy_in(at(offset), from, static_cast<std::size_t>(bytes));
  }
  Bytes read(i64 offset, i64 bytes) {
    Bytes result(static_cast<std::size_t>(bytes));
    backend_.copy_out(result.data(), at(offset), result.size());
    return result;
  }
  void settle() { backend_.synchronize(); }

 private:
  Backend& backend_;
  u8* data_ = nullptr;
  i64 bytes_ = 0;
};

i64 row_bytes(const TensorView& t) { return t.shape[1] * size_of(t.dtype); }

/// Writes the rows of `host` into `arena`, `stride` bytes apart.
TensorView spread(Arena& arena, i64 offset, i64 stride, const TensorView& host) {
  for (i64 i = 0; i < host.shape[0]; ++i)
    arena.write(offset + i * stride, element_address(host, i, 0), row_bytes(host));
  TensorView view = host;
  view.data = arena.at(offset);
  view.stride = {stride / size_of(host.dtype), 1};
  return view;
}

/// The same for the columns.
TensorView spread_columns(Arena& arena, i64 offset, i64 stride, const TensorView& host) {
  for (i64 j = 0; j < host.shape[1]; ++j)
    for (i64 i = 0; i < host.shape[0]; ++i)
      arena.write(offset + j * stride + i * size_of(host.dtype), element_address(host, i, j),
                  size_of(host.dtype));
  TensorView view = host;
  view.data = arena.at(offset);
  view.stride = {1, stride / size_of(host.dtype)};
  return view;
}

constexpr const char* kByThreads =
    "tile_m=128,tile_n=96,stages=3,store_strips=1,load=plain,store=plain";

}  // namespace

void expect_wide_strides_are_right(const Options& options, i64 stride) {
  constexpr i64 kRows = 600, kColumns = 600, kA = 0, kB = 1024, kScalesOfA = 2048,
                kScalesOfB = 3072, kD = 0, kC = 4096;
  ASSERT_GE(stride, 8192);
  for (const char* config : {"", kByThreads}) {
    GemmRun run(
        {.name = "wide", .m = kRows, .n = kColumns, .k = 400, .c = Addend::fp32, .config = config});
    GemmArgs host = run.host_args();
    Arena inputs(options.device, kRows * stride), outputs(options.device, kRows * stride);
    GemmArgs args = host;
    args.a.values = spread(inputs, kA, stride, host.a.values);
    args.b.values = spread(inputs, kB, stride, host.b.values);
    args.a.scales = spread(inputs, kScalesOfA, stride, host.a.scales);
    // Three steps between four K blocks, nearly from the first row to the last.
    args.b.scales = spread_columns(inputs, kScalesOfB, kRows / 3 * stride - stride, host.b.scales);
    args.c = spread(outputs, kC, stride, *host.c);
    args.d.data = outputs.at(kD);
    args.d.stride = {stride / size_of(args.d.dtype), 1};
    inputs.settle();
    run.call(args, options);
    outputs.settle();
    gemm_model(host);
    i64 wrong = 0;
    for (i64 i = 0; i < kRows; ++i) {
      Bytes wanted(kC, 0xFF);  // D, and what nobody may touch until C
      std::memcpy(wanted.data(), element_address(host.d, i, 0),
                  static_cast<std::size_t>(row_bytes(host.d)));
      wrong += outputs.read(i * stride, kC) != wanted;
    }
    EXPECT_EQ(wrong, 0) << "rows, config '" << config << "'";
  }
}

namespace {

/// A product too large to be made on the host, K = 128.
class LargeProduct {
 public:
  static constexpr i64 kK = 128;

  LargeProduct(const Options& options, i64 m, i64 n)
      : options_(options),
        m_(m),
        n_(n),
        a_(codes(m)),
        b_(codes(n)),
        a_scales_(scales(m)),
        b_scales_(scales((n + 127) / 128)),
        a_there_(options.device, a_),
        b_there_(options.device, b_),
        a_scales_there_(options.device, a_scales_),
        b_scales_there_(options.device, b_scales_),
        d_there_(options.device, (m + 1) * n * 2) {}

  /// D = A * B^T (+ D).
  void call(bool add_d, const GemmConfig* config = nullptr) {
    GemmArgs args =
        args_of(a_there_.at(0), a_scales_there_.at(0), b_there_.at(0), b_scales_there_.at(0), m_);
    args.d = TensorView::row_major(d_there_.at(0), DType::bf16, m_, n_);
    if (add_d) args.c = args.d;
    config ? gemm_with_config(args, *config, options_) : gemm(args, options_);
    d_there_.settle();
  }
  void poison() { d_there_.poison(); }

  /// Expects D to be the product, added to itself if `twice`, in rows that tell.
  void expect_right(bool twice, const char* what) {
    Bytes wanted(static_cast<std::size_t>(n_ * 2));
    for (const i64 row : telling_rows()) {
      GemmArgs args =
          args_of(a_.data() + row * kK, a_scales_.data() + row * 4, b_.data(), b_scales_.data(), 1);
      args.d = TensorView::row_major(wanted.data(), DType::bf16, 1, n_);
      gemm_model(args);
      args.c = args.d;
      if (twice) gemm_model(args);
      EXPECT_TRUE(d_there_.read(row * n_ * 2, n_ * 2) == wanted) << what << ": row " << row;
    }
    EXPECT_TRUE(d_there_.read(m_ * n_ * 2, n_ * 2) == Bytes(wanted.size(), 0xFF))
        << what << ": the row after the last one was written";
  }

 private:
  Bytes codes(i64 rows) {
    Bytes bytes(static_cast<std::size_t>(rows * kK));
    for (u8& code : bytes) {
      code = static_cast<u8>(random_());
      if (is_nan_e4m3(code)) code ^= 1;
    }
    return bytes;
  }
  Bytes scales(i64 rows) {
    Bytes bytes(static_cast<std::size_t>(rows * 4));
    for (std::size_t i = 0; i < bytes.size(); i += 4) {
      const float scale = static_cast<float>(1024 + random_() % 1024) / 65536;
      std::memcpy(&bytes[i], &scale, sizeof scale);
    }
    return bytes;
  }
  GemmArgs args_of(u8* a, u8* a_scales, u8* b, u8* b_scales, i64 rows) const {
    return {.a = {TensorView::row_major(a, DType::e4m3, rows, kK),
                  TensorView::row_major(a_scales, DType::fp32, rows, 1), ScaleRecipe::row_1x128},
            .b = {TensorView::row_major(b, DType::e4m3, n_, kK),
                  TensorView::row_major(b_scales, DType::fp32, (n_ + 127) / 128, 1),
                  ScaleRecipe::block_128x128},
            .d = {},
            .c = {}};
  }
  /// The first and last ones, those around each multiple of 2^31 bytes and elements, and some more.
  std::vector<i64> telling_rows() {
    std::vector<i64> rows = {0, 1, m_ - 2, m_ - 1};
    for (const i64 row_size : {n_, n_ * 2})
      for (i64 edge = i64{1} << 31; edge < m_ * row_size; edge += i64{1} << 31)
        for (const i64 beside : {-1, 0, 1}) rows.push_back(edge / row_size + beside);
    for (int i = 0; i < 4; ++i) rows.push_back(static_cast<i64>(random_() % static_cast<u64>(m_)));
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    std::erase_if(rows, [&](i64 row) { return row < 0 || row >= m_; });
    return rows;
  }

  std::mt19937 random_{7};
  Options options_;
  i64 m_, n_;
  Bytes a_, b_, a_scales_, b_scales_;
  Arena a_there_, b_there_, a_scales_there_, b_scales_there_, d_there_;
};

}  // namespace

void expect_large_products_are_right(const Options& options, i64 m, i64 n) {
  LargeProduct product(options, m, n);
  product.call(false);
  product.expect_right(false, "by the copy engine");
  product.call(true);
  product.expect_right(true, "C == D");
  product.poison();
  const GemmConfig by_threads =
      parse_gemm_config("tile_m=128,tile_n=96,stages=4,store_strips=1,store=plain");
  product.call(false, &by_threads);
  product.expect_right(false, "stored by threads");
}

}  // namespace kiln::test
