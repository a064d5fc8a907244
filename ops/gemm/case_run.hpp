// Runs a GemmCase on a backend and says where the result differs from the bit model. Where the
// emulator's arithmetic is asked to be fast, the oracle says which values of D are right; where it
// has none, no value is wrong, and only what belongs to no element of D is compared.
//
// Every tensor sits between guards. Guards and everything that belongs to no element are 0xFF,
// which is NaN in every format, so that whatever is read by mistake shows, and are compared
// afterwards, so that whatever is written by mistake shows too.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "kiln/gemm.hpp"
#include "ops/gemm/cases.hpp"
#include "ops/gemm/reference.hpp"
#include "runtime/backend.hpp"

namespace kiln {

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

/// Values and scales of an operand, and an addend, as a case wants them.
void fill_operand(const ScaledTensor& operand, GemmValues values, std::mt19937& random);
void fill_addend(const TensorView& c, GemmValues values, std::mt19937& random);

/// The operands of a case, filled, and the D that the bit model makes of them.
class GemmCaseRun {
 public:
  class Memory;

  explicit GemmCaseRun(const GemmCase& test);

  /// Runs on a backend whose device is `device` and compares all memory. Empty: every bit is right.
  std::optional<std::string> run(const Device& device, Options options = {});

  /// Runs a kernel on an emulator of the caller's, from any thread. The config must fit.
  std::optional<std::string> run_on(Backend& emulator, const GemmConfig& config, Options options);

  /// The config that a call gets on `backend`: the case's own, or the planner's. Throws what the
  /// call would throw.
  GemmConfig config_on(Backend& backend, const Options& options);

  /// The same in the emulator with every tensor ending within 16 bytes of a page that does not
  /// exist: a kernel that reads or writes beyond the last element stops there.
  std::optional<std::string> run_before_guard_pages(Options options = {});

  /// Runs `times` more, comparing D on the host each time.
  std::optional<std::string> repeat(const Device& device, int times);

  /// The tensors in a device's memory, for tests that make the calls themselves. This object must
  /// stay where it is meanwhile.
  std::unique_ptr<Memory> place(const Device& device);

  /// The same in host memory, every tensor before a page that does not exist.
  std::unique_ptr<Memory> place_before_guard_pages();

  /// Makes A's scales what `producer` computes, an FP32 matrix of their shape: for a grid that
  /// follows another one.
  void scale_a_by(GemmCaseRun& producer);

  /// Calls gemm, with the case's config if it has one.
  void call(const GemmArgs& args, const Options& options) const;

  const GemmCase& test() const { return test_; }
  GemmArgs host_args();

 private:
  class DeviceMemory;
  class GuardPageMemory;

  std::optional<std::string> difference_of_d(std::vector<std::uint8_t> image,
                                             Emulation::Arithmetic how);
  GemmConfig base_config() const;
  void compute_expected();

  GemmCase test_;
  GuardedMatrix a_, a_scales_, b_, b_scales_, c_, d_;
  GuardedMatrix expected_;
  std::once_flag asked_oracle_;
  std::vector<OracleValue> oracle_;  // of D, row by row
};

/// Copies of a run's tensors somewhere. What is written is there for every stream when a function
/// returns, and every function waits for the device before it reads.
class GemmCaseRun::Memory {
 public:
  virtual ~Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// The run's call with addresses of this memory.
  GemmArgs args();

  /// Holds another run's tensors from now on, of the same types, shapes and layouts.
  void hold(GemmCaseRun& run);

  /// Makes D what it was before the first call.
  void poison();

  /// Where D is not what the model says or an input has changed; empty if all is right.
  std::optional<std::string> compare(Emulation::Arithmetic how = Emulation::Arithmetic::exact);
  std::optional<std::string> compare_d(Emulation::Arithmetic how = Emulation::Arithmetic::exact);

 protected:
  explicit Memory(GemmCaseRun& run);
  GuardedMatrix& matrix(std::size_t i) { return *matrices_[i]; }

  static constexpr std::size_t kTensors = 6, kD = 5;  // a, a.scales, b, b.scales, c, d
  std::array<void*, kTensors> images_ = {};

 private:
  void take(GemmCaseRun& run);
  virtual void write(std::size_t i) = 0;
  virtual std::vector<std::uint8_t> fetch(std::size_t i) = 0;
  virtual void settle() {}

  GemmCaseRun* run_ = nullptr;
  std::array<GuardedMatrix*, kTensors> matrices_ = {};
};

}  // namespace kiln
