// A CTA's shared memory: exactly as many bytes as the launch asked for, ending at an unmapped page,
// so that an access past the end faults at once; what lies between its start and the page below it
// is a canary. Poisoned with 0xFF (a NaN in E4M3, BF16 and FP32) at the start of every CTA.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace kiln::emu {

/// The 32-bit address at which dynamic shared memory starts: sm_90 keeps the first KiB for itself.
inline constexpr std::uint32_t kSharedBase = 1024;

/// What undefined bytes hold.
inline constexpr std::byte kUndefined{0xFF};

class SharedMemory {
 public:
  SharedMemory() = default;
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  /// Makes it `bytes` long and poisons it.
  void start(std::size_t bytes);

  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

  bool contains(const void* pointer, std::size_t bytes = 1) const {
    const std::byte* p = static_cast<const std::byte*>(pointer);
    return p >= data_ && bytes <= bytes_ && p <= data_ + (bytes_ - bytes);
  }
  std::uint32_t offset(const void* pointer) const {
    return static_cast<std::uint32_t>(static_cast<const std::byte*>(pointer) - data_);
  }

  /// How far from the start an address in the guards is (negative: below), or nothing.
  std::optional<std::ptrdiff_t> overrun(const void* address) const;

  /// The offset of a canary that was written, or nothing.
  std::optional<std::ptrdiff_t> broken_canary() const;

 private:
  void unmap();

  std::byte* mapping_ = nullptr;  // guard, pages, guard
  std::size_t mapped_ = 0;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace kiln::emu
