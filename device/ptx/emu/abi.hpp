// Where a compiled kernel meets the emulator: one table of C function pointers, and nothing else.
//
//   emulator                                   kernel (a shared object made by the host's compiler)
//   dlopen, dlsym kiln_emu_bind, kernel
//   kiln_emu_bind(&table, &info)  ---------->  keeps the table, fills info; refuses another version
//   on a fiber for every thread:
//   kernel(&params)               ---------->  K::run(params)
//                                 <----------  table.mbarrier_wait(...), ...
//
// The object has no undefined symbol of Kiln's, so an object and an emulator of different builds
// meet in a version check rather than in a crash.
#pragma once

#include "device/ptx/order.hpp"

namespace kiln::emu {

/// Raised with every change of Abi, KernelInfo or Identity.
inline constexpr u32 kAbiVersion = 2;

/// Who a thread is. The same object for as long as the thread lives.
struct Identity {
  int thread;        // index in its CTA
  int cta;           // index in the grid
  int ctas;          // of the grid
  int cluster_rank;  // of the CTA in its cluster
};

/// A box's place in a tensor: elements, innermost first; those beyond the rank are ignored.
struct Coordinates {
  int rank;
  int at[5];
};

/// What fence_proxy_async orders with the asynchronous proxy.
enum class AsyncFence : int { shared_cta, global, all };

/// The fields of a tensor map that tensormap.replace can change.
enum class TensorMapField : int { global_address, global_dim, global_stride, box_dim };

/// What a wgmma multiplies, apart from addresses: D[64 x n] += A[64 x K] * B[n x K]^T, K of 32
/// bytes.
enum class WgmmaType : u8 { e4m3, e5m2, bf16, fp16, tf32 };
struct WgmmaForm {
  int n;
  WgmmaType a, b;
  bool a_in_registers;
  bool a_mn_major, b_mn_major;

  bool operator==(const WgmmaForm&) const = default;
};

using ptx::ClusterAddress;
using ptx::Order;
using ptx::Scope;
using ptx::Word;

/// How an access or a fence orders memory.
struct Ordering {
  Order order;
  Scope scope;
};

// Variants of an instruction that one entry of the table serves.
enum class Shuffle : u8 { idx, up, down, bfly };
enum class Vote : u8 { ballot, any, all };
enum class Redux : u8 { add, min_u32, min_s32, max_u32, max_s32, and_b32, or_b32, xor_b32 };
enum class MemoryOp : u8 { load, store, red_add, atom_add, atom_exch, atom_cas };
enum class Comparison : u8 { equal, at_least };

/// What the emulator does for a kernel. The wrappers of device/ptx/emu say what each entry means;
/// `barrier` is always the address of an 8-byte mbarrier in the calling CTA's shared memory.
struct Abi {
  u32 version;

  // thread.hpp
  const Identity* (*identity)();
  void* (*shared)(u32 bytes);
  u32 (*shared_address)(const void* pointer);
  int (*elect_one)();
  void (*warp_sync)();
  void (*cta_sync)();
  void (*named_barrier_sync)(int id, int threads);
  void (*named_barrier_arrive)(int id, int threads);
  void (*cluster_sync)();
  void (*cluster_arrive)(Order order);
  void (*cluster_wait)();
  void (*nanosleep)(u32 nanoseconds);
  u64 (*read_clock)();
  void (*register_alloc)(int registers);
  void (*register_dealloc)(int registers);
  void (*grid_dependency_wait)();
  void (*grid_dependency_launch)();

  // warp.hpp
  u32 (*shuffle)(Shuffle mode, u32 value, u32 lane, int width);
  u32 (*vote)(Vote mode, int predicate);
  u32 (*match_any)(u32 value);
  u32 (*redux)(Redux op, u32 value);

  // mbarrier.hpp
  void (*mbarrier_init)(void* barrier, int count);
  void (*mbarrier_inval)(void* barrier);
  void (*fence_mbarrier_init)();
  void (*mbarrier_arrive)(void* barrier, int count, Scope scope);
  void (*mbarrier_arrive_cluster)(void* barrier, int rank, int count, Scope scope);
  void (*mbarrier_expect_tx)(void* barrier, int bytes);
  void (*mbarrier_arrive_expect_tx)(void* barrier, int bytes, Scope scope);
  void (*mbarrier_arrive_expect_tx_cluster)(void* barrier, int rank, int bytes, Scope scope);
  int (*mbarrier_test_wait)(void* barrier, u32 parity, Scope scope);
  int (*mbarrier_try_wait)(void* barrier, u32 parity, Scope scope);
  void (*mbarrier_wait)(void* barrier, u32 parity, Scope scope);

