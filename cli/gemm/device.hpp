// Which device a command runs on, and why.
#pragma once

#include <optional>
#include <string>

#include "cli/gemm/request.hpp"

namespace kiln::cli {

struct ChosenDevice {
  Device device;
  std::string reason;  // "as asked", "auto: ..."
  std::string no_gpu;  // where auto found no GPU that it can use: why
};

/// "auto", "cuda", "cuda:1", "emu" or "cpu"; nothing for auto. CLI::ParseError for another word.
std::optional<Device> parse_device(const std::string& word);

std::string device_text(const Device& device);

double cores();

/// Seconds that the emulator, or the bit model, takes for a product on this machine, roughly.
double emulator_seconds(double multiply_adds);
double model_seconds(double multiply_adds);

/// For auto: a GPU where one can be used; else the emulator, which runs the same kernel, where that
/// takes seconds; else the CPU model. A device that was named is taken without a look.
ChosenDevice choose_device(const GemmRequest& request, double multiply_adds);

/// The same for any call: `seconds` is what the emulator takes for `what`, about.
ChosenDevice choose_device(const std::optional<Device>& asked, double seconds, const char* what,
                           bool needs_kernel = false);

}  // namespace kiln::cli
