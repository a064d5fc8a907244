// A call with the operands of an earlier one, in the same memory, in another way: what a thread
// keeps of its calls (ops/recent_calls.hpp) must not stand in for it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "kiln/gemm.hpp"
#include "ops/gemm/reference.hpp"

namespace kiln {
namespace {

constexpr i64 kRows = 96, kK = 256;

/// The memory of one A, B and D, with room for any view below.
struct Memory {
  alignas(128) std::uint8_t a[2 * kRows * kK], b[2 * kRows * kK];
  alignas(128) float a_scales[2 * kRows * 2], b_scales[16];
  alignas(128) std::uint16_t d[2 * kRows * kRows], c[kRows * kRows];

  Memory() {
    for (std::size_t i = 0; i < sizeof a; ++i) {
      a[i] = static_cast<std::uint8_t>(0x30 + i * 7 % 16);
      b[i] = static_cast<std::uint8_t>(0x30 + i * 5 % 16);
    }
    for (int i = 0; i < 2 * kRows * 2; ++i) a_scales[i] = 1 + 0.01F * static_cast<float>(i);
    for (int i = 0; i < 16; ++i) b_scales[i] = 2 - 0.1F * static_cast<float>(i);
    for (int i = 0; i < kRows * kRows; ++i) c[i] = static_cast<std::uint16_t>(0x3f80 + i % 64);
  }
};

GemmArgs args_of(Memory& memory, i64 m = 64) {
  GemmArgs args;
  args.a = {TensorView::row_major(memory.a, DType::e4m3, m, kK),
            TensorView::row_major(memory.a_scales, DType::fp32, m, 2), ScaleRecipe::row_1x128};
  args.b = {TensorView::row_major(memory.b, DType::e4m3, kRows, kK),
            TensorView::row_major(memory.b_scales, DType::fp32, 1, 2), ScaleRecipe::block_128x128};
  args.d = TensorView::row_major(memory.d, DType::bf16, m, kRows);
  return args;
}

void expect_right(Memory& memory, const GemmArgs& args, const char* name) {
  std::fill(std::begin(memory.d), std::end(memory.d), 0);
  gemm(args, {.device = {Device::Kind::emu}});
  const std::vector<std::uint16_t> out(std::begin(memory.d), std::end(memory.d));
  std::fill(std::begin(memory.d), std::end(memory.d), 0);
  gemm_model(args);
  EXPECT_EQ(out, std::vector<std::uint16_t>(std::begin(memory.d), std::end(memory.d))) << name;
}

TEST(RepeatedCalls, TheSameMemoryInAnotherWay) {
  auto memory = std::make_unique<Memory>();
  const auto expect_right_twice = [&](const char* name, auto change) {
    GemmArgs args = args_of(*memory);
    change(args);
    expect_right(*memory, args_of(*memory), "the first call");
    expect_right(*memory, args, name);
    expect_right(*memory, args_of(*memory), "the first call again");
    expect_right(*memory, args, name);
  };
  expect_right_twice("fewer rows", [&](GemmArgs& args) { args = args_of(*memory, 40); });
  expect_right_twice("a's rows", [](GemmArgs& args) { args.a.values.stride[0] = 2 * kK; });
  expect_right_twice("b's rows", [](GemmArgs& args) { args.b.values.stride[0] = kK + 16; });
  expect_right_twice("d's rows", [](GemmArgs& args) { args.d.stride[0] = kRows + 8; });
  expect_right_twice("a's scales", [](GemmArgs& args) { args.a.scales.stride = {1, 64}; });
  expect_right_twice("b's scales", [](GemmArgs& args) { args.b.scales.stride[1] = 3; });
  expect_right_twice("c", [&](GemmArgs& args) {
    args.c = TensorView::row_major(memory->c, DType::bf16, 64, kRows);
  });
}

TEST(RepeatedCalls, WhatIsWrongWithOneIsSaidOfIt) {
  auto memory = std::make_unique<Memory>();
  expect_right(*memory, args_of(*memory), "the first call");
  GemmArgs wrong = args_of(*memory);
  wrong.d.stride[0] = kRows - 1;
  EXPECT_THROW(gemm(wrong, {.device = {Device::Kind::emu}}), Error);
  EXPECT_THROW(gemm(args_of(*memory), {.device = {Device::Kind::emu}, .sm_budget = -1}), Error);
  EXPECT_THROW(
      gemm(args_of(*memory), {.device = {Device::Kind::emu}, .emulation = {.threads = -1}}), Error);
}

}  // namespace
}  // namespace kiln
