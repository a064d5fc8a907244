// The recording replayed: what tests/emu and tests/gpu share.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/fidelity/golden.hpp"

namespace kiln::test {

/// The names of the probes and of the recordings: neither may lack one of the other's.
inline std::set<std::string> probe_names() {
  std::set<std::string> names;
  for (const Probe& probe : all_probes()) names.insert(probe.name);
  for (const auto& [name, recording] : golden_sm90().probes) names.insert(name);
  return names;
}

inline std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

inline void expect_as_recorded(Backend& backend, const std::string& name, std::uint64_t seed) {
  const auto& probes = all_probes();
  const auto probe = std::find_if(probes.begin(), probes.end(),
                                  [&](const Probe& candidate) { return candidate.name == name; });
  ASSERT_NE(probe, probes.end()) << "it was recorded and is no longer a probe";
  const auto recorded = golden_sm90().probes.find(name);
  ASSERT_NE(recorded, golden_sm90().probes.end()) << "it was never recorded: " << probe->asks;
  EXPECT_EQ(difference(*probe, recorded->second, run_probe(backend, *probe, seed)).value_or(""), "")
      << probe->asks << "; seed " << seed;
}

}  // namespace kiln::test
