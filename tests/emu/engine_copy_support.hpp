// What the tests of the copy engine share: kernels that load or store one box, a tensor with
// canaries, and where every byte belongs.
#pragma once

#include <array>
#include <ostream>

#include "tests/emu/engine_support.hpp"

namespace kiln::emu {

inline constexpr const char* kDeclarations = R"(
  struct S { alignas(1024) u8 box[32768]; Barrier full; };
)";
inline constexpr int kSmem = 32768 + 1024;

// Loads one box to shared memory, and copies shared memory out as it is.
inline Source load_source(int rank, int offset = 0) {
  const std::string load = rank == 2
                               ? "tma_load_2d(&p.map, &s.full, s.box + OFFSET, p.x, p.y);"
                               : "tma_load_3d(&p.map, &s.full, s.box + OFFSET, p.x, p.y, p.z);";
  return {.params = "TensorMap map; u8* out; int x, y, z, bytes;",
          .declarations =
              std::string(kDeclarations) + "constexpr int OFFSET = " + std::to_string(offset) + ";",
          .body = R"(
    S& s = shared<S>();
    if (thread_idx() == 0) {
      mbarrier_init(&s.full, 1);
      fence_mbarrier_init();
      tma_prefetch_descriptor(&p.map);
      mbarrier_arrive_expect_tx(&s.full, p.bytes);
      )" + load + R"(
    }
    warp_sync();
    mbarrier_wait(&s.full, 0);
    for (int i = thread_idx(); i < 32768; i += 32) p.out[i] = s.box[i];)"};
}

// Fills shared memory from global memory with plain stores and stores one box.
inline Source store_source(int rank) {
  const std::string store = rank == 2 ? "tma_store_2d(&p.map, s.box, p.x, p.y);"
                                      : "tma_store_3d(&p.map, s.box, p.x, p.y, p.z);";
  return {.params = "TensorMap map; u8* out; int x, y, z, bytes;",
          .declarations = kDeclarations,
          .body = R"(
    S& s = shared<S>();
    for (int i = thread_idx(); i < 32768; i += 32) s.box[i] = p.out[i];
    fence_proxy_async();
    warp_sync();
    if (thread_idx() == 0) {
      )" + store + R"(
      tma_store_commit();
      tma_store_wait_read<0>();
    })"};
}

struct Params {
  TensorMap map;
  u8* out;
  int x, y, z, bytes;
};

struct Case {
  Element element;
  Swizzle swizzle;
  int rank;
  std::array<std::uint32_t, 3> box;
  std::array<int, 3> at;
};

inline std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << size_of(c.element) << " bytes, swizzle " << span_of(c.swizzle) << ", rank "
             << c.rank << ", box " << c.box[0] << "x" << c.box[1] << "x" << c.box[2] << " at "
             << c.at[0] << "," << c.at[1] << "," << c.at[2];
}

// A tensor of 5 planes of 40 rows of 200 elements, rows padded; every byte outside is a canary.
struct Tensor {
  explicit Tensor(Element element)
      : size(size_of(element)),
        row((200 * size + 47) / 16 * 16),
        plane(41 * row),
        data(static_cast<std::size_t>(5 * plane)) {
    TestRandom random(static_cast<std::uint32_t>(size));
    for (auto& byte : data) byte = static_cast<u8>(random.next());
  }
  TensorMapSpec spec(const Case& c) {
    TensorMapSpec spec;
    spec.base = data.data();
    spec.element = c.element;
    spec.rank = c.rank;
    spec.extent = {200, 40, 5};
    spec.stride = {static_cast<std::uint64_t>(row), static_cast<std::uint64_t>(plane)};
    spec.box = c.box;
    spec.swizzle = c.swizzle;
    return spec;
  }
  // The bytes of an element, or null outside of the tensor, whose rows have `columns` elements.
  u8* at(i64 x, i64 y, i64 z, int rank, i64 columns = 200) {
    const bool inside =
        x >= 0 && x < columns && y >= 0 && y < 40 && (rank == 2 || (z >= 0 && z < 5));
    return inside
               ? &data[static_cast<std::size_t>((rank == 3 ? z * plane : 0) + y * row + x * size)]
               : nullptr;
  }
  int size, row, plane;
  std::vector<u8> data;
};

// The swizzles once more, in other words: which 16-byte chunk of which row of 128 bytes.
// https://docs.nvidia.com/cuda/parallel-thread-execution/#tensor-swizzling-modes
inline std::size_t place(std::size_t dense, Swizzle swizzle) {
  const std::size_t line = dense / 128, chunk = dense % 128 / 16;
  std::size_t moved = chunk;
  if (swizzle == Swizzle::b128) moved = chunk ^ line % 8;
  if (swizzle == Swizzle::b64) moved = chunk ^ line % 4;
  if (swizzle == Swizzle::b32) moved = chunk ^ line % 2;
  return line * 128 + moved * 16 + dense % 16;
}

// Columns that a store into the tensor reaches: its rows to the end of their last 16 bytes.
inline i64 stored_columns(const Tensor& tensor) {
  return (200 * tensor.size + 15) / 16 * 16 / tensor.size;
}

// Calls f(byte of the dense box, element's bytes or null, byte of the element).
template <class F>
void for_each_byte(const Case& c, Tensor& tensor, F&& f, i64 columns = 200) {
  const int depth = c.rank == 3 ? static_cast<int>(c.box[2]) : 1;
  std::size_t dense = 0;
  for (int z = 0; z < depth; ++z)
    for (int y = 0; y < static_cast<int>(c.box[1]); ++y)
      for (int x = 0; x < static_cast<int>(c.box[0]); ++x)
        for (int b = 0; b < tensor.size; ++b, ++dense) {
          u8* element =
              tensor.at(i64{c.at[0]} + x, i64{c.at[1]} + y, i64{c.at[2]} + z, c.rank, columns);
          f(dense, element == nullptr ? nullptr : element + b);
        }
}

inline Params small_load(Tensor& tensor, std::vector<u8>& out, int bytes = 16 * 8) {
  const Case c = {Element::u8, Swizzle::none, 2, {16, 8, 1}, {0, 0, 0}};
  return {emu_backend().encode(tensor.spec(c)), out.data(), 0, 0, 0, bytes};
}

}  // namespace kiln::emu
