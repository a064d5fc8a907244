// What must hold on every device that runs kernels, as GoogleTest expectations: the emulator and
// the GPU are asked the same. `options` names the device, and a stream where there are streams.
#pragma once

#include <functional>
#include <vector>

#include "device/types.hpp"
#include "kiln/gemm.hpp"

namespace kiln::test {

/// The number of SMs, programmatic launch and the stream change no bit.
void expect_launch_options_change_no_bit(const Options& options);

/// Rows of a product alone are those rows of the whole, however many there are.
void expect_rows_alone_are_rows_of_the_whole(const Options& options);

/// A NaN in row i of A or column j of the product's other side is NaN in exactly that row or column
/// of D, be it a value or a scale; a NaN of C in exactly that element.
void expect_nan_stays_in_its_row_and_column(const Options& options);

/// Calls that read and overwrite what the calls before them wrote, one after the other without a
/// wait between, give what the model gives in that order. `repeats` times, each of which makes the
/// calls through `run`, if there is one: a graph may stand for them.
void expect_chains_are_in_order(
    const Options& options, int repeats,
    const std::function<void(const std::function<void()>& calls)>& run = {});

/// One thread for each of `options`, all at once: each makes `rounds` rounds of calls of `shapes`
/// different products without a wait within a round, and compares.
void expect_threads_do_not_disturb_each_other(const std::vector<Options>& options, int rounds,
                                              int shapes);

/// Rows that lie `stride` bytes from each other in A, B, C, D and the scales of A, and K blocks as
/// far apart in the scales of B. With 8 MiB, offsets pass 2^32 bytes; needs 600 strides of memory
/// twice.
void expect_wide_strides_are_right(const Options& options, i64 stride);

/// A dense D of m rows of n, K = 128, one call without and one with C == D, checked in sampled
/// rows: the first, the last, and those beside each multiple of 2^31 bytes and elements. Needs
/// about 2 * m * n bytes of device memory.
void expect_large_products_are_right(const Options& options, i64 m, i64 n);

}  // namespace kiln::test
