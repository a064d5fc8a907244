// The copy engine (TMA): boxes of a tensor between global and shared memory. The twin of
// device/ptx/cuda/tma.cuh.
#pragma once

#include "device/ptx/emu/mbarrier.hpp"

namespace kiln::ptx {

DEV void tma_prefetch_descriptor(const TensorMap* map) {
  emu::machine->tma_prefetch_descriptor(map);
}

DEV void tma_load_2d(const TensorMap* map, Barrier* barrier, void* destination, int x, int y) {
  const emu::Coordinates at = {2, {x, y, 0}};
  emu::machine->tma_load(map, barrier, destination, &at);
}
DEV void tma_load_3d(const TensorMap* map, Barrier* barrier, void* destination, int x, int y,
                     int z) {
  const emu::Coordinates at = {3, {x, y, z}};
  emu::machine->tma_load(map, barrier, destination, &at);
}
DEV void tma_load_2d_multicast(const TensorMap* map, Barrier* barrier, void* destination, int x,
                               int y, u16 cta_mask) {
  const emu::Coordinates at = {2, {x, y, 0}};
  emu::machine->tma_load_multicast(map, barrier, destination, &at, cta_mask);
}

DEV void tma_store_2d(const TensorMap* map, const void* source, int x, int y) {
  const emu::Coordinates at = {2, {x, y, 0}};
  emu::machine->tma_store(map, source, &at);
}
DEV void tma_store_3d(const TensorMap* map, const void* source, int x, int y, int z) {
  const emu::Coordinates at = {3, {x, y, z}};
  emu::machine->tma_store(map, source, &at);
}

DEV void tma_store_commit() { emu::machine->tma_store_commit(); }

template <int kPending>
DEV void tma_store_wait_read() {
  emu::machine->tma_store_wait_read(kPending);
}

}  // namespace kiln::ptx
