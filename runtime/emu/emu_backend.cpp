// The emulator as a Backend: this CPU is the device, host memory is its memory.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <mutex>
#include <utility>

#include "kiln/error.hpp"
#include "runtime/backend.hpp"
#include "runtime/emu/kernel.hpp"
#include "runtime/emu/launch.hpp"
#include "runtime/emu/sanitizer.hpp"
#include "runtime/emu/tensor_map.hpp"
#include "runtime/files.hpp"
#include "runtime/host_compiler.hpp"
#include "runtime/sha256.hpp"

namespace kiln {
namespace {

/// How kernels are compiled: without exceptions or a C++ library, with every symbol found when they
/// are linked. -g1: reports name lines of the source.
///
/// Every load and store checks its alignment, as a GPU does and an x86 does not, and every index
/// the size of its array, which nothing on a GPU does; without a runtime, by a trap (fault.hpp).
/// And it calls a hook of the kernel's own (device/ptx/emu/hooks.hpp), without a library function
/// in its place that would not; no sanitizer's library is wanted.
///
/// Where Kiln itself is built under AddressSanitizer, so are the kernels, in place of the hooks: a
/// byte that no allocation holds is found at once, and launches cannot be checked. Kiln has that
/// sanitizer's library loaded; it is named since -nodefaultlibs leaves it out.
std::vector<std::string> kernel_flags() {
  std::vector<std::string> flags = {"-g1",
                                    "-fno-builtin",
                                    "-fno-exceptions",
                                    "-fno-rtti",
                                    "-w",
                                    "-fsanitize=alignment,bounds",
                                    "-fsanitize-undefined-trap-on-error"};
  const auto add = [&](std::initializer_list<const char*> more) {
    flags.insert(flags.end(), more.begin(), more.end());
  };
  // GCC makes calls of memcpy and memset out of loops; clang knows no such flag and needs none.
  if (host_compiler().is_gcc()) add({"-fno-tree-loop-distribute-patterns"});
  add({"-nodefaultlibs", "-Wl,-z,defs", "-Wl,--as-needed", "-lm", "-lc", "-lgcc"});
  if (emu::kUnderAsan) {
    add({"-fsanitize=address", "-lasan"});
  } else {
    add({"-fsanitize=thread"});
  }
  return flags;
}

emu::LaunchSettings settings_of(const Emulation& emulation) {
  return {.seed = emulation.seed,
          .workers = emulation.threads,
          .check = emulation.check,
          .policy = emulation.policy,
          .arithmetic = emulation.arithmetic};
}

class EmuBackend : public Backend {
 public:
  const Arch& arch() const override { return arch_; }

  const Toolchain& toolchain() override {
    static const Toolchain toolchain = host_toolchain(kernel_flags());
    return toolchain;
  }

  std::vector<std::byte> compile(const std::string& source) override {
    return emu::compile_kernel(source, embedded_sources());
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

/// The files below a directory's device/ and ops/ that a kernel may include.
std::vector<std::pair<std::string, std::string>> device_sources(const std::string& directory) {
  namespace fs = std::filesystem;
  std::vector<std::pair<std::string, std::string>> files;
  std::error_code error;
  for (const char* part : {"device", "ops"}) {
    fs::recursive_directory_iterator at(fs::path(directory) / part, error);
    for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
      const fs::path& path = at->path();
      if (path.extension() != ".cuh" && path.extension() != ".hpp") continue;
      const auto bytes = read_file(path);
      if (!bytes) throw Error(ErrorCode::io, "cannot read " + path.string());
      files.emplace_back(path.lexically_relative(directory),
                         std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size()));
    }
    if (error)
      throw Error(ErrorCode::io,
                  "no kernel sources in " + directory + ": " + part + ": " + error.message());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// Kernels from a checkout. Its digest is among the compiler's flags, and so in every cache key.
class CheckoutBackend final : public EmuBackend {
 public:
  explicit CheckoutBackend(const std::string& directory) : files_(device_sources(directory)) {
    ListDigest digest;
    for (const auto& [name, text] : files_) {
      sources_.push_back({name, text});
      digest.add(name);
      digest.add(text);
    }
    digest_ = to_hex(digest.finish());
  }

  const Toolchain& toolchain() override {
    std::call_once(asked_, [this] { toolchain_ = host_toolchain(flags()); });
    return toolchain_;
  }

  std::vector<std::byte> compile(const std::string& source) override {
    return host_compiler().compile(source, flags(), sources_);
  }

 private:
  std::vector<std::string> flags() const {
    std::vector<std::string> flags = kernel_flags();
    flags.push_back("-DKILN_CHECKOUT=0x" + digest_);
    return flags;
  }

  const std::vector<std::pair<std::string, std::string>> files_;
  std::vector<EmbeddedSource> sources_;
  std::string digest_;
  std::once_flag asked_;
  Toolchain toolchain_;
};

}  // namespace

std::vector<std::byte> emu::compile_kernel(const std::string& source,
                                           const std::vector<EmbeddedSource>& sources) {
  return compile_shared_object(source, kernel_flags(), sources);
}

std::unique_ptr<Backend> emu_backend_from(const std::string& directory) {
  return std::make_unique<CheckoutBackend>(directory);
}

Backend& emu_backend() {
  static EmuBackend backend;
  return backend;
}

}  // namespace kiln
