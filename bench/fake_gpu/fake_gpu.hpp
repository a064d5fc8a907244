// What the fake libraries share. Everything runs when it is enqueued; the clock says how long it
// would have taken.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace kiln::fake {

struct Kernel {
  std::string name;
  std::uint64_t start = 0, end = 0;  // ns
  int grid = 0, block = 0;
};

struct __attribute__((visibility("default"))) Gpu {
  std::uint64_t now = 1'000'000;  // ns
  bool recording = false;
  std::vector<Kernel> kernels;

  /// A kernel of so many microseconds.
  void run(const char* name, double us, int grid, int block);
};

/// Exported by the fake libcuda.
extern "C" __attribute__((visibility("default"))) Gpu* kiln_fake_gpu();

/// A switch of the tests: the value of an environment variable, or "".
std::string switched(const char* name);

}  // namespace kiln::fake
