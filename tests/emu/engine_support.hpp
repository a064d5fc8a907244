// Small kernels for tests of the emulator: written as text, compiled and run as every kernel is.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "kiln/error.hpp"
#include "runtime/emu/kernel.hpp"
#include "runtime/emu/launch.hpp"

namespace kiln::emu {

/// A kernel in the words that differ: `params` declares the members of Params, `body` is run()'s.
struct Source {
  int threads = 32;
  std::string params = "int unused;";
  std::string declarations = "";  // before the kernel
  std::string body = "";

  std::string text() const {
    return "#include \"device/ptx.hpp\"\nusing namespace kiln;\nusing namespace kiln::ptx;\n" +
           declarations + "\nstruct K {\n  struct Params { " + params +
           " };\n  static constexpr int kThreads = " + std::to_string(threads) +
           ";\n  static void run(const Params& p) {\n" + body + "\n  }\n};\nKILN_KERNEL(K)\n";
  }
};

inline const Kernel& compile(const std::string& text, const KernelShape& shape) {
  static std::map<std::string, std::vector<std::byte>> images;
  static std::map<std::tuple<std::string, int, int, int>, const LoadedKernel*> kernels;
  auto& image = images[text];
  if (image.empty()) image = emu_backend().compile(text);
  auto& kernel = kernels[{text, shape.threads, shape.cluster, shape.smem_bytes}];
  if (kernel == nullptr) kernel = emu_backend().load(image, shape);
  return static_cast<const Kernel&>(*kernel);
}

struct Grid {
  int ctas = 1;
  int cluster = 1;
  int smem_bytes = 4096;
};

/// Runs `source` once; `params` is a struct of the layout that the source declares.
template <class Params>
Statistics run(const Source& source, const Params& params, const Grid& grid = {},
               const LaunchSettings& settings = {}) {
  const Kernel& kernel = compile(source.text(), {source.threads, grid.cluster, grid.smem_bytes});
  return launch(kernel, grid.ctas, &params, sizeof params, settings);
}
inline Statistics run(const Source& source, const Grid& grid = {},
                      const LaunchSettings& settings = {}) {
  return run(source, 0, grid, settings);
}

/// Runs a kernel that must end in an error of `code` whose message has all of `words`.
template <class Params>
void expect_error(const Source& source, const Params& params, const Grid& grid, ErrorCode code,
                  const std::vector<std::string>& words, std::uint64_t seed = 1) {
  try {
    run(source, params, grid, {.seed = seed});
    FAIL() << "no error, wanted one with: " << words.front();
  } catch (const Error& error) {
    EXPECT_EQ(to_string(error.code()), std::string(to_string(code))) << error.what();
    for (const std::string& word : words)
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos)
          << "wanted \"" << word << "\" in: " << error.what();
  }
}
inline void expect_error(const Source& source, const Grid& grid, ErrorCode code,
                         const std::vector<std::string>& words, std::uint64_t seed = 1) {
  expect_error(source, 0, grid, code, words, seed);
}

/// Of 20 seeds, how many end in an error with `words`.
template <class Params>
int count_errors(const Source& source, const Params& params, const Grid& grid,
                 const std::string& words) {
  int count = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) try {
      run(source, params, grid, {.seed = seed});
    } catch (const Error& error) {
      count += std::string(error.what()).find(words) != std::string::npos;
    }
  return count;
}

/// A kernel that breaks a rule.
inline void expect_fails(const Source& source, const std::vector<std::string>& words,
                         const Grid& grid = {}) {
  expect_error(source, grid, ErrorCode::internal, words);
}
/// A kernel that cannot go on.
inline void expect_deadlock(const Source& source, const std::vector<std::string>& words,
                            const Grid& grid = {}) {
  expect_error(source, grid, ErrorCode::deadlock, words);
}

inline constexpr Emulation::Policy kPolicies[] = {
    Emulation::Policy::uniform,         Emulation::Policy::starve_copies,
    Emulation::Policy::eager_copies,    Emulation::Policy::starve_one_warp,
    Emulation::Policy::priority_change, Emulation::Policy::mixed};

/// A policy's word as a test's name.
inline std::string policy_name(const testing::TestParamInfo<Emulation::Policy>& info) {
  constexpr const char* kNames[] = {"uniform",         "starve_copies",   "eager_copies",
                                    "starve_one_warp", "priority_change", "mixed"};
  return kNames[static_cast<std::size_t>(info.param)];
}

/// Small numbers by hand, so that tests do not depend on the emulator's own generator.
class TestRandom {
 public:
  explicit TestRandom(std::uint32_t seed) : state_(seed * 2654435761u + 12345u) {}
  std::uint32_t next() {
    state_ = state_ * 1664525u + 1013904223u;
    return state_ >> 8;
  }

 private:
  std::uint32_t state_;
};

}  // namespace kiln::emu
