#include "runtime/emu/shared_memory.hpp"

#include <sys/mman.h>

#include <cstring>

#include "kiln/error.hpp"

namespace kiln::emu {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kGuardBytes = 64 << 10;
constexpr std::size_t kAlignment = 1024;  // what kernels are promised, and the widest swizzle needs
constexpr std::byte kCanary{0xCB};

constexpr std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

SharedMemory::~SharedMemory() { unmap(); }

void SharedMemory::unmap() {
  if (mapping_ != nullptr) munmap(mapping_, mapped_);
  mapping_ = nullptr;
}

void SharedMemory::start(std::size_t bytes) {
  const std::size_t pages = round_up(bytes, kPage);
  if (mapping_ == nullptr || mapped_ != pages + 2 * kGuardBytes) {
    unmap();
    mapped_ = pages + 2 * kGuardBytes;
    void* mapping = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping != MAP_FAILED) mapping_ = static_cast<std::byte*>(mapping);
    if (mapping_ == nullptr ||
        (pages != 0 && mprotect(mapping_ + kGuardBytes, pages, PROT_READ | PROT_WRITE) != 0))
      throw Error(ErrorCode::internal, "emulator: no memory for the shared memory of a CTA");
  }
  std::byte* end = mapping_ + kGuardBytes + pages;
  data_ = end - round_up(bytes, kAlignment);
  bytes_ = bytes;
  std::memset(end - pages, static_cast<int>(kCanary), pages);
  std::memset(data_, static_cast<int>(kUndefined), bytes_);
}

std::optional<std::ptrdiff_t> SharedMemory::overrun(const void* address) const {
  const std::byte* p = static_cast<const std::byte*>(address);
  if (mapping_ == nullptr || p < mapping_ || p >= mapping_ + mapped_) return std::nullopt;
  return p - data_;
}

std::optional<std::ptrdiff_t> SharedMemory::broken_canary() const {
  const std::byte* end = mapping_ + mapped_ - kGuardBytes;
  for (const std::byte* p = mapping_ + kGuardBytes; p < end; ++p) {
    if (p == data_) p += bytes_;
    if (p < end && *p != kCanary) return p - data_;
  }
  return std::nullopt;
}

}  // namespace kiln::emu
