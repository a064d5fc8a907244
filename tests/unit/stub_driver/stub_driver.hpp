// What the stub driver shows and records. Tests reach it through the symbol "kiln_stub_state".
#pragma once

#include <cstdint>

#include "runtime/driver_api.hpp"

namespace kiln {

struct StubState {
  // What it shows.
  int version = 13000;
  int devices = 2;
  int capability_major = 9, capability_minor = 0;
  int sm_count = 132, smem_optin = 232448, l2_bytes = 60 << 20;

  // The call of this name (as in KILN_DRIVER_FUNCTIONS) returns this error.
  const char* failing_call = nullptr;
  int error = 0;

  // What happened.
  int calls = 0;
  int primary_contexts_retained = 0;
  int context_depth = 0;  // pushed and not popped
  int pushes = 0;
  int modules_loaded = 0, modules_loaded_relaxed = 0;
  int max_dynamic_smem = -1, non_portable_cluster = -1;
  int capture_mode = 0;  // of the only thread; 0 is global
  int launches = 0;
  cu::CUlaunchConfig launch = {};  // the last one; attrs points to `attributes`
  cu::CUlaunchAttribute attributes[4] = {};
  std::uint64_t first_param = 0;  // the first eight bytes of the kernel's argument
  cu::CUcontext launch_context = nullptr;
  struct {
    int type, rank, interleave, swizzle, l2_promotion, fill;
    void* base;
    std::uint64_t extent[5], stride[4];
    std::uint32_t box[5], element_stride[5];
  } map = {};
};

}  // namespace kiln
