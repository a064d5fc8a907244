// What the commands of the operations beside the GEMMs share: tensors of the host, a call on the
// best device there is, and the check that every bit is the model's.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/gemm/device.hpp"
#include "kiln/options.hpp"
#include "kiln/tensor.hpp"

namespace kiln::cli {

class CompanionCall {
 public:
  /// Views of all tensors in one memory, in the order in which they were added.
  using Views = std::vector<TensorView>;
  using Call = std::function<void(const Views&, const Options&)>;

  /// Dense, row-major tensors that are read, whose memory must stay, and that are written. Each
  /// returns its number.
  std::size_t add_input(const TensorView& host);
  std::size_t add_output(const char* name, DType dtype, i64 rows, i64 columns);

  /// Runs `call` on the device, then `model` on the host, and compares every bit: throws
  /// Error{internal} that says where they differ.
  void run(const Device& device, const Call& call, const Call& model);

  /// What the device has written.
  const TensorView& output(std::size_t number) const { return tensors_[number].host; }
  /// Of one call, compiled before where the device is a GPU.
  double seconds() const { return seconds_; }

 private:
  struct Tensor {
    const char* name;  // null: an input
    TensorView host;
    std::vector<u8> bytes;  // of an output
  };
  void run_on(const Device& device, const Call& call);
  void compare(const Call& model) const;

  std::vector<Tensor> tensors_;
  double seconds_ = 0;
};

/// --device.
void add_device_option(CLI::App& app, std::optional<Device>& device);

/// For auto, a GPU where one can be used; else the emulator where it takes seconds; else the model.
ChosenDevice choose_companion_device(const std::optional<Device>& asked, double elements);

}  // namespace kiln::cli
