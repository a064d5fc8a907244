#include "cli/companion_call.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <memory>

#include "arith/host_matrix.hpp"
#include "cli/device_copy.hpp"
#include "kiln/error.hpp"

namespace kiln::cli {
namespace {

// Elements a second of the emulator's kernels that move memory: 22 million (quantize, swiglu) on
// two cores with a busy neighbour.
constexpr double kEmulatedElements = 2e7;

std::size_t bytes_of(const TensorView& t) {
  return static_cast<std::size_t>(t.shape[0] * t.shape[1] * size_of(t.dtype));
}

std::string element_text(const TensorView& t, i64 row, i64 column) {
  if (t.dtype == DType::int32) {
    std::int32_t value;
    std::memcpy(&value, element_address(t, row, column), sizeof value);
    return fmt::format("{}", value);
  }
  return fmt::format("{}", read_element(t, row, column));
}

}  // namespace

std::size_t CompanionCall::add_input(const TensorView& host) {
  tensors_.push_back({nullptr, host, {}});
  return tensors_.size() - 1;
}

std::size_t CompanionCall::add_output(const char* name, DType dtype, i64 rows, i64 columns) {
  tensors_.push_back({name, TensorView::row_major(nullptr, dtype, rows, columns), {}});
  Tensor& tensor = tensors_.back();
  tensor.bytes.assign(bytes_of(tensor.host), 0xFF);
  tensor.host.data = tensor.bytes.data();
  return tensors_.size() - 1;
}

void CompanionCall::run(const Device& device, const Call& call, const Call& model) {
  run_on(device, call);
  compare(model);
}

void CompanionCall::run_on(const Device& device, const Call& call) {
  Backend& backend = device.kind == Device::Kind::cpu ? emu_backend() : backend_of(device);
  std::vector<std::unique_ptr<DeviceCopy>> copies;
  Views views;
  for (const Tensor& tensor : tensors_) {
    copies.push_back(
        std::make_unique<DeviceCopy>(backend, tensor.host.data, bytes_of(tensor.host)));
    views.push_back(copies.back()->view(tensor.host));
  }
  const Options options{.device = device};
  const int runs = device.kind == Device::Kind::cuda ? 2 : 1;
  for (int i = 0; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    call(views, options);
    backend.synchronize();
    seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  for (std::size_t i = 0; i < tensors_.size(); ++i)
    if (tensors_[i].name)
      backend.copy_out(tensors_[i].bytes.data(), copies[i]->data(), tensors_[i].bytes.size());
}

void CompanionCall::compare(const Call& model) const {
  std::vector<std::vector<u8>> expected(tensors_.size());
  Views views;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    views.push_back(tensors_[i].host);
    if (!tensors_[i].name) continue;
    expected[i].assign(tensors_[i].bytes.size(), 0xFF);
    views.back().data = expected[i].data();
  }
  model(views, {.device = {Device::Kind::cpu}});
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const auto& [name, host, bytes] = tensors_[i];
    if (!name) continue;
    const auto at = std::mismatch(bytes.begin(), bytes.end(), expected[i].begin()).first;
    if (at == bytes.end()) continue;
    const i64 element = (at - bytes.begin()) / size_of(host.dtype);
    const i64 row = element / host.shape[1], column = element % host.shape[1];
    throw Error(
        ErrorCode::internal,
        fmt::format("{}[{}, {}] is {}, the model says {}; nothing was written", name, row, column,
                    element_text(host, row, column), element_text(views[i], row, column)));
  }
}

void add_device_option(CLI::App& app, std::optional<Device>& device) {
  app.add_option_function<std::string>(
         "--device", [&device](const std::string& word) { device = parse_device(word); },
         "where to run (default auto)")
      ->type_name("auto|cuda|cuda:N|emu|cpu");
}

ChosenDevice choose_companion_device(const std::optional<Device>& asked, double elements) {
  return choose_device(asked, elements / kEmulatedElements, "it");
}

}  // namespace kiln::cli
