// A launch: the clusters of a grid, each run to its end by an engine, on as many OS threads as
// there are cores. What a cluster does follows from the launch's policy, seed and its own index,
// not from the thread that runs it. Grids whose CTAs wait for each other, or that overlap on a
// stream, are launched together and run by one engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kiln/options.hpp"
#include "runtime/emu/device_memory.hpp"
#include "runtime/emu/event.hpp"
#include "runtime/emu/kernel.hpp"

namespace kiln::emu {

struct LaunchSettings {
  std::uint64_t seed = 1;
  int workers = 0;               // OS threads; 0: one a core
  Observer* observer = nullptr;  // hears every event; then one thread runs all clusters in order
  bool check = false;            // by a Checker (checker.hpp), in place of `observer`
  const DeviceMemory* memory = nullptr;  // if checked: what each device may touch
  Emulation::Policy policy = Emulation::Policy::uniform;
  Emulation::Arithmetic arithmetic = Emulation::Arithmetic::exact;
};

/// Runs `ctas` CTAs with a copy of `bytes` bytes of parameters, and returns when all have ended.
/// Throws what went wrong in the first cluster where something did; what others wrote stays
/// written.
Statistics launch(const Kernel& kernel, int ctas, const void* params, std::size_t bytes,
                  const LaunchSettings& settings = {});

/// One of several grids that run at the same time.
struct GridLaunch {
  const Kernel* kernel = nullptr;
  int ctas = 0;
  const void* params = nullptr;
  std::size_t bytes = 0;
  int device = 0;    // whose memory it may use (device_memory.hpp)
  int stream = 0;    // grids of one stream start in order, each when the one before has completed
  bool pdl = false;  // or, so launched, when all CTAs of the one before have allowed it
};

/// Runs all CTAs of all grids interleaved, so that they may wait for each other. Throws what went
/// wrong; what was written stays written.
Statistics launch_together(std::span<const GridLaunch> grids, const LaunchSettings& settings = {});

}  // namespace kiln::emu
