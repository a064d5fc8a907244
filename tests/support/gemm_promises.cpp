#include "tests/support/gemm_promises.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <deque>
#include <limits>
#include <thread>

#include "arith/host_matrix.hpp"
#include "ops/gemm/api.hpp"
#include "ops/gemm/reference.hpp"
#include "tests/support/gemm_run.hpp"

namespace kiln::test {
namespace {

/// A matrix in a device's memory, and what the host thinks of it.
class DeviceMatrix {
 public:
  DeviceMatrix(const GuardedMatrix& matrix, const Device& device)
      : matrix_(matrix), backend_(backend_of(device)) {
    image_ = backend_.allocate(matrix_.image().size());
    backend_.copy_in(image_, matrix_.image().data(), matrix_.image().size());
    backend_.synchronize();
  }
  ~DeviceMatrix() { backend_.free(image_); }
  DeviceMatrix(const DeviceMatrix&) = delete;
  DeviceMatrix& operator=(const DeviceMatrix&) = delete;

  TensorView view() const { return matrix_.view_at(image_); }
  /// The matrix as it is there now.
  GuardedMatrix fetch() const {
    GuardedMatrix now = matrix_;
    backend_.synchronize();
    backend_.copy_out(now.image().data(), image_, now.image().size());
    return now;
  }
  void poison() const {
    backend_.fill(image_, 0xFF, matrix_.image().size());
    backend_.synchronize();
  }

