// Every probe compiles for sm_90a: without a GPU here, the recording would be the first to tell.
#include <gtest/gtest.h>

#include <map>

#include "kiln/error.hpp"
#include "runtime/cubin_compiler.hpp"
#include "tests/fidelity/probe.hpp"

namespace kiln::test {
namespace {

TEST(FidelityCompile, EveryProbeCompilesWithoutSpills) {
  std::map<std::string, std::string> sources;  // and the first probe that has it
  for (const Probe& probe : all_probes()) sources.emplace(probe.source, probe.name);
  EXPECT_GT(sources.size(), 5u);
  for (const auto& [source, name] : sources) {
    ResourceReport report;
    try {
      report = cubin_compiler().report(source);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::no_compiler) GTEST_SKIP() << error.what();
      ADD_FAILURE() << name << ": " << error.what();
      continue;
    }
    EXPECT_EQ(report.spill_store_bytes + report.spill_load_bytes, 0) << name;
  }
}

}  // namespace
}  // namespace kiln::test
