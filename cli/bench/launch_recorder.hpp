// What a call of the library passes to cuLaunchKernelEx, recorded instead of launched: the bare
// launch that a call's host time is compared with, and the launch that another compiler's kernel
// gets.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "runtime/driver.hpp"

namespace kiln::bench {

struct RecordedLaunch {
  cu::CUlaunchConfig config = {};
  std::vector<cu::CUlaunchAttribute> attributes;
  cu::CUfunction function = nullptr;
  std::vector<std::byte> params;  // of the kernel's one parameter

  /// Launches it. Points config at this object's attributes, so it must stay where it is.
  cu::CUresult launch(const Driver& driver);
};

/// Runs `call`, which launches one kernel whose parameter has `param_bytes` bytes. No other thread
/// may launch meanwhile. Throws Error{internal} if it launched none or several.
RecordedLaunch record_launch(Driver& driver, std::size_t param_bytes,
                             const std::function<void()>& call);

}  // namespace kiln::bench
