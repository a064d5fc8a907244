// Runs a GemmCase on a backend and says where the result differs from the bit model.
//
// Every tensor sits between guards. Guards and everything that belongs to no element are 0xFF,
// which is NaN in every format, so that whatever is read by mistake shows, and are compared
// afterwards, so that whatever is written by mistake shows too.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kiln/gemm.hpp"
#include "ops/gemm/cases.hpp"
#include "runtime/backend.hpp"

namespace kiln::test {

/// A matrix with its guards, in host memory.
class GuardedMatrix {
 public:
  GuardedMatrix(DType dtype, i64 rows, i64 columns, const GemmLayout& layout);

  /// Bytes of the image up to the end of the last element.
  i64 used_bytes() const;

  TensorView view();                             // in this object's memory
  TensorView view_at(void* device_image) const;  // in a copy of image() somewhere else
  std::vector<std::uint8_t>& image() { return image_; }
  const std::vector<std::uint8_t>& image() const { return image_; }

  /// Where `actual`, a later copy of the image, differs from this one: "byte 70000, element [3,
  /// 17], is 3f80, wanted 3f81" or "byte 12, before the matrix, ...".
  std::optional<std::string> difference(const std::vector<std::uint8_t>& actual) const;

 private:
  static constexpr i64 kGuard = 4096;  // bytes on each side; keeps 256-byte alignment
  TensorView view_;
  i64 first_ = 0;  // byte of the first element
  std::vector<std::uint8_t> image_;
};

/// The operands of a case, filled, and the D that the bit model makes of them.
class GemmRun {
 public:
  explicit GemmRun(const GemmCase& test);

  /// Runs on a backend whose device is `device` and compares all memory. Empty: every bit is right.
  std::optional<std::string> run(const Device& device, Options options = {});

  /// The same in the emulator with every tensor ending within 16 bytes of a page that does not
  /// exist: a kernel that reads or writes beyond the last element stops there.
  std::optional<std::string> run_before_guard_pages(Options options = {});

  /// Runs `times` more, comparing D on the host each time.
  std::optional<std::string> repeat(const Device& device, int times);

  const GemmCase& test() const { return test_; }
  GemmArgs host_args();

 private:
  class Memory;
  class DeviceMemory;
  class GuardPageMemory;
  void start(Memory& memory, const Options& options);
  std::optional<std::string> compare(Memory& memory);

  GemmCase test_;
  GuardedMatrix a_, a_scales_, b_, b_scales_, c_, d_;
  GuardedMatrix expected_;
};

/// Runs many cases on all cores at once, each on its own: kernels compile side by side and calls
/// come from many threads. One line for each case that is wrong, with its name.
std::vector<std::string> run_all(const std::vector<GemmCase>& cases, const Device& device);

/// A random case: sizes, recipes, types, layouts and alignments. The same seed, the same case.
GemmCase random_gemm_case(unsigned seed, i64 largest_m, i64 largest_n, i64 largest_k);

}  // namespace kiln::test
