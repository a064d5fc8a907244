// Vectors of kLanes 32-bit lanes for the vectorised twins of the definitions, by the compiler's
// vector extension; and what else fits the same lanes: bytes and shorts, or two vectors' worth.
#pragma once

#include <cstring>

#include "device/types.hpp"

namespace kiln {

template <int kLanes>
struct Lanes {
  // g++ drops the attribute of an alias declaration that depends on a template parameter.
  typedef float Float __attribute__((vector_size(kLanes * 4)));
  typedef int Int __attribute__((vector_size(kLanes * 4)));
  typedef unsigned UInt __attribute__((vector_size(kLanes * 4)));
  typedef short Short __attribute__((vector_size(kLanes * 4)));
  typedef u8 Byte __attribute__((vector_size(kLanes * 4)));
  typedef double Double __attribute__((vector_size(kLanes * 8)));
  typedef i64 Long __attribute__((vector_size(kLanes * 8)));
};

template <class Vector>
[[gnu::always_inline]] inline void load(Vector& vector, const void* from) {
  std::memcpy(&vector, from, sizeof vector);
}

}  // namespace kiln
