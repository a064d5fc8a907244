// A launch: the clusters of a grid, each run to its end by an engine, on as many OS threads as
// there are cores. What a cluster does follows from the launch's policy, seed and its own index,
// not from the thread that runs it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kiln/options.hpp"
#include "runtime/emu/event.hpp"
#include "runtime/emu/kernel.hpp"

namespace kiln::emu {

struct LaunchSettings {
  std::uint64_t seed = 1;
  int workers = 0;               // OS threads; 0: one a core
  Observer* observer = nullptr;  // hears every event; then one thread runs all clusters in order
  bool check = false;            // by the happens-before checker
  Emulation::Policy policy = Emulation::Policy::uniform;
  Emulation::Arithmetic arithmetic = Emulation::Arithmetic::exact;
};

/// Runs `ctas` CTAs with a copy of `bytes` bytes of parameters, and returns when all have ended.
/// Throws what went wrong in the first cluster where something did; what others wrote stays
/// written.
Statistics launch(const Kernel& kernel, int ctas, const void* params, std::size_t bytes,
                  const LaunchSettings& settings = {});

}  // namespace kiln::emu
