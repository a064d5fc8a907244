// The kernels of the ladder as a program has them: their texts, how they are launched, and one call
// of one of them. docs/ladder/README.md walks up it.
#pragma once

#include <string>
#include <vector>

#include "kiln/gemm.hpp"
#include "runtime/backend.hpp"
#include "runtime/embedded_sources.hpp"

namespace kiln::ladder {

/// How much of LadderParams (rungs.cpp) a kernel takes: its own Params are a beginning of it.
enum class Arguments { pointers, operand_maps, scale_maps, all_maps };

struct Rung {
  std::string name;  // of its file: "01_naive"
  std::string adds;  // what is new in it
  KernelShape shape;
  int tile_m, tile_n;  // rows and columns of D that a CTA computes at a time
  Arguments arguments;
  int a_box_rows = 0;  // rows of A that one copy brings, where the copy engine does
  bool persistent = false;

  int number() const;  // from 1 on
};

/// From the lowest on.
const std::vector<Rung>& rungs();

/// The text of a rung's file, as the compilers get it.
std::string source_of(const Rung& rung);

/// Lines of code in its file: neither empty nor a comment.
int lines_of(const Rung& rung);

/// Kernels in the folder.
int ladder_files();

/// Why a rung does not take a product that kiln::gemm takes, or "". It wants B scaled by blocks, D
/// in BF16, no C, everything dense and A's scales along M, M a multiple of 64, N and K of 128 (K of
/// 512 where the copy engine brings scales), and the addresses that the copy engine takes.
std::string refusal(const Rung& rung, const GemmArgs& args);

/// One rung's kernel on one product.
class RungCall {
 public:
  /// Compiles and loads the kernel. A persistent one gets `sms` CTAs, 0: one an SM. Throws
  /// Error{invalid_argument} with the refusal.
  RungCall(Backend& backend, const Rung& rung, const GemmArgs& args, int sms = 0);
  /// The same with another text for its kernel.
  RungCall(Backend& backend, const Rung& rung, const std::string& source, const GemmArgs& args,
           int sms = 0);

  /// Enqueues it: D is what kiln::gemm makes of the same operands, bit for bit, as long as no E4M3
  /// code of A or B is a NaN (rungs 1 and 2 know none).
  void start(const LaunchOptions& options = {}) const;

 private:
  Backend& backend_;
  const LoadedKernel* kernel_;
  std::vector<std::byte> params_;
  int ctas_;
};

}  // namespace kiln::ladder
