// What Kiln is compared with in the same process, run by run: cuBLASLt on the same data.
//
//   cublaslt        E4M3 x E4M3, one scale an operand, fast accumulation off (torch._scaled_mm)
//   cublaslt_block  E4M3 x E4M3 with the scales of the row: 1x128 x 128x128 or 1x128 x 1x128
//   cublaslt_bf16   BF16 x BF16 of the same codes
//
// Each with the algorithm that its heuristic names first for 32 MiB of workspace.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/bench/spec.hpp"
#include "cli/bench/timer.hpp"
#include "runtime/backend.hpp"

namespace kiln::bench {

inline constexpr std::size_t kBaselineWorkspace = std::size_t{32} << 20;

/// Device memory, all of it 256-byte aligned.
struct BaselineOperands {
  GemmSpec spec;
  void* a = nullptr;          // [m, k], dense; E4M3, or BF16 for cublaslt_bf16
  void* b = nullptr;          // [n, k]
  void* d = nullptr;          // [m, n], dense, of its own; it is C as well where C is added
  void* one = nullptr;        // FP32 1: the scale of an operand
  void* a_scales = nullptr;   // FP32, columns of m
  void* b_scales = nullptr;   // FP32, columns of n; or rows of cdiv(k,128) rounded up to 4
  void* workspace = nullptr;  // kBaselineWorkspace bytes
};

class Baseline {
 public:
  virtual ~Baseline() = default;
  virtual const std::string& name() const = 0;
  virtual bool reads_bf16() const = 0;
  /// Whether its D is the same product as Kiln's, up to rounding.
  virtual bool same_product() const = 0;
  /// Chooses an algorithm and runs it once. Nothing, with the reason, where it cannot do the row.
  /// What the subject uses lives until the next call.
  virtual std::optional<Subject> prepare(const BaselineOperands& operands,
                                         std::string& why_not) = 0;
  /// The library's file and version.
  virtual std::string describe() const = 0;
};

/// The baselines of these names ("cublaslt" also brings cublaslt_block). Throws
/// Error{invalid_argument} for other names; where cuBLASLt is missing, Error{unsupported} with what
/// was looked for. A device's context is current.
std::vector<std::unique_ptr<Baseline>> open_baselines(const std::vector<std::string>& names,
                                                      Backend& backend,
                                                      const std::vector<std::string>& directories);

/// Every name that open_baselines knows.
const std::vector<std::string>& baseline_names();

}  // namespace kiln::bench
