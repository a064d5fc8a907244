#include "cli/gemm/device.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <thread>

#include "arith/cpu_level.hpp"
#include "cli/text.hpp"
#include "cli/words.hpp"
#include "kiln/error.hpp"
#include "runtime/backend.hpp"

namespace kiln::cli {
namespace {

constexpr double kLongestEmulation = 10;  // seconds that auto spends in the emulator

/// Multiply-adds a second and core of the bit model. Measured on an AMD EPYC of 2024 with a busy
/// neighbour: 2.8e9, 6.8e9 and 11e9. The emulator's tensor core is made of the same functions, and
/// everything around it costs three times as much again.
double model_rate() {
  switch (best_cpu_level()) {
    case CpuLevel::avx512:
      return 11e9;
    case CpuLevel::avx2:
      return 6.8e9;
    case CpuLevel::baseline:
      return 2.8e9;
  }
  return 1e9;
}

/// Why a backend cannot be used, or "".
template <class Get>
std::string why_not(Get get) {
  try {
    get().toolchain();
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace

std::optional<Device> parse_device(const std::string& word) {
  if (word == "auto") return std::nullopt;
  if (word == "cuda") return Device{Device::Kind::cuda, 0};
  if (word == "emu") return Device{Device::Kind::emu, 0};
  if (word == "cpu") return Device{Device::Kind::cpu, 0};
  constexpr std::string_view kCuda = "cuda:";
  if (word.starts_with(kCuda)) {
    int index = 0;
    const char* const end = word.data() + word.size();
    const auto [stop, error] = std::from_chars(word.data() + kCuda.size(), end, index);
    if (error == std::errc() && stop == end && index >= 0) return Device{Device::Kind::cuda, index};
  }
  refuse_word("--device", "auto, cuda, cuda:N, emu or cpu", word);
}

std::string device_text(const Device& device) {
  switch (device.kind) {
    case Device::Kind::cuda:
      return fmt::format("cuda:{}", device.index);
    case Device::Kind::emu:
      return "emu";
    case Device::Kind::cpu:
      return "cpu";
  }
  return "";
}

double cores() { return std::max(1U, std::thread::hardware_concurrency()); }

double emulator_seconds(double multiply_adds) {
  // CTAs, or pairs of them, run side by side: one for each of the four SMs that it has.
  constexpr double kSms = 4;
  return 0.02 + multiply_adds / (model_rate() / 4 * std::min(cores(), kSms));
}

double model_seconds(double multiply_adds) { return multiply_adds / (model_rate() * cores()); }

ChosenDevice choose_device(const std::optional<Device>& asked, double seconds, const char* what,
                           bool needs_kernel) {
  if (asked) return {*asked, "as asked", ""};
  const std::string no_gpu = why_not([]() -> Backend& { return cuda_backend(0); });
  if (no_gpu.empty()) return {{Device::Kind::cuda, 0}, "auto: there is a GPU for it", ""};
  const auto with = [&](Device::Kind kind, const std::string& reason) {
    return ChosenDevice{{kind, 0}, "auto: no usable GPU, and " + reason, no_gpu};
  };
  if (needs_kernel)
    return with(Device::Kind::emu, "--config names a kernel for the emulator to run");
  if (seconds > kLongestEmulation)
    return with(Device::Kind::cpu, fmt::format("the emulator would take about {}, so the CPU model "
                                               "computes it",
                                               time_text(seconds)));
  const std::string no_emulator = why_not([]() -> Backend& { return emu_backend(); });
  if (!no_emulator.empty())
    return with(Device::Kind::cpu,
                "no kernel for the emulator either, so the CPU model computes "
                "it: " +
                    no_emulator);
  return with(Device::Kind::emu, fmt::format("{} is small, so the emulator runs its kernel", what));
}

ChosenDevice choose_device(const GemmRequest& request, double multiply_adds) {
  return choose_device(request.auto_device ? std::nullopt : std::optional(request.device),
                       emulator_seconds(multiply_adds), "the product", !request.config.empty());
}

}  // namespace kiln::cli
