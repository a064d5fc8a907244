// A measured row as JSON and as a line of a table, and what a whole table adds up to.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/bench/gemm_bench.hpp"
#include "cli/bench/peers.hpp"
#include "cli/bench/stats.hpp"

namespace kiln::bench {

struct ReportedBaseline {
  std::string name, note;
  std::optional<Summary> times;
};

struct ReportedRow {
  GemmSpec spec;
  Summary kiln;
  std::vector<ReportedBaseline> baselines;
  std::optional<PeerRow> peer;
  std::optional<PeerRatio> vs_peer;
  int reruns = 0;
  std::string config, timer, timer_problem, check, wrong;
  ClockReading busy;

  double tflops() const { return flops_of(spec) / kiln.mean * 1e-6; }
  double gbs() const { return bytes_of(spec) / kiln.mean * 1e-3; }
  double times_floor() const { return kiln.mean / floor_us(spec); }
  /// A baseline's time over Kiln's: above 1, Kiln is faster.
  std::optional<double> versus(const std::string& baseline) const;
  bool disagrees() const { return vs_peer && vs_peer->disagreement() > kMostDisagreement; }
};

/// Of variant `index`.
ReportedRow report_row(const GemmSpec& spec, const RowTimes& times, std::size_t index,
                       const std::optional<PeerRow>& peer);

/// Of several passes of the same subjects the one whose mean, over all of them, is the median: no
/// pass is mixed with one that was disturbed. What a check found in any of them stays.
RowTimes median_pass(std::vector<RowTimes> passes);

Json json_of(const ReportedRow& row);

/// Notes for the end of a table, each once, with the rows that it is about.
class Notes {
 public:
  void add(const std::string& row, const std::string& text);
  /// "note: 1x576x7168 and 11 more: cublaslt_block: cuBLASLt ..."; a line each.
  std::string text() const;

 private:
  struct Note {
    std::string text, first_row;
    int rows = 0;
  };
  std::vector<Note> notes_;
};

/// The table's columns depend on what it compares with.
class RowTable {
 public:
  RowTable(std::vector<std::string> baselines, bool with_peer)
      : baselines_(std::move(baselines)), with_peer_(with_peer) {}
  std::string head() const;
  std::string line(const ReportedRow& row) const;

 private:
  std::vector<std::string> baselines_;
  bool with_peer_;
};

/// Geometric means and the number of slower rows, for all rows and by M.
std::string totals(const std::vector<ReportedRow>& rows);

}  // namespace kiln::bench
