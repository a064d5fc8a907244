// Times grouped products, one kind of grouping beside another: the same rows, laid out as each kind
// wants them. For each row:
//
//   load operands -> run every variant, check its bits -> time all of them, alternating -> check
//   the bits again
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cli/bench/gemm_bench.hpp"
#include "cli/bench/grouped_spec.hpp"
#include "kiln/grouped_gemm.hpp"

namespace kiln::bench {

/// A machine to measure on.
struct GroupedRig {
  Backend& backend;  // its memory
  Timer& timer;
  Clocks& clocks;
};

struct GroupedBenchOptions {
  TimerOptions timing;
  Check check = Check::sample;
  unsigned seed = 1;  // of drawn sizes
};

class GroupedBench {
 public:
  /// Allocates what the largest of `specs` needs. Throws Error{driver} where that fails.
  GroupedBench(const GroupedRig& rig, const GroupedBenchOptions& options,
               std::span<const GroupedSpec> specs, std::span<const Grouping::Kind> kinds);
  ~GroupedBench();
  GroupedBench(const GroupedBench&) = delete;
  GroupedBench& operator=(const GroupedBench&) = delete;

  /// The operands of a row in device memory, before any has data: for planning.
  GroupedGemmArgs arguments(const GroupedSpec& spec, Grouping::Kind kind) const;

  /// Fills the operands of a row, for every kind.
  void load(const GroupedSpec& spec);

  struct KindVariant {
    Variant variant;
    Grouping::Kind kind;
  };
  /// Of the row loaded last. Every variant is checked against the model.
  RowTimes measure(std::span<const KindVariant> variants);

 private:
  struct Operands {
    Grouping::Kind kind;
    void *a = nullptr, *a_scales = nullptr, *index = nullptr;
  };

  void* allocate(i64 bytes);
  i64 matrices_of_b(const GroupedSpec& spec) const;
  const Operands& operands_of(Grouping::Kind kind) const;
  void load_b(const GroupedSpec& spec);
  void load_a(const Operands& operands);
  std::string difference(Grouping::Kind kind, std::string& checked);

  const GroupedRig rig_;
  const GroupedBenchOptions options_;
  std::vector<void*> allocations_;
  std::vector<Operands> operands_;
  void *b_ = nullptr, *b_scales_ = nullptr, *d_ = nullptr;

  GroupedSpec spec_;  // loaded last
  std::vector<i64> sizes_;
  u64 draw_ = 0;
  BlockPool row_pool_, block_pool_;
  HostBuffer<u8> a_host_, b_host_;
  HostBuffer<float> a_scales_host_, b_scales_host_, laid_out_;
};

}  // namespace kiln::bench