 private:
  GuardedMatrix matrix_;
  Backend& backend_;
  void* image_ = nullptr;
};

/// Rows [row, row + count) of a call whose A has scales by rows. Addresses may be a device's.
GemmArgs rows_of(const GemmArgs& args, i64 row, i64 count, const TensorView& d) {
  GemmArgs rows = args;
  rows.a.values.data = element_address(args.a.values, row, 0);
  rows.a.scales.data = element_address(args.a.scales, row, 0);
  rows.a.values.shape[0] = rows.a.scales.shape[0] = count;
  rows.d = d;
  if (args.c) {
    rows.c->data = element_address(*args.c, row, 0);
    rows.c->shape[0] = count;
  }
  return rows;
}

std::string text_of(const std::optional<std::string>& wrong) { return wrong.value_or(""); }

}  // namespace

void expect_launch_options_change_no_bit(const Options& options) {
  const GemmCase cases[] = {{.name = "planned", .m = 300, .n = 264, .k = 528},
                            {.name = "with a cluster",
                             .m = 300,
                             .n = 264,
                             .k = 528,
                             .config = "tile_m=128,tile_n=96,stages=4,store_strips=3,multicast=b"},
                            {.name = "stored by threads",
                             .m = 291,
                             .n = 203,
                             .k = 656,
                             .b_recipe = ScaleRecipe::row_1x128,
                             .c = Addend::fp32,
                             .d = OutType::fp32}};
  for (const GemmCase& test : cases) {
    GemmRun run(test);
    for (const int sms : {0, 1, 2, 7})
      for (const bool pdl : {false, true}) {
        Options chosen = options;
        chosen.sm_budget = sms;
        chosen.pdl = pdl;
        EXPECT_EQ(text_of(run.run(options.device, chosen)), "")
            << test.name << ", " << sms << " SMs, pdl " << pdl;
      }
    Options chosen = options;
    chosen.invariance = Invariance::none;
    EXPECT_EQ(text_of(run.run(options.device, chosen)), "") << test.name << ", invariance none";
  }
}

void expect_rows_alone_are_rows_of_the_whole(const Options& options) {
  constexpr i64 kM = 150, kN = 136;
  GemmRun run({.name = "batch", .m = kM, .n = kN, .k = 400, .d = OutType::fp32});
  const auto memory = run.place(options.device);
  const GemmArgs args = memory->args();
  gemm(args, options);
  EXPECT_EQ(text_of(memory->compare()), "");
  GemmArgs whole = run.host_args();
  gemm_model(whole);
  for (const i64 count : {1, 2, 17, 64, 100})
    for (const i64 row : {0, 1, 63, 64, 127, 128, 149}) {
      if (row + count > kM) continue;
      const DeviceMatrix alone(GuardedMatrix(DType::fp32, count, kN, {}), options.device);
      gemm(rows_of(args, row, count, alone.view()), options);
      GuardedMatrix result = alone.fetch(), wanted = result;
      for (i64 i = 0; i < count; ++i)
        for (i64 j = 0; j < kN; ++j)
          write_element(wanted.view(), i, j, read_element(whole.d, row + i, j));
      EXPECT_EQ(text_of(wanted.difference(result.image())), "")
          << count << " rows from " << row << " on";
    }
}

void expect_nan_stays_in_its_row_and_column(const Options& options) {
  constexpr i64 kM = 140, kN = 200, kK = 400, kRow = 77, kColumn = 130, kOther = 5;
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  struct Poisoned {
    const char* name;
    ScaleRecipe b_recipe;
    void (*spoil)(const GemmArgs&);
    bool (*is_nan)(i64 i, i64 j);
  };
  const Poisoned tests[] = {
      {"values", ScaleRecipe::block_128x128,
       [](const GemmArgs& args) {
         *element_address(args.a.values, kRow, kK - 1) = 0x7F;
         *element_address(args.b.values, kColumn, 0) = 0xFF;
       },
       [](i64 i, i64 j) { return i == kRow || j == kColumn; }},
      {"scales by rows", ScaleRecipe::row_1x128,
       [](const GemmArgs& args) {
         write_element(args.a.scales, kRow, 3, kNaN);
         write_element(args.b.scales, kColumn, 1, kNaN);
       },
       [](i64 i, i64 j) { return i == kRow || j == kColumn; }},
      {"scales by blocks", ScaleRecipe::block_128x128,
       [](const GemmArgs& args) { write_element(args.b.scales, 1, 2, kNaN); },
       [](i64, i64 j) { return j >= 128; }},
      {"C", ScaleRecipe::block_128x128,
       [](const GemmArgs& args) {
         write_element(*args.c, kRow, kOther, kNaN);
         write_element(*args.c, kOther, kColumn, kNaN);
       },
       [](i64 i, i64 j) { return (i == kRow && j == kOther) || (i == kOther && j == kColumn); }},
  };
  for (const Poisoned& test : tests) {
    GemmRun run(
        {.name = "NaN", .m = kM, .n = kN, .k = kK, .b_recipe = test.b_recipe, .c = Addend::fp32});
    test.spoil(run.host_args());  // `place` copies what is spoilt
    const auto memory = run.place(options.device);
    const DeviceMatrix d(GuardedMatrix(DType::bf16, kM, kN, {}), options.device);
    GemmArgs args = memory->args();
    args.d = d.view();
    gemm(args, options);
    GuardedMatrix result = d.fetch();
    int wrong = 0;
    for (i64 i = 0; i < kM; ++i)
      for (i64 j = 0; j < kN; ++j)
        wrong += std::isnan(read_element(result.view(), i, j)) != test.is_nan(i, j);
    EXPECT_EQ(wrong, 0) << "NaN in " << test.name;
  }
}

void expect_chains_are_in_order(
    const Options& options, int repeats,
    const std::function<void(const std::function<void()>& calls)>& run) {
  constexpr i64 kM = 200, kN = 264;
  GemmRun first({.name = "first", .m = kM, .n = kN, .k = 400}),
      second({.name = "second", .m = kM, .n = kN, .k = 144, .seed = 2}),
      third({.name = "third", .m = kM, .n = kN, .k = 272, .seed = 3});
  const auto first_there = first.place(options.device), second_there = second.place(options.device),
             third_there = third.place(options.device);
  // X = first; Y = second + X; Y += third; Z = third + X; X = second + Z, over what was read
  // before.
  const auto run_chain = [](const GemmArgs& a, const GemmArgs& b, const GemmArgs& c, TensorView x,
                            TensorView y, TensorView z, auto&& call) {
    call(GemmArgs{.a = a.a, .b = a.b, .d = x, .c = {}});
    call(GemmArgs{.a = b.a, .b = b.b, .d = y, .c = x});
    call(GemmArgs{.a = c.a, .b = c.b, .d = y, .c = y});
    call(GemmArgs{.a = c.a, .b = c.b, .d = z, .c = x});
    call(GemmArgs{.a = b.a, .b = b.b, .d = x, .c = z});
  };
  GuardedMatrix x(DType::bf16, kM, kN, {}), y(DType::fp32, kM, kN, {}), z(DType::bf16, kM, kN, {});
  const DeviceMatrix x_there(x, options.device), y_there(y, options.device),
      z_there(z, options.device);
  run_chain(first.host_args(), second.host_args(), third.host_args(), x.view(), y.view(), z.view(),
            [](const GemmArgs& args) { gemm_model(args); });
  const auto calls = [&] {
    // The second chain overwrites at once what the first one still reads.
    for (int chain = 0; chain < 2; ++chain)
      run_chain(first_there->args(), second_there->args(), third_there->args(), x_there.view(),
                y_there.view(), z_there.view(), [&](const GemmArgs& args) { gemm(args, options); });
  };
  for (int i = 0; i < repeats; ++i) {
    for (const DeviceMatrix* matrix : {&x_there, &y_there, &z_there}) matrix->poison();
    run ? run(calls) : calls();
    ASSERT_EQ(text_of(x.difference(x_there.fetch().image())), "") << "X, repeat " << i;
    ASSERT_EQ(text_of(y.difference(y_there.fetch().image())), "") << "Y, repeat " << i;
    ASSERT_EQ(text_of(z.difference(z_there.fetch().image())), "") << "Z, repeat " << i;
  }
}

void expect_threads_do_not_disturb_each_other(const std::vector<Options>& options, int rounds,
                                              int shapes) {
  std::atomic<int> ready = 0;
  const auto work = [&](std::size_t thread) {
    const Options& mine = options[thread];
    std::deque<GemmRun> runs;
    std::vector<std::unique_ptr<GemmRun::Memory>> memories;
    for (int i = 0; i < shapes; ++i) {
      const auto seed = static_cast<unsigned>(shapes * static_cast<int>(thread) + i + 1);
      runs.emplace_back(random_gemm_case(seed, 300, 400, 700));
      memories.push_back(runs.back().place(mine.device));
    }
    ++ready;
    while (ready < static_cast<int>(options.size())) std::this_thread::yield();
    for (int round = 0; round < rounds; ++round) {
      for (const auto& memory : memories) memory->poison();
      for (std::size_t i = 0; i < runs.size(); ++i) runs[i].call(memories[i]->args(), mine);
      for (std::size_t i = 0; i < runs.size(); ++i) {
        const auto wrong = round == rounds - 1 ? memories[i]->compare() : memories[i]->compare_d();
        EXPECT_EQ(text_of(wrong), "")
            << "thread " << thread << ", round " << round << ", " << runs[i].test().name;
      }
    }
  };
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < options.size(); ++i)
    threads.emplace_back([&, i] {
      try {
        work(i);
      } catch (const std::exception& error) {
        ADD_FAILURE() << "thread " << i << ": " << error.what();
        ready += 1000;  // nobody waits for this one
      }
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace kiln::test
