// What GEMM means, on host memory: the definition of its bits, a fast twin, and an fp64 oracle with
// a rigorous bound. D = A * B^T (+ C), include/kiln/gemm.hpp and README.md.
//
//   gemm_bit_model   plain loops, the definition             ~9 ns a multiply-add, one core
//   gemm_model       equal bits, vectorised, every core      ~0.04 ns a core with AVX-512
//   gemm_oracle      the exact value and |D - value| <= bound for every right D
//
// All take GemmArgs whose pointers are host addresses, already checked by the caller: shapes that
// agree, any positive element strides for every view, either recipe for either operand. Bytes that
// belong to no element are never read or written.
#pragma once

#include <functional>
#include <vector>

#include "arith/cpu_level.hpp"
#include "device/types.hpp"
#include "kiln/gemm.hpp"

namespace kiln {

/// Rows and columns of D.
struct GemmRegion {
  i64 row = 0, column = 0;
  i64 rows = 0, columns = 0;
};

inline GemmRegion whole(const GemmArgs& args) { return {0, 0, args.d.shape[0], args.d.shape[1]}; }

/// FP32 scale of K block `q` and a row of the operand (a column of D, for B).
float scale_of(const ScaledTensor& operand, i64 row, i64 q);

/// Writes the elements of D that lie in `region`.
void gemm_bit_model(const GemmArgs& args, const GemmRegion& region);

struct GemmModelOptions {
  int threads = 0;  // 0: one a core
  CpuLevel level = best_cpu_level();
  /// Called now and then with the elements of D done so far and their number, from any thread, one
  /// call at a time.
  std::function<void(i64 done, i64 total)> progress;
};

/// Writes all of D. Scratch memory is bounded: some 400 KiB a thread.
void gemm_model(const GemmArgs& args, const GemmModelOptions& options = {});

// ---- the oracle ---------------------------------------------------------------------------------

/// An element of D over the quantised inputs. `value` is exact up to rounding in fp64, which the
/// bound includes. A value of NaN or +-infinity is certain (its bound is 0); a bound of infinity
/// says that the roundings of the specification decide between overflow and a finite result.
struct OracleValue {
  double value = 0;
  double bound = 0;
};

/// Whether `d` is right as far as the oracle can tell.
bool agrees(float d, const OracleValue& oracle);

/// The elements of a region, row by row. Reads C: where C is D, ask before D is written.
std::vector<OracleValue> gemm_oracle(const GemmArgs& args, const GemmRegion& region,
                                     int threads = 0);
OracleValue gemm_oracle(const GemmArgs& args, i64 row, i64 column);

/// D against the oracle. mean(error) / mean(bound) of honest results lies in a band: a ratio far
/// below it means that D did not come from the arithmetic specified.
struct GemmAgreement {
  i64 elements = 0;
  i64 outside = 0;                      // elements that do not agree
  i64 first_row = 0, first_column = 0;  // of the first one outside
  i64 finite = 0;  // elements with a finite value and bound; the rest is about them
  double error_sum = 0, bound_sum = 0;
  double worst = 0;  // the largest error / bound
  double ratio() const { return bound_sum > 0 ? error_sum / bound_sum : 0; }

  void add(i64 row, i64 column, float d, const OracleValue& oracle);
};

/// Compares the elements of D in `region`. Not for a D that has overwritten its own C.
GemmAgreement gemm_compare(const GemmArgs& args, const GemmRegion& region, int threads = 0);

}  // namespace kiln
