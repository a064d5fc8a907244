// A file of other libraries' times (bench/baselines/h200_peers.json, or a result file of Kiln's),
// and what Kiln's time is worth against a row of it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/bench/spec.hpp"

namespace kiln::bench {

struct PeerRow {
  RowKey key;
  double us = 0;
  double vs_cublaslt = 0;  // cuBLASLt's time over the peer's, in the peer's run; 0: not known
};

class PeerFile {
 public:
  /// Throws Error{io} naming the file and what is wrong with it.
  static PeerFile read(const std::string& path);
  static PeerFile parse(const Json& file, const std::string& name);

  /// The GEMM rows of a section. Throws Error{invalid_argument} listing the sections there are.
  const std::vector<PeerRow>& section(const std::string& name) const;
  /// The fastest row with that key: a file may hold a shape twice.
  const PeerRow* find(const std::string& section, const RowKey& key) const;

 private:
  std::string name_;
  std::map<std::string, std::vector<PeerRow>> sections_;
};

/// Speed against a peer: above 1, Kiln is faster.
struct PeerRatio {
  double plain = 0;  // peer_us / kiln_us
  /// The same with the two runs' machines cancelled out, since cuBLASLt ran in both:
  /// (cublaslt / kiln, now) / (cublaslt / peer, in the file).
  std::optional<double> corrected;
  /// By how much they differ, as a fraction of the smaller; 0 without the corrected one.
  double disagreement() const;
};

/// Beyond this a row is measured again: one of the two runs was disturbed.
inline constexpr double kMostDisagreement = 0.03;

PeerRatio ratio_to(const PeerRow& peer, double kiln_us, std::optional<double> cublaslt_us);

}  // namespace kiln::bench
