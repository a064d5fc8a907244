// What the tests of the copy engine share: kernels that load or store one box, a tensor with
// canaries, and where every byte belongs.
#pragma once

#include <algorithm>
#include <array>
#include <ostream>

#include "tests/emu/engine_support.hpp"

namespace kiln::emu {

inline constexpr const char* kDeclarations = R"(
  struct S { alignas(1024) u8 box[32768]; Barrier full; };
)";
inline constexpr int kSmem = 32768 + 1024;

inline constexpr const char* kParams = "TensorMap map; u8* out; int x, y, z, bytes, v, w;";

/// ", p.x, p.y": the coordinates of an instruction of `rank` dimensions.
inline std::string coordinates(int rank) {
  static constexpr const char* kNames[] = {"x", "y", "z", "v", "w"};
  std::string text;
  for (int d = 0; d < rank; ++d) text += std::string(", p.") + kNames[d];
  return text;
}
inline std::string wrapper(const std::string& name, int rank) {
  return name + "_" + std::to_string(rank) + "d";
}

// Loads one box to shared memory, and copies shared memory out as it is.
inline Source load_source(int rank, int offset = 0) {
  return {.params = kParams,
          .declarations =
              std::string(kDeclarations) + "constexpr int OFFSET = " + std::to_string(offset) + ";",
          .body = R"(
    S& s = shared<S>();
    if (thread_idx() == 0) {
      mbarrier_init(&s.full, 1);
      fence_mbarrier_init();
      tma_prefetch_descriptor(&p.map);
      )" + wrapper("tma_prefetch", rank) +
                  "(&p.map" + coordinates(rank) + R"();
      mbarrier_arrive_expect_tx(&s.full, p.bytes);
      )" + wrapper("tma_load", rank) +
                  "(&p.map, &s.full, s.box + OFFSET" + coordinates(rank) + R"();
    }
    warp_sync();
    mbarrier_wait(&s.full, 0);
    for (int i = thread_idx(); i < 32768; i += 32) p.out[i] = s.box[i];)"};
}

// Fills shared memory from global memory with plain stores, and stores or reduces one box.
inline Source store_source(int rank, const std::string& reduction = "") {
  const std::string name = reduction.empty()
                               ? wrapper("tma_store", rank)
                               : wrapper("tma_reduce", rank) + "<Reduction::" + reduction + ">";
  return {.params = kParams, .declarations = kDeclarations, .body = R"(
    S& s = shared<S>();
    for (int i = thread_idx(); i < 32768; i += 32) s.box[i] = p.out[i];
    fence_proxy_async();
    warp_sync();
    if (thread_idx() == 0) {
      )" + name + "(&p.map, s.box" + coordinates(rank) + R"();
      tma_store_commit();
      tma_store_wait_read<0>();
    })"};
}

struct Params {
  TensorMap map;
  u8* out;
  int x, y, z, bytes, v = 0, w = 0;
};

struct Case {
  Element element;
  Swizzle swizzle;
  int rank;
  std::array<std::uint32_t, 5> box;
  std::array<int, 5> at;
  std::array<std::uint32_t, 5> element_stride = {1, 1, 1, 1, 1};
  Fill fill = Fill::zero;

  int count(int d) const {  // of elements along a dimension
    const auto i = static_cast<std::size_t>(d);
    return d < rank ? static_cast<int>((box[i] + element_stride[i] - 1) / element_stride[i]) : 1;
  }
  int row_bytes() const { return count(0) * size_of(element); }
  int bytes() const { return row_bytes() * count(1) * count(2) * count(3) * count(4); }
};

inline std::ostream& operator<<(std::ostream& out, const Case& c) {
  out << size_of(c.element) << " bytes, swizzle " << span_of(c.swizzle) << ", rank " << c.rank
      << ", box";
  for (std::size_t d = 0; d < 5; ++d)
    out << " " << c.box[d] << "/" << c.element_stride[d] << " at " << c.at[d];
  return out << ", fill " << static_cast<int>(c.fill);
}

