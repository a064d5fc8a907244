// The smallest whole program: two FP8 matrices with block scales, multiplied on the emulator (the
// real kernel, on this CPU) and on the CPU model; every bit is the same. On a Hopper GPU the same
// call with device pointers and kiln::Device::Kind::cuda gives those bits again.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include <kiln/kiln.hpp>

namespace {

struct Operands {
  static constexpr int kM = 77, kN = 200, kK = 384;

  std::vector<std::uint8_t> a = std::vector<std::uint8_t>(kM * kK);
  std::vector<std::uint8_t> b = std::vector<std::uint8_t>(kN * kK);
  std::vector<float> a_scales = std::vector<float>(kM * 3, 0.01f);  // 1x128: one for 128 of K
  std::vector<float> b_scales = std::vector<float>(2 * 3, 0.02f);   // 128x128

  Operands() {
    unsigned state = 1;
    for (auto* codes : {&a, &b})
      for (std::uint8_t& code : *codes) {
        state = state * 1664525u + 1013904223u;
        code = static_cast<std::uint8_t>(state >> 24);
        if ((code & 0x7F) == 0x7F) code = 0;  // no NaN
      }
  }

  kiln::GemmArgs args(std::vector<float>& d) {
    using kiln::DType, kiln::ScaleRecipe, kiln::TensorView;
    return {
        .a = {TensorView::row_major(a.data(), DType::e4m3, kM, kK),
              TensorView::row_major(a_scales.data(), DType::fp32, kM, 3), ScaleRecipe::row_1x128},
        .b = {TensorView::row_major(b.data(), DType::e4m3, kN, kK),
              TensorView::row_major(b_scales.data(), DType::fp32, 2, 3),
              ScaleRecipe::block_128x128},
        .d = TensorView::row_major(d.data(), DType::fp32, kM, kN),
        .c = {}};
  }
};

}  // namespace

int main() {
  Operands operands;
  std::vector<float> emulated(Operands::kM * Operands::kN), modelled(emulated.size());
  try {
    kiln::gemm(operands.args(emulated), {.device = {kiln::Device::Kind::emu}});
    kiln::gemm(operands.args(modelled), {.device = {kiln::Device::Kind::cpu}});
  } catch (const kiln::Error& error) {
    std::fprintf(stderr, "%s: %s\n", kiln::to_string(error.code()), error.what());
    return 1;
  }
  const bool equal = std::memcmp(emulated.data(), modelled.data(), 4 * emulated.size()) == 0;
  std::printf("Kiln %s: D[0,0] = %g, emulator and model %s\n", kiln::version(), emulated[0],
              equal ? "equal to the bit" : "DIFFER");

  // Bad input is an exception that names the argument; nothing has been written.
  try {
    kiln::GemmArgs wrong = operands.args(emulated);
    wrong.b.scales.shape = {3, 3};
    kiln::gemm(wrong, {.device = {kiln::Device::Kind::cpu}});
    std::printf("a wrong shape was accepted\n");
    return 1;
  } catch (const kiln::Error& error) {
    std::printf("refused, as it should be: %s\n", error.what());
  }
  return equal ? 0 : 1;
}
