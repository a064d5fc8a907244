// What `kiln bench gemm` was asked for, and the rows that follow from it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/bench/gemm_bench.hpp"
#include "cli/bench/peers.hpp"

namespace CLI {
class App;
}

namespace kiln::bench {

struct GemmRequest {
  std::vector<GemmSpec> shapes;
  std::string suite, section, against, config, json, html;
  std::string compiler;  // "nvrtc", "nvcc"; empty: what KILN_COMPILER says
  std::vector<std::string> baselines;
  std::optional<ScaleRecipe> recipe;
  std::optional<OutType> out;
  std::optional<Addend> c;
  bool c_is_d = false;
  std::optional<Flush> flush;
  ScaleLayout scale_layout = ScaleLayout::mn_major;
  Check check = Check::sample;
  bool scale_layouts = false, both_compilers = false;
  int runs = 30, warm_up = 5, candidates = 0, device = 0;
  int flush_mb = 8000;
  bool list_suites = false;
};

/// Describes the options to the parser; they are read into `request`, which must outlive it.
void add_gemm_options(CLI::App& app, GemmRequest& request);
/// Those of them that say which rows, and how kernels are timed, for other commands; the defaults
/// are what `request` holds.
void add_row_options(CLI::App& app, GemmRequest& request);
void add_timing_options(CLI::App& app, GemmRequest& request);
/// Throws CLI::ValidationError for a name that is neither a suite's nor empty.
void check_suite(const std::string& name);

/// Throws CLI::ValidationError where options contradict each other or name nothing.
void check_request(const GemmRequest& request);

/// What to say where floors and peers are another card's than this one; "" where nothing.
std::string card_note(const GemmRequest& request, const std::string& device);

struct RowPlan {
  std::vector<GemmSpec> rows;  // each once
  std::string section;         // of the file of results, and of the peers' file
  Flush flush = Flush::dirty;
  std::vector<std::string> notes;  // to print before the table
};

/// `peers` may be null. Throws Error{invalid_argument} where the request contradicts itself.
RowPlan plan_rows(const GemmRequest& request, const PeerFile* peers);

}  // namespace kiln::bench