// A row ends inside 16 bytes, whatever the size of an element.
inline constexpr int kColumns = 203;
inline constexpr std::array<int, 5> kExtent = {kColumns, 40, 5, 3, 2};

// A tensor of 2 x 3 x 5 planes of 40 rows of 203 elements, rows padded; every byte outside is a
// canary.
struct Tensor {
  explicit Tensor(Element element)
      : size(size_of(element)), row((kColumns * size + 47) / 16 * 16), plane(41 * row) {
    stride = {size, row, plane, 5 * plane + 16, 3 * (5 * plane + 16) + 32};
    static std::map<int, std::vector<u8>> contents;  // the same for every tensor of a size
    std::vector<u8>& content = contents[size];
    if (content.empty()) {
      content.resize(static_cast<std::size_t>(2 * stride[4]));
      TestRandom random(static_cast<std::uint32_t>(size));
      for (auto& byte : content) byte = static_cast<u8>(random.next());
    }
    data = content;
  }
  TensorMapSpec spec(const Case& c) {
    TensorMapSpec spec;
    spec.base = data.data();
    spec.element = c.element;
    spec.rank = c.rank;
    for (std::size_t d = 0; d < 5; ++d) {
      spec.extent[d] = static_cast<u64>(kExtent[d]);
      if (d > 0) spec.stride[d - 1] = static_cast<u64>(stride[d]);
    }
    spec.box = c.box;
    spec.swizzle = c.swizzle;
    spec.element_stride = c.element_stride;
    spec.fill = c.fill;
    return spec;
  }
  // The bytes of an element, or null outside of the tensor, whose rows have `columns` elements.
  u8* at(const std::array<i64, 5>& c, int rank, i64 columns = kColumns) {
    i64 offset = 0;
    for (std::size_t d = 0; d < static_cast<std::size_t>(rank); ++d) {
      if (c[d] < 0 || c[d] >= (d == 0 ? columns : kExtent[d])) return nullptr;
      offset += c[d] * stride[d];
    }
    return &data[static_cast<std::size_t>(offset)];
  }
  u8* at(i64 x, i64 y, i64 z, int rank) { return at({x, y, z, 0, 0}, rank); }
  int size, row, plane;
  std::array<i64, 5> stride;
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
  return (kColumns * tensor.size + 15) / 16 * 16 / tensor.size;
}

// Calls f(byte of the box before the swizzle, the byte in the tensor or null, byte of the element).
// A row is alone in the span of its swizzle.
template <class F>
void for_each_byte(const Case& c, Tensor& tensor, F&& f, i64 columns = kColumns) {
  const int pitch = std::max(c.row_bytes(), span_of(c.swizzle));
  int row = 0;
  std::array<int, 5> i = {};
  for (i[4] = 0; i[4] < c.count(4); ++i[4])
    for (i[3] = 0; i[3] < c.count(3); ++i[3])
      for (i[2] = 0; i[2] < c.count(2); ++i[2])
        for (i[1] = 0; i[1] < c.count(1); ++i[1], ++row)
          for (i[0] = 0; i[0] < c.count(0); ++i[0]) {
            std::array<i64, 5> at;
            for (std::size_t d = 0; d < 5; ++d) at[d] = c.at[d] + i64{i[d]} * c.element_stride[d];
            u8* element = tensor.at(at, c.rank, columns);
            for (int b = 0; b < tensor.size; ++b)
              f(static_cast<std::size_t>(row * pitch + i[0] * tensor.size + b),
                element == nullptr ? nullptr : element + b, b);
          }
}

inline Params params_of(const Case& c, Tensor& tensor, std::vector<u8>& out) {
  return {emu_backend().encode(tensor.spec(c)),
          out.data(),
          c.at[0],
          c.at[1],
          c.at[2],
          c.bytes(),
          c.at[3],
          c.at[4]};
}

inline Params small_load(Tensor& tensor, std::vector<u8>& out, int bytes = 16 * 8) {
  const Case c = {Element::u8, Swizzle::none, 2, {16, 8, 1}, {}};
  return {emu_backend().encode(tensor.spec(c)), out.data(), 0, 0, 0, bytes};
}

}  // namespace kiln::emu
