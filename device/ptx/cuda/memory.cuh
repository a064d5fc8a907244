// Loads and stores that plain C++ cannot express.
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
#pragma once

#include "device/ptx/cuda/thread.cuh"

namespace kiln::ptx {

/// ld.global.v4: one load of four floats from a 16-byte aligned address. Not ld.global.nc: what the
/// kernel before wrote may be read right after grid_dependency_wait.
/// PTX #data-movement-and-conversion-instructions-ld
DEV void load_global_x4(const float* p, float (&v)[4]) {
  asm volatile("ld.global.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v[0]), "=f"(v[1]), "=f"(v[2]), "=f"(v[3])
               : "l"(p)
               : "memory");
}

/// stmatrix: one, two or four 8x8 matrices of 16-bit elements from the registers of a warp to
/// shared memory. Lane 8*i+r gives the address of row r (16 bytes, aligned) of matrix i, and lane l
/// holds in register i elements 2*(l%4) and 2*(l%4)+1 of row l/4; with .trans, of column l/4.
/// Addresses of lanes beyond the last matrix are not looked at. PTX
/// #warp-level-matrix-instructions-stmatrix
DEV void stmatrix_x4(void* row, u32 r0, u32 r1, u32 r2, u32 r3) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)),
      "r"(r0), "r"(r1), "r"(r2), "r"(r3)
      : "memory");
}
DEV void stmatrix_x2(void* row, u32 r0, u32 r1) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(shared_address(row)),
      "r"(r0), "r"(r1)
      : "memory");
}
DEV void stmatrix_x1(void* row, u32 r0) {
  asm volatile("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};" ::"r"(shared_address(row)),
               "r"(r0)
               : "memory");
}
DEV void stmatrix_x4_trans(void* row, u32 r0, u32 r1, u32 r2, u32 r3) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(
                   shared_address(row)),
               "r"(r0), "r"(r1), "r"(r2), "r"(r3)
               : "memory");
}
DEV void stmatrix_x2_trans(void* row, u32 r0, u32 r1) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(shared_address(row)),
      "r"(r0), "r"(r1)
      : "memory");
}
DEV void stmatrix_x1_trans(void* row, u32 r0) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};" ::"r"(shared_address(row)),
      "r"(r0)
      : "memory");
}

/// ldmatrix: the same the other way, from shared memory to registers.
/// PTX #warp-level-matrix-instructions-ldmatrix
DEV void ldmatrix_x4(const void* row, u32 (&r)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
DEV void ldmatrix_x2(const void* row, u32 (&r)[2]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
DEV void ldmatrix_x1(const void* row, u32 (&r)[1]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
               : "=r"(r[0])
               : "r"(shared_address(row))
               : "memory");
}
DEV void ldmatrix_x4_trans(const void* row, u32 (&r)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
DEV void ldmatrix_x2_trans(const void* row, u32 (&r)[2]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
DEV void ldmatrix_x1_trans(const void* row, u32 (&r)[1]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
               : "=r"(r[0])
               : "r"(shared_address(row))
               : "memory");
}

/// fence.proxy.async: this thread's ordinary writes to shared memory become visible to the copy
/// engine and the tensor core (after a barrier, to those that other threads start).
/// PTX #parallel-synchronization-and-communication-instructions-membar
DEV void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
/// The same of global memory, and of all memory.
/// PTX #parallel-synchronization-and-communication-instructions-membar
DEV void fence_proxy_async_global() { asm volatile("fence.proxy.async.global;" ::: "memory"); }
DEV void fence_proxy_async_all() { asm volatile("fence.proxy.async;" ::: "memory"); }

}  // namespace kiln::ptx
