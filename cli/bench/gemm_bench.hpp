// Times products of one shape after another in memory that is allocated once. For each row:
//
//   load operands -> run every variant, check its bits -> time all of them, alternating, with the
//   baselines -> check the bits again
//
// What it needs of a machine comes from outside, so that tests run all of it without a GPU.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/bench/baseline.hpp"
#include "cli/bench/gemm_bits.hpp"
#include "cli/bench/inputs.hpp"
#include "cli/bench/nvml.hpp"
#include "cli/bench/spec.hpp"
#include "cli/bench/timer.hpp"
#include "kiln/gemm.hpp"
#include "runtime/backend.hpp"

namespace kiln::bench {

/// How scales lie in memory.
enum class ScaleLayout {
  mn_major,   // columns, each padded to a multiple of 4 floats: DeepGEMM's layout
  row_major,  // rows, dense
  row_odd,    // rows with an odd pitch
  mn_odd      // columns with an odd pitch
};
inline constexpr std::array kScaleLayouts = {ScaleLayout::mn_major, ScaleLayout::row_major,
                                             ScaleLayout::row_odd, ScaleLayout::mn_odd};
const char* to_string(ScaleLayout layout) noexcept;
/// A view of [rows, columns] scales; its data is null.
TensorView scale_view(ScaleLayout layout, i64 rows, i64 columns);

/// A machine to measure on.
struct GemmRig {
  Backend& backend;  // its memory
  Timer& timer;
  Clocks& clocks;
  std::span<const std::unique_ptr<Baseline>> baselines;
};

struct GemmBenchOptions {
  TimerOptions timing;
  Check check = Check::sample;
  // Block scales of B are row-major unless B's layout says otherwise: they are so few.
  ScaleLayout a_layout = ScaleLayout::mn_major;
  std::optional<ScaleLayout> b_layout;
  bool every_layout = false;  // keep the scales in all layouts at once
};

/// One way to compute the row; start() enqueues it on the legacy default stream.
struct Variant {
  std::string name;
  std::function<void()> start;
};

/// What was measured of a variant or a baseline.
struct Samples {
  std::string name;
  std::vector<double> us;
  std::string note;  // of a baseline without times: why; of one with: what is odd about it
};

struct RowTimes {
  std::vector<Samples> variants, baselines;
  std::string timer;
  std::string timer_problem;  // why it is not "cupti"
  ClockReading busy;          // read once while the queue of runs is worked off: mostly the fill's
  std::string wrong;          // what a check found; empty: every bit is right
  std::string check;          // "8 rows", "all", "none": compared with the model
};

class GemmBench {
 public:
  /// Allocates what the largest of `specs` needs. Throws Error{driver} where that fails.
  GemmBench(const GemmRig& rig, const GemmBenchOptions& options, std::span<const GemmSpec> specs);
  ~GemmBench();
  GemmBench(const GemmBench&) = delete;
  GemmBench& operator=(const GemmBench&) = delete;

  /// The operands of a row in device memory, before any has data: for planning.
  GemmArgs arguments(const GemmSpec& spec) const;
  /// The same with other layouts of the scales; with every_layout only.
  GemmArgs arguments(const GemmSpec& spec, ScaleLayout a, ScaleLayout b) const;

  /// Fills the operands of a row.
  void load(const GemmSpec& spec);

  /// Of the row loaded last. The first variant is checked against the model, the others against it.
  RowTimes measure(std::span<const Variant> variants) {
    return measure(variants, options_.timing.runs);
  }
  /// The same with another number of runs.
  RowTimes measure(std::span<const Variant> variants, int runs);

  /// D of one more run of a variant, on the host, to look at: for tests and comparisons.
  std::vector<u8> output_of(const Variant& variant);

 private:
  struct Sizes;
  static Sizes sizes_of(std::span<const GemmSpec> specs);
  void* allocate(i64 bytes);
  void* scale_slot(void* base, i64 slot_floats, ScaleLayout layout) const;
  ScaleLayout b_layout(const GemmSpec& spec) const;
  void load_scales(const float* dense, const TensorView& view, float padding);
  void load_baseline_operands();
  void prepare_output();
  std::span<const u8> fetch(HostBuffer<u8>& buffer);
  std::string check_against_model(std::span<const u8> d, std::string& checked);
  std::optional<Subject> prepare_baseline(Baseline& baseline, std::string& note);
  std::string oddity_of_baseline(bool same_product);
  i64 d_bytes() const;

  const GemmRig rig_;
  const GemmBenchOptions options_;
  std::vector<void*> allocations_;
  void *a_ = nullptr, *b_ = nullptr, *c_ = nullptr, *d_ = nullptr;
  void *a_scales_ = nullptr, *b_scales_ = nullptr;
  i64 a_slot_ = 0, b_slot_ = 0;  // floats of a layout
  BaselineOperands baseline_;
  void *a_bf16_ = nullptr, *b_bf16_ = nullptr;

  GemmSpec spec_;  // loaded last
  u64 draw_ = 0;
  BlockPool row_pool_, block_pool_;
  HostBuffer<u8> a_host_, b_host_, c_host_, reference_, other_;
  HostBuffer<float> a_scales_host_, b_scales_host_, laid_out_;
  HostBuffer<u16> widened_;
};

}  // namespace kiln::bench
