// kiln quantize, swiglu and permute, run as a user runs them: the same files on the emulator and
// the CPU, dequantised values close to what went in, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "arith/codecs.hpp"
#include "tests/cli/cli_support.hpp"

namespace kiln::cli::test {
namespace {

using testing::HasSubstr;

/// What follows the header of a file that kiln wrote.
std::string values_of(const std::string& path) {
  const std::string file = read_text(path);
  return file.size() < 10 ? ""
                          : file.substr(10 + static_cast<unsigned char>(file[8]) +
                                        256 * static_cast<unsigned char>(file[9]));
}
std::vector<int> ints_of(const std::string& path) {
  const std::string bytes = values_of(path);
  std::vector<int> ints(bytes.size() / sizeof(int));
  std::memcpy(ints.data(), bytes.data(), bytes.size());
  return ints;
}

class CliCompanions : public testing::Test {
 protected:
  std::string path(const char* name) const { return directory / name; }
  void run(std::vector<std::string> arguments, const std::string& says) {
    const Outcome outcome = kiln(arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("all equal the model"));
    EXPECT_THAT(outcome.out, HasSubstr(says));
  }
  TestDirectory directory;
};

TEST_F(CliCompanions, QuantizeGivesTheSameFilesOnEveryDevice) {
  const ValueOf x = heavy_tailed(130, 200, 3);
  write_text(path("x.npy"), npy_matrix(130, 200, x));
  std::string first;
  for (const char* device : {"emu", "cpu"}) {
    run({"quantize", path("x.npy"), "-o", path("q.npy"), "--scales", path("s.npy"), "--transposed",
         path("t.npy"), "--transposed-scales", path("ts.npy"), "--as", "fp32", "--device", device},
        "130, 200] uint8, E4M3 codes");
    const std::string all = read_text(path("q.npy")) + read_text(path("s.npy")) +
                            read_text(path("t.npy")) + read_text(path("ts.npy"));
    EXPECT_EQ(all, first.empty() ? all : first) << device;
    first = all;
  }
  const std::string codes = values_of(path("q.npy")), transposed = values_of(path("t.npy"));
  const std::vector<float> scales = written_values(path("s.npy")),
                           transposed_scales = written_values(path("ts.npy"));
  for (int i = 0; i < 130; ++i)
    for (int j = 0; j < 200; ++j) {
      const float wanted = x(i, j);
      const float scale = scales[i * 2 + j / 128], other = transposed_scales[j * 2 + i / 128];
      // Half of a last place of 3 bits, or of a subnormal code.
      EXPECT_NEAR(e4m3_to_float(static_cast<u8>(codes[i * 200 + j])) * scale, wanted,
                  std::abs(wanted) / 15 + scale * 0x1p-9);
      EXPECT_NEAR(e4m3_to_float(static_cast<u8>(transposed[j * 130 + i])) * other, wanted,
                  std::abs(wanted) / 15 + other * 0x1p-9);
    }
}

TEST_F(CliCompanions, Swiglu) {
  write_text(path("x.npy"),
             npy_matrix(20, 300, [](auto, auto j) { return j < 150 ? 2.0F : 3.0F; }));
  run({"swiglu", path("x.npy"), "-o", path("a.npy"), "--out", "bf16", "--device", "emu"},
      "[20, 150] float32");
  for (const float a : written_values(path("a.npy")))
    EXPECT_NEAR(a, 2 / (1 + std::exp(-2.0)) * 3, 0.02);
  run({"swiglu", path("x.npy"), "-o", path("q.npy"), "--scales", path("s.npy"), "--clamp", "2.5",
       "--power-of-two"},
      "[20, 2] float32");
  for (const float s : written_values(path("s.npy"))) EXPECT_EQ(s, 0x1p-6F);  // 4.4 / 448, up
  const Outcome both = kiln(
      {"swiglu", path("x.npy"), "-o", path("a.npy"), "--out", "bf16", "--scales", path("s.npy")});
  EXPECT_EQ(both.code, 2);
  EXPECT_THAT(both.err, HasSubstr("wanted with --out e4m3 alone"));
}

TEST_F(CliCompanions, Permute) {
  const std::int64_t ids[] = {2, 0, -1, 2, 0, 2};
  write_text(path("ids.npy"), npy_bytes(1, npy_dictionary("<i8", false, "(3, 2)"),
                                        {reinterpret_cast<const char*>(ids), sizeof ids}));
  write_text(path("x.npy"), npy_matrix(3, 5, [](auto i, auto j) { return 10.0F * i + j; }));
  run({"permute", path("ids.npy"), "--groups", "3", "--ends", path("e.npy"), "--sources",
       path("s.npy"), "--rows", path("r.npy"), "--x", path("x.npy"), "-o", path("p.npy"),
       "--device", "emu"},
      "3 tokens x 2 slots, 3 groups");
  EXPECT_EQ(ints_of(path("e.npy")), (std::vector<int>{2, 2, 5}));
  EXPECT_EQ(ints_of(path("s.npy")), (std::vector<int>{1, 4, 0, 3, 5, -1}));
  EXPECT_EQ(ints_of(path("r.npy")), (std::vector<int>{2, 0, -1, 3, 1, 4}));
  const std::vector<float> rows = written_values(path("p.npy"));
  for (int j = 0; j < 5; ++j) EXPECT_EQ(rows[2 * 5 + j], 0.0F + j);   // token 0
  for (int j = 0; j < 5; ++j) EXPECT_EQ(rows[4 * 5 + j], 20.0F + j);  // token 2
}

TEST_F(CliCompanions, RefusesWhatMakesNoSense) {
  write_text(path("x.npy"), npy_matrix(3, 5, [](auto, auto) { return 1.0F; }));
  const Outcome floats = kiln({"permute", path("x.npy"), "--groups", "3"});
  EXPECT_EQ(floats.code, 1);
  EXPECT_THAT(floats.err, HasSubstr("wanted int32 ('<i4') or int64 ('<i8')"));
  const Outcome odd = kiln({"swiglu", path("x.npy"), "-o", path("a.npy"), "--device", "cpu"});
  EXPECT_EQ(odd.code, 1);
  EXPECT_THAT(odd.err, HasSubstr("x has shape [3, 5], wanted [M, 2H]"));
  EXPECT_EQ(directory.names(), std::vector<std::string>{"x.npy"});
}

}  // namespace
}  // namespace kiln::cli::test
