// Where an operand of a wgmma lies: each layout and swizzle against the manual's canonical layouts,
// byte by byte, and what is wrong with a descriptor.
#include "runtime/emu/operand_tile.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "tests/emu/wgmma_layouts.hpp"

namespace kiln::emu {
namespace {

constexpr int kBytes = 200 * 1024;

u64 descriptor_of(const CanonicalLayout& layout, u32 address) {
  return layout.bits() | address >> 4;
}

/// Calls body(layout, rows, first address) for every layout, some heights, every K step of an atom.
template <class Body>
void for_each_tile(Body&& body) {
  for (const int element : {1, 2, 4})
    for (const CanonicalLayout& layout : canonical_layouts(element))
      for (const int rows : {8, 16, 24, 64, 72, 256}) {
        const int steps = layout.mn_major || layout.width == 1 ? 1 : layout.width / 2;
        for (int step = 0; step < steps; ++step) {
          SCOPED_TRACE(layout.name() + ", " + std::to_string(rows) + " rows, K step " +
                       std::to_string(step));
          body(layout, rows, 2048 + 32 * step);
          if (testing::Test::HasFatalFailure()) return;
        }
      }
}

TEST(OperandTile, RangesAreTheBytesOfTheCanonicalLayouts) {
  for_each_tile([](const CanonicalLayout& layout, int rows, int address) {
    std::map<int, int> wanted, found;
    for (int mn = 0; mn < rows; ++mn)
      for (int k = 0; k < 32 / layout.element; ++k)
        for (int byte = 0; byte < layout.element; ++byte)
          ++wanted[layout.swizzled(address + layout.plain(mn, k)) + byte];
    const OperandTile tile(descriptor_of(layout, static_cast<u32>(address)), rows, layout.mn_major);
    ASSERT_EQ(tile.error(kBytes), "");
    tile.for_each_range([&](u32 offset, u32 bytes) {
      for (u32 i = 0; i < bytes; ++i) ++found[static_cast<int>(kSharedBase + offset + i)];
    });
    ASSERT_EQ(found, wanted);  // every byte once
    ASSERT_EQ(wanted.size(), static_cast<std::size_t>(rows * 32));
  });
}

TEST(OperandTile, GathersRowAfterRow) {
  for_each_tile([](const CanonicalLayout& layout, int rows, int address) {
    std::vector<std::byte> shared(kBytes);
    const auto value = [](int mn, int byte) { return static_cast<u8>(mn * 37 + byte * 5 + 1); };
    for (int mn = 0; mn < rows; ++mn)
      for (int byte = 0; byte < 32; ++byte) {
        const int at = layout.swizzled(address + layout.plain(mn, byte / layout.element)) +
                       byte % layout.element;
        shared[static_cast<std::size_t>(at) - kSharedBase] = std::byte{value(mn, byte)};
      }
    const OperandTile tile(descriptor_of(layout, static_cast<u32>(address)), rows, layout.mn_major);
    std::vector<u8> out(static_cast<std::size_t>(rows) * kStepBytes);
    tile.gather(shared.data(), out.data());
    for (int mn = 0; mn < rows; ++mn)
      for (int byte = 0; byte < 32; ++byte)
        ASSERT_EQ(out[static_cast<std::size_t>(mn * 32 + byte)], value(mn, byte))
            << mn << ", " << byte;
  });
}

TEST(OperandTile, WholeAtomsAreOneRange) {
  int ranges = 0;
  const CanonicalLayout layout{true, 8, 2, 2048, 1024};
  OperandTile(descriptor_of(layout, 2048), 128, true).for_each_range([&](u32, u32 bytes) {
    EXPECT_EQ(bytes, 1024u);
    ++ranges;
  });
  EXPECT_EQ(ranges, 4);
}

std::string error_of(const CanonicalLayout& layout, int rows, u32 address = 2048) {
  return OperandTile(descriptor_of(layout, address), rows, layout.mn_major).error(kBytes);
}
void expect_error_of(const CanonicalLayout& layout, int rows, u32 address,
                     const std::string& words) {
  const std::string error = error_of(layout, rows, address);
  EXPECT_NE(error.find(words), std::string::npos) << words << " in: " << error;
}

TEST(OperandTile, Alignment) {
  expect_error_of({false, 8, 2, 0, 1024}, 64, 2048 + 16, "K step of 0, 32, 64 or 96 bytes");
  expect_error_of({false, 8, 2, 0, 1024}, 64, 2048 + 128,
                  "smem+1152: wanted a tile aligned to 1024");
  expect_error_of({false, 4, 2, 0, 512}, 64, 2048 + 64,
                  "aligned to 512 bytes, and a K step of 0 or 32 bytes");
  expect_error_of({false, 2, 2, 0, 256}, 64, 2048 + 32, "wanted a tile aligned to 256 bytes");
  expect_error_of({true, 8, 2, 1024, 1024}, 64, 2048 + 32, "wanted a tile aligned to 1024 bytes");
  EXPECT_EQ(error_of({false, 1, 2, 128, 256}, 64, 2048 + 16), "");
}

TEST(OperandTile, Strides) {
  expect_error_of({false, 8, 2, 0, 1040}, 64, 2048,
                  "stride of 1040 bytes between atoms, wanted a multiple of 1024");
  expect_error_of({false, 8, 2, 0, 0}, 16, 2048, "stride of 0");
  EXPECT_EQ(error_of({false, 8, 2, 0, 0}, 8), "");  // one atom needs no stride
  expect_error_of({false, 1, 2, 0, 256}, 8, 2048, "leading dimension of 0");
  expect_error_of({true, 4, 2, 512, 256}, 64, 2048,
                  "stride of 256 bytes between atoms, wanted a multiple of 512");
  expect_error_of({true, 4, 2, 256, 512}, 64, 2048, "leading dimension of 256");
  EXPECT_EQ(error_of({true, 4, 2, 0, 512}, 32), "");  // as wide as the swizzle
  expect_error_of({true, 1, 2, 0, 256}, 8, 2048, "leading dimension of 0");
  expect_error_of({true, 1, 2, 256, 0}, 16, 2048, "stride of 0");
}

TEST(OperandTile, BaseOffsetAndBounds) {
  const CanonicalLayout layout{false, 8, 2, 0, 1024};
  EXPECT_NE(OperandTile(descriptor_of(layout, 2048) | 3ull << 49, 64, false)
                .error(kBytes)
                .find("base offset 3; only 0 is emulated"),
            std::string::npos);
  const OperandTile tile(descriptor_of(layout, kSharedBase), 64, false);
  EXPECT_EQ(tile.error(8192), "");
  EXPECT_NE(tile.error(8191).find("covers 8192 bytes from smem+0, and the CTA has 8191"),
            std::string::npos);
  expect_error_of(layout, 64, 0, "smem+-1024");
  const CanonicalLayout mn{true, 8, 2, 4096, 1024};
  EXPECT_EQ(OperandTile(descriptor_of(mn, kSharedBase), 128, true).error(6144), "");
  EXPECT_NE(OperandTile(descriptor_of(mn, kSharedBase), 128, true).error(6143), "");
  const CanonicalLayout none{true, 1, 2, 128, 256};
  EXPECT_EQ(OperandTile(descriptor_of(none, kSharedBase), 64, true).error(2048), "");
  EXPECT_NE(OperandTile(descriptor_of(none, kSharedBase), 64, true).error(2047), "");
}

}  // namespace
}  // namespace kiln::emu
