// The copy engine (TMA): boxes of a tensor between global and shared memory. The twin of
// device/ptx/cuda/tma.cuh. An innermost coordinate that is no multiple of 16 bytes is an error, and
// so is a negative one of a store or a reduction.
#pragma once

#include "device/ptx/emu/mbarrier.hpp"

namespace kiln::ptx {

DEV void tma_prefetch_descriptor(const TensorMap* map) {
  emu::machine->tma_prefetch_descriptor(map);
}

DEV void tma_load_1d(const TensorMap* map, Barrier* barrier, void* destination, int x) {
  const emu::Coordinates at = {1, {x}};
  emu::machine->tma_load(map, barrier, destination, &at);
}
DEV void tma_load_2d(const TensorMap* map, Barrier* barrier, void* destination, int x, int y) {
  const emu::Coordinates at = {2, {x, y}};
  emu::machine->tma_load(map, barrier, destination, &at);
}
DEV void tma_load_3d(const TensorMap* map, Barrier* barrier, void* destination, int x, int y,
                     int z) {
  const emu::Coordinates at = {3, {x, y, z}};
  emu::machine->tma_load(map, barrier, destination, &at);
}
DEV void tma_load_4d(const TensorMap* map, Barrier* barrier, void* destination, int x, int y, int z,
                     int v) {
  const emu::Coordinates at = {4, {x, y, z, v}};
  emu::machine->tma_load(map, barrier, destination, &at);
}
DEV void tma_load_5d(const TensorMap* map, Barrier* barrier, void* destination, int x, int y, int z,
                     int v, int w) {
  const emu::Coordinates at = {5, {x, y, z, v, w}};
  emu::machine->tma_load(map, barrier, destination, &at);
}

DEV void tma_load_1d_multicast(const TensorMap* map, Barrier* barrier, void* destination, int x,
                               u16 cta_mask) {
  const emu::Coordinates at = {1, {x}};
  emu::machine->tma_load_multicast(map, barrier, destination, &at, cta_mask);
}
DEV void tma_load_2d_multicast(const TensorMap* map, Barrier* barrier, void* destination, int x,
                               int y, u16 cta_mask) {
  const emu::Coordinates at = {2, {x, y}};
  emu::machine->tma_load_multicast(map, barrier, destination, &at, cta_mask);
}
DEV void tma_load_3d_multicast(const TensorMap* map, Barrier* barrier, void* destination, int x,
                               int y, int z, u16 cta_mask) {
  const emu::Coordinates at = {3, {x, y, z}};
  emu::machine->tma_load_multicast(map, barrier, destination, &at, cta_mask);
}
DEV void tma_load_4d_multicast(const TensorMap* map, Barrier* barrier, void* destination, int x,
                               int y, int z, int v, u16 cta_mask) {
  const emu::Coordinates at = {4, {x, y, z, v}};
  emu::machine->tma_load_multicast(map, barrier, destination, &at, cta_mask);
}
DEV void tma_load_5d_multicast(const TensorMap* map, Barrier* barrier, void* destination, int x,
                               int y, int z, int v, int w, u16 cta_mask) {
  const emu::Coordinates at = {5, {x, y, z, v, w}};
  emu::machine->tma_load_multicast(map, barrier, destination, &at, cta_mask);
}

DEV void tma_store_1d(const TensorMap* map, const void* source, int x) {
  const emu::Coordinates at = {1, {x}};
  emu::machine->tma_store(map, source, &at);
}
DEV void tma_store_2d(const TensorMap* map, const void* source, int x, int y) {
  const emu::Coordinates at = {2, {x, y}};
  emu::machine->tma_store(map, source, &at);
}
DEV void tma_store_3d(const TensorMap* map, const void* source, int x, int y, int z) {
  const emu::Coordinates at = {3, {x, y, z}};
  emu::machine->tma_store(map, source, &at);
}
DEV void tma_store_4d(const TensorMap* map, const void* source, int x, int y, int z, int v) {
  const emu::Coordinates at = {4, {x, y, z, v}};
  emu::machine->tma_store(map, source, &at);
}
DEV void tma_store_5d(const TensorMap* map, const void* source, int x, int y, int z, int v, int w) {
  const emu::Coordinates at = {5, {x, y, z, v, w}};
  emu::machine->tma_store(map, source, &at);
}

template <Reduction kOp>
DEV void tma_reduce_1d(const TensorMap* map, const void* source, int x) {
  const emu::Coordinates at = {1, {x}};
  emu::machine->tma_reduce(map, source, &at, kOp);
}
template <Reduction kOp>
DEV void tma_reduce_2d(const TensorMap* map, const void* source, int x, int y) {
  const emu::Coordinates at = {2, {x, y}};
  emu::machine->tma_reduce(map, source, &at, kOp);
}
template <Reduction kOp>
DEV void tma_reduce_3d(const TensorMap* map, const void* source, int x, int y, int z) {
  const emu::Coordinates at = {3, {x, y, z}};
  emu::machine->tma_reduce(map, source, &at, kOp);
}
template <Reduction kOp>
DEV void tma_reduce_4d(const TensorMap* map, const void* source, int x, int y, int z, int v) {
  const emu::Coordinates at = {4, {x, y, z, v}};
  emu::machine->tma_reduce(map, source, &at, kOp);
}
template <Reduction kOp>
DEV void tma_reduce_5d(const TensorMap* map, const void* source, int x, int y, int z, int v,
                       int w) {
  const emu::Coordinates at = {5, {x, y, z, v, w}};
  emu::machine->tma_reduce(map, source, &at, kOp);
}

DEV void tma_prefetch_1d(const TensorMap* map, int x) {
  const emu::Coordinates at = {1, {x}};
  emu::machine->tma_prefetch(map, &at);
}
DEV void tma_prefetch_2d(const TensorMap* map, int x, int y) {
  const emu::Coordinates at = {2, {x, y}};
  emu::machine->tma_prefetch(map, &at);
}
DEV void tma_prefetch_3d(const TensorMap* map, int x, int y, int z) {
  const emu::Coordinates at = {3, {x, y, z}};
  emu::machine->tma_prefetch(map, &at);
}
DEV void tma_prefetch_4d(const TensorMap* map, int x, int y, int z, int v) {
  const emu::Coordinates at = {4, {x, y, z, v}};
  emu::machine->tma_prefetch(map, &at);
}
DEV void tma_prefetch_5d(const TensorMap* map, int x, int y, int z, int v, int w) {
  const emu::Coordinates at = {5, {x, y, z, v, w}};
  emu::machine->tma_prefetch(map, &at);
}

DEV void tma_store_commit() { emu::machine->tma_store_commit(); }

template <int kPending>
DEV void tma_store_wait_read() {
  emu::machine->tma_store_wait_read(kPending);
}
template <int kPending>
DEV void tma_store_wait() {
  emu::machine->tma_store_wait(kPending);
}

}  // namespace kiln::ptx
