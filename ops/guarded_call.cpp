#include "ops/guarded_call.hpp"

#include <fmt/format.h>

#include <bit>
#include <cmath>

#include "arith/host_matrix.hpp"

namespace kiln {

void GuardedCall::add(std::string name, DType dtype, i64 rows, i64 columns,
                      const GemmLayout& layout, const BatchLayout& batch) {
  const i64 height = batch.count * rows + std::max<i64>(batch.count - 1, 0) * batch.padding;
  tensors_.push_back({std::move(name), GuardedMatrix(dtype, height, columns, layout), rows, batch});
}

TensorView GuardedCall::view_of(const Tensor& tensor, void* image) const {
  TensorView view = tensor.matrix.view_at(image);
  view.shape[0] = tensor.rows;
  const auto& [count, padding] = tensor.batch;
  return count == 1 ? view : view.batched(count, (tensor.rows + padding) * view.stride[0]);
}

GuardedCall::Views GuardedCall::views() {
  Views views;
  for (Tensor& tensor : tensors_) views.push_back(view_of(tensor, tensor.matrix.image().data()));
  return views;
}

std::optional<std::string> GuardedCall::difference(const Device& device, const Call& model,
                                                   const Call& call) {
  // The cpu device's memory is the host's, as the emulator's is.
  Backend& backend = device.kind == Device::Kind::cpu ? emu_backend() : backend_of(device);
  const auto free = [&backend](void* data) { backend.free(data); };
  std::vector<std::unique_ptr<void, decltype(free)>> images;
  Views views;
  for (const Tensor& tensor : tensors_) {
    const auto& image = tensor.matrix.image();
    images.emplace_back(backend.allocate(image.size()), free);
    backend.copy_in(images.back().get(), image.data(), image.size());
    views.push_back(view_of(tensor, images.back().get()));
  }
  backend.synchronize();
  call(views);
  backend.synchronize();

  std::vector<Tensor> expected = tensors_;
  Views expected_views;
  for (Tensor& tensor : expected)
    expected_views.push_back(view_of(tensor, tensor.matrix.image().data()));
  model(expected_views);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    std::vector<std::uint8_t> image(expected[i].matrix.image().size());
    backend.copy_out(image.data(), images[i].get(), image.size());
    if (const auto difference = expected[i].matrix.difference(image))
      return fmt::format("{}: {}", expected[i].name, *difference);
  }
  return {};
}

void fill_values(const TensorView& x, bool wild, std::mt19937& random) {
  constexpr u32 kSpecial[] = {0x00000000, 0x80000000, 0x00010000, 0x80400000, 0x7F800000,
                              0xFF800000, 0x7FC00000, 0xFFC10000, 0x7F7F0000, 0x3F800000};
  std::normal_distribution<float> normal;
  for (i64 b = 0; b < x.batch; ++b)
    for (i64 i = 0; i < x.shape[0]; ++i) {
      // A row has one size, so that its values do not vanish beside a few.
      const int exponent = static_cast<int>(random() % 40) - 20;
      const unsigned rare = random() % 3 == 0 ? 40 : 2000;
      for (i64 j = 0; j < x.shape[1]; ++j) {
        float value = std::ldexp(normal(random), exponent);
        if (wild && random() % rare == 0)
          value = std::bit_cast<float>(kSpecial[random() % std::size(kSpecial)]);
        write_element(x.matrix(b), i, j, value);
      }
    }
}

}  // namespace kiln
