// What the GPU and the emulator are asked alike, asked of the emulator.
#include <gtest/gtest.h>

#include "tests/support/gemm_promises.hpp"

namespace kiln::test {
namespace {

constexpr Options kEmu{.device = {Device::Kind::emu}};

TEST(EmuGemm, LaunchOptionsChangeNoBit) { expect_launch_options_change_no_bit(kEmu); }
TEST(EmuGemm, RowsAloneAreRowsOfTheWhole) { expect_rows_alone_are_rows_of_the_whole(kEmu); }
TEST(EmuGemm, NaNStaysInItsRowAndColumn) { expect_nan_stays_in_its_row_and_column(kEmu); }
TEST(EmuGemm, ChainsAreInOrder) { expect_chains_are_in_order(kEmu, 1); }
TEST(EmuGemm, ThreadsDoNotDisturbEachOther) {
  expect_threads_do_not_disturb_each_other({2, kEmu}, 2, 3);
}
TEST(EmuGemm, WideStridesAreRight) { expect_wide_strides_are_right(kEmu, 8192); }
TEST(EmuGemm, LargeProductsAreRight) { expect_large_products_are_right(kEmu, 300, 264); }

}  // namespace
}  // namespace kiln::test
