// The checker: clusters of a launch, grids of a stream, programmatic dependent launch, and a
// barrier of a whole grid. PTX
// #parallel-synchronization-and-communication-instructions-griddepcontrol
#include "tests/emu/checker_together.hpp"

namespace kiln::emu {
namespace {

// ---- clusters of one launch
// ---------------------------------------------------------------------- PTX
// #cluster-of-cooperative-thread-arrays: clusters run in any order, or at the same time.

TEST(CheckerGrid, ClustersOfALaunchMustNotWriteTheSameBytes) {
  const auto source = [](const std::string& body) {
    return Source{.params = "u32* out;", .body = body};
  };
  u32 out[64] = {};
  const auto launch = [&](const std::string& body) {
    return [&out, source, body](const LaunchSettings& settings) {
      run(source(body), static_cast<u32*>(out), {.ctas = 4, .cluster = 2}, settings);
    };
  };
  const auto judge = [](const std::string& report) {
    for (const char* word :
         {"CTA 2 warp 0 lane 0", "by the cluster of CTA 0, which runs at the same",
          "clusters of a launch run in any order", "kernel.cpp:9"})
      EXPECT_NE(report.find(word), std::string::npos) << report;
  };
  const std::string one = "if (thread_idx() == 0 && cluster_rank() == 0) ";
  expect_silence(launch(one + "p.out[cta_idx()] = 1;"));
  expect_races(launch(one + "p.out[0] = 1;"), judge);
  expect_silence(launch(one + "p.out[8 + cta_idx()] = p.out[0];"));
  expect_races(launch(one + "p.out[cta_idx()] = p.out[0];"), judge);
  expect_silence(launch(one + "red_add_relaxed<Scope::gpu>(p.out, 1u);"));
}

// ---- grids of a stream
// ---------------------------------------------------------------------------

struct Step {
  std::string body;
  bool pdl;
};

/// Grids in a row: each a kernel of its own.
auto launch_row(const std::vector<Step>& steps, u32 (&out)[64]) {
  return [steps, &out](const LaunchSettings& settings) {
    std::fill(std::begin(out), std::end(out), 0u);
    u32* const params = out;
    std::vector<GridLaunch> grids;
    for (const Step& step : steps) {
      const Source source = {.params = "u32* out;", .body = step.body};
      grids.push_back({.kernel = &compiled(source, {}),
                       .ctas = 2,
                       .params = &params,
                       .bytes = sizeof params,
                       .pdl = step.pdl});
    }
    launch_together(grids, settings);
  };
}

const std::string kOne = "if (cta_idx() == 0 && thread_idx() == 0) ";
const std::string kWrite = kOne + "p.out[0] = 7;", kRead = kOne + "p.out[1] = p.out[0];",
                  kAllow = "grid_dependency_launch();\n", kWait = "grid_dependency_wait();\n";

void expect_grids_race(const std::vector<Step>& steps, const std::string& one,
                       const std::string& other) {
  u32 out[64];
  expect_races(launch_row(steps, out), [&](const std::string& report) {
    for (const std::string& word :
         {one + " CTA 0 warp 0 lane 0", other + " CTA 0 warp 0 lane 0", std::string("kernel.cpp:")})
      EXPECT_NE(report.find(word), std::string::npos) << report;
  });
}
void expect_grids_silent(const std::vector<Step>& steps) {
  u32 out[64];
  expect_silence(launch_row(steps, out));
}

TEST(CheckerGrid, AStreamOrdersItsGrids) {
  expect_grids_silent({{kWrite, false}, {kRead, false}});
  expect_grids_silent({{kWrite, false}, {kRead, false}, {kWrite, false}});
}

TEST(CheckerGrid, ADependentGridMustWait) {
  expect_grids_silent({{kAllow + kWrite, false}, {kWait + kRead, true}});
  expect_grids_race({{kAllow + kWrite, false}, {kRead, true}}, "grid 0", "grid 1");
  // Its own writes as well.
  expect_grids_silent({{kAllow + kRead, false}, {kWait + kWrite, true}});
  expect_grids_race({{kAllow + kRead, false}, {kWrite, true}}, "grid 0", "grid 1");
}

/// That a grid allows the next one to start says nothing of what it has written before.
TEST(CheckerGrid, AllowingTheNextGridReleasesNothing) {
  expect_grids_race({{kWrite + "\n" + kAllow, false}, {kRead, true}}, "grid 0", "grid 1");
  // Even without: the next grid starts when all CTAs have exited, and does not wait.
  expect_grids_race({{kWrite, false}, {kRead, true}}, "grid 0", "grid 1");
}

/// A wait is for the grid before, and what that one has not waited for may still run.
TEST(CheckerGrid, AWaitReachesAsFarAsTheGridBeforeHasWaited) {
  expect_grids_silent({{kAllow + kWrite, false}, {kAllow + kWait, true}, {kWait + kRead, true}});
  expect_grids_race({{kAllow + kWrite, false}, {kAllow, true}, {kWait + kRead, true}}, "grid 0",
                    "grid 2");
}

/// A grid that is launched without the attribute starts when all before it have completed.
TEST(CheckerGrid, AnOrdinaryGridComesAfterAllBeforeIt) {
  expect_grids_silent({{kAllow + kWrite, false}, {kAllow, true}, {kRead, false}});
}

// ---- a barrier of a whole grid
// ------------------------------------------------------------------- A counter in global memory:
// each CTA adds one when all its threads have come, and waits for the count. PTX
// #memory-consistency-model-causality-order

Litmus grid_barrier(const std::string& arrive, const std::string& wait) {
  return {.threads = 64,
          .body = R"(
    for (u32 round = 1; round <= 2; ++round) {
      if (t == 33) p.flags[8 + cta_idx()] = round;  /*1*/
      cta_sync();
      if (t == 0) {
        )" + arrive +
                  R"(
        )" + wait +
                  R"(
      }
      cta_sync();
      if (t == 34) s.v[5] = p.flags[8 + (cta_idx() + 1) % num_ctas()];  /*2*/
      cta_sync();
      if (t == 0) {
        atom_add<Order::acq_rel, Scope::gpu>(p.flags + 1, 1u);
        wait_until_at_least<Scope::gpu>(p.flags + 1, round * num_ctas());
      }
      cta_sync();
    })",
          .words = {"written by CTA|read by CTA", "warp 1 lane 1", "warp 1 lane 2"}};
}

TEST(CheckerGrid, ABarrierOfTheGrid) {
  const std::string wait = "wait_until_at_least<Scope::gpu>(p.flags, round * num_ctas());";
  expect_together(
      grid_barrier("atom_add<Order::$release$relaxed$, Scope::gpu>(p.flags, 1u);", wait), false, 3);
  expect_together(
      grid_barrier("atom_add<Order::release, Scope::gpu>(p.flags, 1u);", "$" + wait + "$$"), false,
      3);
}

}  // namespace
}  // namespace kiln::emu
