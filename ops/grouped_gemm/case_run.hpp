// Runs a grouped GEMM of random operands on a backend and compares every byte of memory.
//
// What belongs to no group, in A, its scales, C, and around every tensor, is 0xFF, which is NaN in
// every format, and so is D before the call: whatever is read by mistake shows, and so does
// whatever is written by mistake. What is expected of a group is what gemm's bit model makes of its
// rows by themselves.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kiln/grouped_gemm.hpp"
#include "ops/gemm/case_run.hpp"
#include "ops/grouped_gemm/config.hpp"
#include "ops/grouped_gemm/model.hpp"

namespace kiln {

struct GroupedCase {
  std::string name;
  Grouping::Kind kind = Grouping::Kind::offsets;
  std::vector<int> sizes;  // rows of each group
  i64 n = 1, k = 1;
  i64 rows = 0;  // Mmax, or M; 0: just enough
  i64 alignment = 128;
  i64 expected_rows = 0;
  int holes = 0;  // of row ids: one row in so many is nobody's; 0: none
  ScaleRecipe b_recipe = ScaleRecipe::block_128x128;
  Addend c = Addend::none;
  OutType d = OutType::bf16;
  bool c_is_d = false;
  int plane_padding = 0;  // rows between the matrices of a batch
  GemmLayout a, a_scales, b, b_scales, d_layout;
  GemmValues values = GemmValues::quantised;
  std::string config;  // fields of a GroupedConfig; empty: the planner's choice
  unsigned seed = 1;
};

/// "offsets 3 groups of 0,1,200 x 136 x 400".
std::string to_string(const GroupedCase& test);

/// Sizes, kinds, recipes, types and layouts at random; the same seed, the same case.
GroupedCase random_grouped_case(unsigned seed, int most_groups, int most_rows, i64 largest_n,
                                i64 largest_k);

/// Gives a case scales that the copy engine takes: along K, or along the rows (those of batches
/// only if matrices are a multiple of four rows apart; scales of B by row always lie along the
/// rows).
void lay_scales_for_copies(GroupedCase& test, bool along_k);

class GroupedCaseRun {
 public:
  explicit GroupedCaseRun(const GroupedCase& test);

  /// Empty: every byte is right.
  std::optional<std::string> run(const Device& device, Options options = {});

  /// Compiles and loads what run(device) will use; several threads may do so for several cases.
  void prepare(const Device& device);

  /// Overwrites the index, whose entries may be anything, before a run. Expected is what
  /// rows_of_groups makes of it.
  void set_index(const std::vector<int>& index);

  /// The call on host memory.
  GroupedGemmArgs host_args();

 private:
  static constexpr std::size_t kTensors = 7;
  std::array<GuardedMatrix*, kTensors> tensors();
  GroupedGemmArgs args_in(const std::array<void*, kTensors>& images);
  GroupedConfig config() const;
  void write_index(const std::vector<int>& index);
  void expect(const std::vector<GroupRows>& rows);

  GroupedCase test_;
  i64 rows_ = 0;
  GuardedMatrix a_, a_scales_, b_, b_scales_, c_, d_, ends_;
  GuardedMatrix expected_;
};

}  // namespace kiln
