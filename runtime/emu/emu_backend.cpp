// The emulator as a Backend: this CPU is the device, host memory is its memory.
#include <cstdlib>
#include <cstring>

#include "kiln/error.hpp"
#include "runtime/backend.hpp"
#include "runtime/emu/kernel.hpp"
#include "runtime/emu/launch.hpp"
#include "runtime/emu/tensor_map.hpp"
#include "runtime/host_compiler.hpp"

namespace kiln {
namespace {

// Kernels throw nothing and need no C++ library; every symbol must be found when they are linked.
// Every load and store checks its alignment, as a GPU does and an x86 does not; without a runtime,
// by a trap (fault.hpp).
const std::vector<std::string> kFlags = {"-fsanitize=alignment",
                                         "-fsanitize-undefined-trap-on-error",
                                         "-fno-exceptions",
                                         "-fno-rtti",
                                         "-w",
                                         "-Wl,-z,defs",
                                         "-Wl,--as-needed"};

emu::LaunchSettings settings_of(const Emulation& emulation) {
  return {.seed = emulation.seed,
          .workers = emulation.threads,
          .check = emulation.check,
          .policy = emulation.policy,
          .arithmetic = emulation.arithmetic};
}

class EmuBackend final : public Backend {
 public:
  const Arch& arch() const override { return arch_; }

  const Toolchain& toolchain() override {
    static const Toolchain toolchain = host_toolchain(kFlags);
    return toolchain;
  }

  std::vector<std::byte> compile(const std::string& source) override {
    return compile_shared_object(source, kFlags);
  }

  ResourceReport report(const std::string&) override { return {}; }

  const LoadedKernel* load(std::span<const std::byte> image, const KernelShape& shape) override {
    return emu::load_kernel(image, shape);
  }

  TensorMap encode(const TensorMapSpec& spec) override { return emu::encode_box_map(spec); }

  void launch(const LoadedKernel* kernel, int ctas, const void* params, std::size_t bytes,
              const LaunchOptions& options) override {
    emu::launch(static_cast<const emu::Kernel&>(*kernel), ctas, params, bytes,
                settings_of(options.emulation));
  }

  void* allocate(std::size_t bytes) override {
    // As aligned as what the driver returns.
    const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    void* data = rounded >= bytes ? std::aligned_alloc(kAlignment, rounded) : nullptr;
    if (data == nullptr && bytes != 0)
      throw Error(ErrorCode::unsupported,
                  "emulator: this machine has no memory for " + std::to_string(bytes) + " bytes");
    return data;
  }
  void free(void* data) noexcept override { std::free(data); }
  void copy_in(void* to, const void* from, std::size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  void copy_out(void* to, const void* from, std::size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  void fill(void* data, std::uint8_t value, std::size_t bytes) override {
    std::memset(data, value, bytes);
  }
  void synchronize() override {}

 private:
  static constexpr std::size_t kAlignment = 256;

  // Four SMs: few enough that a small problem gives a CTA several tiles.
  const Arch arch_{"emu", 4, 232448, 60 << 20};
};

}  // namespace

Backend& emu_backend() {
  static EmuBackend backend;
  return backend;
}

}  // namespace kiln
