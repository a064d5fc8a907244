#include "cli/bench/companion_parts.hpp"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <random>

#include "arith/host_matrix.hpp"

namespace kiln::bench {

void fill_with_normals(Backend& backend, void* data, i64 elements, DType dtype) {
  constexpr i64 kDrawn = 3'000'017;  // no multiple of a row
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<u8> drawn(bytes_of(kDrawn, dtype));
  const TensorView view = TensorView::row_major(drawn.data(), dtype, 1, kDrawn);
  for (i64 i = 0; i < kDrawn; ++i) write_element(view, 0, i, normal(random));
  for (i64 at = 0; at < elements; at += kDrawn)
    backend.copy_in(static_cast<u8*>(data) + bytes_of(at, dtype), drawn.data(),
                    bytes_of(std::min(kDrawn, elements - at), dtype));
}

std::set<i64> some_of(i64 count) { return {0, count / 2, count - 1}; }

std::vector<std::int32_t> drawn_ids(i64 tokens) {
  std::mt19937 random(2);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens * kSlots));
  for (i64 t = 0; t < tokens; ++t) {
    const unsigned first = random(), step = 1 + 2 * (random() % (kGroups / 2));
    for (i64 j = 0; j < kSlots; ++j)
      ids[static_cast<std::size_t>(t * kSlots + j)] =
          static_cast<std::int32_t>((first + static_cast<unsigned>(j) * step) % kGroups);
  }
  return ids;
}

TensorView part_of(const TensorView& t, i64 row, i64 rows, i64 column, i64 columns) {
  TensorView part = t;
  part.data =
      static_cast<u8*>(t.data) + (row * t.stride[0] + column * t.stride[1]) * size_of(t.dtype);
  part.shape = {rows, columns};
  return part;
}

HostCopy::HostCopy(Backend& backend, const TensorView& t) : view_(t) {
  const bool by_column = t.stride[0] == 1 && t.shape[0] > 1;
  const i64 lines = t.shape[by_column ? 1 : 0], line = t.shape[by_column ? 0 : 1];
  bytes_.resize(bytes_of(lines * line, t.dtype));
  view_.stride =
      by_column ? std::array<std::int64_t, 2>{1, line} : std::array<std::int64_t, 2>{line, 1};
  view_.data = bytes_.data();
  const i64 pitch = t.stride[by_column ? 1 : 0];
  if (pitch == line) {
    backend.copy_out(bytes_.data(), t.data, bytes_.size());
    return;
  }
  for (i64 i = 0; i < lines; ++i)
    backend.copy_out(bytes_.data() + bytes_of(i * line, t.dtype),
                     static_cast<u8*>(t.data) + bytes_of(i * pitch, t.dtype),
                     bytes_of(line, t.dtype));
}

Expected::Expected(const TensorView& like)
    : bytes_(bytes_of(like.shape[0] * like.shape[1], like.dtype)),
      view_(TensorView::row_major(bytes_.data(), like.dtype, like.shape[0], like.shape[1])) {}

std::string Expected::difference(Backend& backend, const char* name, const TensorView& device,
                                 i64 row, i64 column) const {
  const HostCopy actual(backend, device);
  for (i64 i = 0; i < view_.shape[0]; ++i)
    for (i64 j = 0; j < view_.shape[1]; ++j)
      if (std::memcmp(element_address(actual.view(), i, j), element_address(view_, i, j),
                      static_cast<std::size_t>(size_of(view_.dtype))) != 0)
        return fmt::format("{}[{}, {}] is {}, the model says {}", name, row + i, column + j,
                           read_element(actual.view(), i, j), read_element(view_, i, j));
  return {};
}

}  // namespace kiln::bench