  // memory.hpp
  void (*misaligned)(const void* pointer, int alignment, const char* instruction);
  void (*stmatrix)(void* row, const u32* words, int matrices, int transposed);
  void (*ldmatrix)(const void* row, u32* words, int matrices, int transposed);
  void (*fence_proxy_async)(AsyncFence what);

  // cluster.hpp
  ClusterAddress (*map_to_cta)(const void* pointer, int rank);
  void (*load_cluster)(ClusterAddress from, void* value, int bytes);
  void (*store_cluster)(ClusterAddress to, const void* value, int bytes);
  void (*st_async)(ClusterAddress to, const void* value, int bytes, ClusterAddress barrier);
  void (*red_async_add)(ClusterAddress to, u32 value, ClusterAddress barrier);

  // flag.hpp
  u64 (*access_global)(MemoryOp op, void* p, int bytes, u64 value, u64 expected, Ordering ordering);
  void (*fence)(Ordering ordering);
  int (*wait_until)(Comparison comparison, const u32* flag, u32 value, Scope scope, u64 timeout_ns);

  // tma.hpp
  void (*tma_prefetch_descriptor)(const TensorMap* map);
  void (*tma_load)(const TensorMap* map, void* barrier, void* destination, const Coordinates* at);
  void (*tma_load_multicast)(const TensorMap* map, void* barrier, void* destination,
                             const Coordinates* at, u32 cta_mask);
  void (*tma_store)(const TensorMap* map, const void* source, const Coordinates* at);
  void (*tma_store_commit)();
  void (*tma_store_wait_read)(int pending);
  void (*tma_store_wait)(int pending);
  void (*tma_reduce)(const TensorMap* map, const void* source, const Coordinates* at, Reduction op);
  void (*tma_prefetch)(const TensorMap* map, const Coordinates* at);

  // bulk.hpp; sizes in bytes
  void (*bulk_load)(const void* source, void* barrier, void* destination, int bytes);
  void (*bulk_load_multicast)(const void* source, void* barrier, void* destination, int bytes,
                              u32 cta_mask);
  void (*bulk_store)(void* destination, const void* source, int bytes);
  void (*bulk_reduce)(void* destination, const void* source, int bytes, Reduction op,
                      Element element);
  void (*bulk_copy_to_cluster)(const void* source, void* barrier, void* destination, int bytes,
                               int rank);
  void (*bulk_reduce_to_cluster)(const void* source, void* barrier, void* destination, int bytes,
                                 int rank, Reduction op, Element element);
  void (*bulk_prefetch)(const void* source, int bytes);

  // cp_async.hpp
  void (*cp_async)(void* destination, const void* source, int bytes, int source_bytes);
  void (*cp_async_commit)();
  void (*cp_async_wait_group)(int pending);
  void (*cp_async_wait_all)();
  void (*cp_async_mbarrier_arrive_noinc)(void* barrier);

  // tensormap.hpp
  void (*tensormap_replace)(TensorMap* map, TensorMapField field, u32 ordinal, u64 value);
  void (*tensormap_cp_fenceproxy)(TensorMap* destination, const TensorMap* source);
  void (*fence_proxy_tensormap_acquire)(const TensorMap* map);

  // wgmma.hpp
  void (*wgmma_fence)();
  void (*wgmma)(float* d, const WgmmaForm* form, const u32* a_registers, u64 a, u64 b,
                int accumulate);
  void (*wgmma_commit)();
  void (*wgmma_wait)(float* d, int registers, int pending);
};

/// What a kernel says of itself. The version comes first in every version.
struct KernelInfo {
  u32 version;
  u32 threads;       // of a CTA
  u32 params_bytes;  // of its argument
  u32 registers;     // the largest count of any setmaxnreg in it, 0 if it has none
};

/// Names and types of the two symbols that a kernel's object exports.
inline constexpr const char* kBindSymbol = "kiln_emu_bind";
inline constexpr const char* kKernelSymbol = "kernel";
using BindFunction = u32 (*)(const Abi* table, KernelInfo* info);  // 1 if the version fits, else 0
using KernelFunction = void (*)(const void* params);

}  // namespace kiln::emu
