// Litmus tests: small kernels in two versions, one that the memory model orders and one without the
// piece that does it. The checker must be silent about the first whatever the schedule, and must
// find the race of the second whatever the schedule.
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
#pragma once

#include <algorithm>
#include <cstring>
#include <sstream>

#include "tests/emu/engine_support.hpp"

namespace kiln::emu {

/// What a kernel finds: a global buffer, a tensor map over it, flags, and a place for another map.
struct LitmusMemory {
  alignas(256) u8 out[4096];
  alignas(256) u32 flags[64];
  alignas(256) TensorMap made;
};
struct LitmusParams {
  TensorMap map;  // boxes of 16 x 8 bytes in rows of 128
  u8* out;
  u32* flags;
  TensorMap* made;
};

inline LitmusParams fresh_params(LitmusMemory& memory) {
  std::memset(static_cast<void*>(&memory), 0, sizeof memory);
  TensorMapSpec spec;
  spec.base = memory.out;
  spec.extent = {128, 32, 1};
  spec.stride = {128, 0};
  spec.box = {16, 8, 1};
  return {emu_backend().encode(spec), memory.out, memory.flags, &memory.made};
}

/// In `body`, "$right$wrong$" stands for `right` in the version that is ordered and for `wrong` in
/// the other; /*1*/ and /*2*/ mark the lines of the two accesses of the race.
struct Litmus {
  int threads = 64;
  int arrivals = 1;  // of a phase of s.full and s.empty
  Grid grid = {.smem_bytes = 24 << 10};
  std::string body;
  /// What each report has, apart from the lines; "a|b": one of the two, since either access may
  /// come first.
  std::vector<std::string> words = {};

  Source source(bool right) const {
    std::string text;
    std::size_t part = 0;
    std::istringstream parts(body);
    for (std::string piece; std::getline(parts, piece, '$'); ++part)
      if (part % 3 == 0 || (part % 3 == 1) == right) text += piece;
    return {.threads = threads,
            .params = "TensorMap map; u8* out; u32* flags; TensorMap* made;",
            .declarations = R"(
    struct S {
      alignas(1024) u8 a[8192];
      alignas(1024) u8 b[8192];
      alignas(128) u8 box[1024];
      alignas(128) TensorMap map;
      u32 v[64];
      Barrier full, empty;
    };)",
            .body = R"(
    S& s = shared<S>();
    const int t = thread_idx(), warp = warp_idx(), lane = lane_idx(), rank = cluster_rank();
    (void)t; (void)warp; (void)lane; (void)rank;
    for (int i = t; i < 2048; i += kThreads)
      reinterpret_cast<u32*>(s.a)[i] = reinterpret_cast<u32*>(s.b)[i] = 0;
    for (int i = t; i < 256; i += kThreads) reinterpret_cast<u32*>(s.box)[i] = 0;
    for (int i = t; i < 64; i += kThreads) s.v[i] = 0;
    if (t == 0) {
      mbarrier_init(&s.full, )" +
                    std::to_string(arrivals) + "); mbarrier_init(&s.empty, " +
                    std::to_string(arrivals) + R"(); fence_mbarrier_init();
    }
    fence_proxy_async();
    cluster_arrive();
    cluster_wait();
)" + text + "\n    cluster_sync();"};
  }
};

inline int line_of(const std::string& text, const std::string& mark) {
  const std::size_t at = text.find(mark);
  return at == std::string::npos
             ? -1
             : 1 + static_cast<int>(
                       std::count(text.begin(), text.begin() + static_cast<long>(at), '\n'));
}

/// The line of a report that starts with `label`.
inline std::string labelled(const std::string& report, const std::string& label) {
  const std::size_t at = report.find(label);
  return at == std::string::npos ? "" : report.substr(at, report.find('\n', at) - at);
}

inline bool has_one_of(const std::string& report, const std::string& words) {
  std::istringstream alternatives(words);
  for (std::string word; std::getline(alternatives, word, '|');)
    if (report.find(word) != std::string::npos) return true;
  return false;
}

/// A report names both accesses with their lines, in either order, and has all of `words`.
inline void expect_report(const std::string& report, const std::string& text,
                          const std::vector<std::string>& words) {
  const std::string first = labelled(report, "first:"), second = labelled(report, "second:");
  const auto at = [&](const std::string& label, const char* mark) {
    const std::string line = ":" + std::to_string(line_of(text, mark)) + " ";
    return (label + " ").find(line) != std::string::npos;
  };
  EXPECT_TRUE((at(first, "/*1*/") && at(second, "/*2*/")) ||
              (at(first, "/*2*/") && at(second, "/*1*/")))
      << "wanted lines " << line_of(text, "/*1*/") << " and " << line_of(text, "/*2*/")
      << " in: " << report;
  EXPECT_NE(labelled(report, "wanted:"), "") << report;
  for (const std::string& word : words) EXPECT_TRUE(has_one_of(report, word)) << word << report;
}

inline LaunchSettings checked(std::uint64_t seed) {
  return {.seed = seed, .check = true, .policy = kPolicies[seed % std::size(kPolicies)]};
}
inline constexpr std::uint64_t kLitmusSeeds = 12;  // two of each policy

/// `launch(settings)` runs a kernel: it must end well under every seed and policy.
template <class Launch>
void expect_silence(Launch&& launch) {
  for (std::uint64_t seed = 1; seed <= kLitmusSeeds; ++seed) try {
      launch(checked(seed));
    } catch (const Error& error) {
      ADD_FAILURE() << "seed " << seed << ": " << error.what();
      return;
    }
}

/// The same for a kernel that races: `judge(report)` for each seed.
template <class Launch, class Judge>
void expect_races(Launch&& launch, Judge&& judge) {
  for (std::uint64_t seed = 1; seed <= kLitmusSeeds; ++seed) {
    std::string report;
    try {
      launch(checked(seed));
    } catch (const Error& error) {
      report = error.what();
      EXPECT_EQ(to_string(error.code()), std::string(to_string(ErrorCode::race))) << report;
    }
    EXPECT_NE(report, "") << "seed " << seed << ": nothing was found";
    if (!report.empty()) judge(report);
    if (testing::Test::HasFailure()) return;
  }
}

inline void expect_silence(const Litmus& litmus, bool right = true) {
  LitmusMemory memory;
  const Source source = litmus.source(right);
  expect_silence([&](const LaunchSettings& settings) {
    run(source, fresh_params(memory), litmus.grid, settings);
  });
}
inline void expect_races(const Litmus& litmus) {
  LitmusMemory memory;
  const Source source = litmus.source(false);
  expect_races(
      [&](const LaunchSettings& settings) {
        run(source, fresh_params(memory), litmus.grid, settings);
      },
      [&](const std::string& report) { expect_report(report, source.text(), litmus.words); });
}

/// Both versions.
inline void expect_pair(const Litmus& litmus) {
  expect_silence(litmus);
  expect_races(litmus);
}

}  // namespace kiln::emu
