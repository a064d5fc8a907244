// The tensor core: which register holds which accumulator, and where each element of an operand is
// read from, for every type, layout and swizzle.
#include "tests/fidelity/wgmma_probe.hpp"

namespace kiln::test {
namespace {

/// D[r][c] is r in the first launch and c in the second: which register holds which element. All
/// types have the numbers 0 to 4 and their powers of four; r and c have four digits to base 4.
Probe fragments(const WgmmaKind& kind, int n, const std::vector<int>& widths) {
  Probe probe = product_probe(
      kind, "fragments/n" + std::to_string(n),
      "the row, then the column that each accumulator holds, N = " + std::to_string(n), n, widths);
  probe.output_bytes = static_cast<std::size_t>(64 * n);
  probe.value = ProbeValue::byte;
  const auto digits = [](const NumberFormat& format, int rows, bool of_row) {
    OperandImage image(format, rows);
    for (int row = 0; row < rows; ++row)
      for (int digit = 0; digit < 4; ++digit)
        image.put(
            row, digit,
            of_row ? format.whole(static_cast<u32>(row) >> 2 * digit & 3)
                   : format.whole(u32{1}) + (static_cast<u32>(2 * digit) << format.fraction_bits));
    return image.bytes();
  };
  for (const bool rows : {true, false}) {
    const int a = put(probe.input, digits(kind.a, 64, rows));
    const int b = put(probe.input, digits(kind.b, n, !rows));
    probe.launches.push_back(product_launch(rows ? "rows" : "columns", n, a, b, -1, 1));
    probe.launches.back().args[kArgAsBytes] = 1;
  }
  return probe;
}

void add_k_major(std::vector<Probe>& probes, const WgmmaKind& kind, bool of_a) {
  const auto add = [&](int swizzle, int leading, int stride, int start) {
    probes.push_back(layout_probe(kind, {of_a, false, swizzle, leading, stride, start}));
  };
  add(0, 1152, 128, 0);
  add(0, 128, 256, 16);
  for (const int swizzle : {32, 64, 128})
    for (int start = 0; start < swizzle; start += 32) add(swizzle, 16, 8 * swizzle, start);
  add(128, 16, 2048, 64);
  add(128, 16, 1024, 2048 + 64);
  add(64, 16, 1024, 512);
}

void add_mn_major(std::vector<Probe>& probes, const WgmmaKind& kind, bool of_a) {
  const auto add = [&](int swizzle, int leading, int stride, int start) {
    probes.push_back(layout_probe(kind, {of_a, true, swizzle, leading, stride, start}));
  };
  add(0, 2176, 128, 0);  // leading: 8 k on, stride: 8 rows on
  add(0, 128, 256, 16);
  for (const int swizzle : {32, 64, 128}) {
    add(swizzle, 16 * swizzle, 8 * swizzle, 0);    // the k of a column of atoms are neighbours
    add(swizzle, 8 * swizzle, 4096, 8 * swizzle);  // the rows are
  }
}

}  // namespace

std::vector<Probe> wgmma_layout_probes() {
  std::vector<Probe> probes;
  for (const WgmmaKind& kind : wgmma_kinds()) {
    const bool is_mixed = kind.name.size() > 4;
    if (kind.name == "e4m3") {
      std::vector<int> usual, others = {8, 24, 120, 200, 208, 248, 256};
      for (int n = 16; n <= 192; n += 16) usual.push_back(n);
      for (const int n : usual) probes.push_back(fragments(kind, n, usual));
      for (const int n : others) probes.push_back(fragments(kind, n, others));
    } else if (!is_mixed) {
      for (const int n : {8, 256}) probes.push_back(fragments(kind, n, {8, 256}));
    }
    probes.push_back(register_probe(kind));
    if (is_mixed) continue;
    for (const bool of_a : {true, false}) {
      add_k_major(probes, kind, of_a);
      if (kind.a.bytes == 2) add_mn_major(probes, kind, of_a);
    }
  }
  return probes;
}

}  // namespace kiln::test
