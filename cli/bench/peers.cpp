#include "cli/bench/peers.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/bench/results.hpp"
#include "kiln/error.hpp"

namespace kiln::bench {
namespace {

double positive(const Json& row, const char* name) {
  const auto found = row.find(name);
  if (found == row.end() || !found->is_number()) return 0;
  return std::max(0.0, found->get<double>());
}

/// A row of a GEMM by m, n, k; nothing for rows of other operations and without a time.
std::optional<PeerRow> parse_row(const Json& row) {
  if (!row.is_object()) return {};
  for (const char* name : {"m", "n", "k"})
    if (!row.contains(name) || !row[name].is_number()) return {};
  PeerRow peer{.key = key_of(row), .us = positive(row, "us")};
  if (peer.us == 0) return {};
  peer.vs_cublaslt = positive(row, "vs_cublaslt");
  if (peer.vs_cublaslt == 0) peer.vs_cublaslt = positive(row, "cublaslt_us") / peer.us;
  return peer;
}

}  // namespace

PeerFile PeerFile::read(const std::string& path) { return parse(read_results(path), path); }

PeerFile PeerFile::parse(const Json& file, const std::string& name) {
  if (!file.is_object())
    throw Error(ErrorCode::io, name + " is no file of results: wanted an object of sections");
  PeerFile result;
  result.name_ = name;
  for (const auto& [section, rows] : file.items()) {
    if (!rows.is_array()) continue;
    std::vector<PeerRow> parsed;
    for (const Json& row : rows)
      if (auto peer = parse_row(row)) parsed.push_back(std::move(*peer));
    if (!parsed.empty()) result.sections_[section] = std::move(parsed);
  }
  return result;
}

const std::vector<PeerRow>& PeerFile::section(const std::string& name) const {
  const auto found = sections_.find(name);
  if (found != sections_.end()) return found->second;
  std::string names;
  for (const auto& [section, rows] : sections_) names += (names.empty() ? "" : ", ") + section;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("{} has no section '{}' with GEMM rows; it has {}", name_, name,
                          names.empty() ? "none" : names));
}

const PeerRow* PeerFile::find(const std::string& section_name, const RowKey& key) const {
  const PeerRow* best = nullptr;
  for (const PeerRow& row : section(section_name))
    if (row.key == key && (!best || row.us < best->us)) best = &row;
  return best;
}

double PeerRatio::disagreement() const {
  if (!corrected) return 0;
  return std::max(plain, *corrected) / std::min(plain, *corrected) - 1;
}

PeerRatio ratio_to(const PeerRow& peer, double kiln_us, std::optional<double> cublaslt_us) {
  PeerRatio ratio{.plain = peer.us / kiln_us};
  if (cublaslt_us && peer.vs_cublaslt > 0)
    ratio.corrected = *cublaslt_us / kiln_us / peer.vs_cublaslt;
  return ratio;
}

}  // namespace kiln::bench
