#include "runtime/emu/kernel.hpp"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "kiln/error.hpp"
#include "runtime/emu/abi.hpp"

namespace kiln::emu {
namespace {

/// The image as a file in memory, closed again when it has been mapped.
class MemoryFile {
 public:
  explicit MemoryFile(std::span<const std::byte> image)
      : descriptor_(memfd_create("kiln-kernel", MFD_CLOEXEC)) {
    while (descriptor_ >= 0 && !image.empty()) {
      const ssize_t written = write(descriptor_, image.data(), image.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) break;
      image = image.subspan(static_cast<std::size_t>(written));
    }
    if (descriptor_ < 0 || !image.empty()) {
      const std::string reason = std::strerror(errno);
      if (descriptor_ >= 0) close(descriptor_);
      throw Error(ErrorCode::io, "emulator: no file in memory for a kernel: " + reason);
    }
  }
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  /// A path to it that no other image ever had: the loader knows objects by name first, and
  /// descriptor numbers come again. So the path carries a counter, a bit in every "/" or "/./".
  std::string path() const {
    static std::atomic<unsigned> count{0};
    std::string path = "/proc/self/fd";
    for (unsigned bits = ++count; bits != 0; bits >>= 1) path += (bits & 1) != 0 ? "/./" : "//";
    return path + "/" + std::to_string(descriptor_);
  }

 private:
  int descriptor_;
};

template <class Function>
Function symbol(void* object, const char* name) {
  void* address = dlsym(object, name);
  if (address == nullptr)
    throw Error(ErrorCode::internal,
                std::string("emulator: the image is no kernel: it exports no symbol ") + name);
  return reinterpret_cast<Function>(address);
}

/// Kernels live until the process ends, objects as well: a thread may be running one.
struct Kernels {
  std::mutex mutex;
  std::vector<std::unique_ptr<const Kernel>> all;

  static Kernels& instance() {
    static auto& kernels = *new Kernels;
    return kernels;
  }
};

const Kernel* keep(std::unique_ptr<const Kernel> kernel) {
  Kernels& kernels = Kernels::instance();
  const std::lock_guard lock(kernels.mutex);
  kernels.all.push_back(std::move(kernel));
  return kernels.all.back().get();
}

}  // namespace

const Kernel* load_kernel(std::span<const std::byte> image, const KernelShape& shape) {
  const MemoryFile file(image);
  void* object = dlopen(file.path().c_str(), RTLD_NOW | RTLD_LOCAL);
  if (object == nullptr)
    throw Error(ErrorCode::internal, std::string("emulator: the image is no kernel: ") + dlerror());
  auto kernel = std::make_unique<Kernel>();
  kernel->shape = shape;
  const bool bound = symbol<BindFunction>(object, kBindSymbol)(&abi(), &kernel->info) != 0;
  if (!bound || kernel->info.version != kAbiVersion)
    throw Error(ErrorCode::internal, "emulator: the kernel was built for version " +
                                         std::to_string(kernel->info.version) +
                                         " of the seam, this is version " +
                                         std::to_string(kAbiVersion));
  kernel->function = symbol<KernelFunction>(object, kKernelSymbol);
  kernel->image.assign(image.begin(), image.end());
  Dl_info place = {};
  if (dladdr(reinterpret_cast<void*>(kernel->function), &place) != 0)
    kernel->loaded = static_cast<const std::byte*>(place.dli_fbase);
  if (kernel->info.threads != static_cast<u32>(shape.threads))
    throw Error(ErrorCode::internal,
                "emulator: the kernel has " + std::to_string(kernel->info.threads) +
                    " threads a CTA, its shape says " + std::to_string(shape.threads));
  return keep(std::move(kernel));
}

CodePlace find_code(const void* code) {
  Dl_info place = {};
  if (dladdr(code, &place) == 0) return {};
  Kernels& kernels = Kernels::instance();
  const std::lock_guard lock(kernels.mutex);
  for (const auto& kernel : kernels.all)
    if (kernel->loaded == place.dli_fbase)
      return {kernel.get(),
              static_cast<std::size_t>(static_cast<const std::byte*>(code) - kernel->loaded)};
  return {};
}

}  // namespace kiln::emu
