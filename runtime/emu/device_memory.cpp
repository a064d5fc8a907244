#include "runtime/emu/device_memory.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "kiln/error.hpp"

namespace kiln::emu {
namespace {

u64 page_bytes() {
  static const u64 bytes = static_cast<u64>(sysconf(_SC_PAGESIZE));
  return bytes;
}

constexpr u64 kAlignment = 256;

u64 rounded(u64 bytes, u64 unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

DeviceMemory::~DeviceMemory() {
  for (const auto& [base, allocation] : allocations_) munmap(allocation.pages, allocation.mapped);
}

void* DeviceMemory::allocate(int device, std::size_t bytes) {
  const u64 used = rounded(std::max<u64>(bytes, 1), kAlignment);
  const u64 mapped = rounded(used, page_bytes()) + page_bytes();
  void* pages = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED)
    throw Error(ErrorCode::unsupported,
                fmt::format("emulator: this machine has no memory for {} bytes", bytes));
  auto* first = static_cast<std::byte*>(pages);
  std::byte* guard = first + mapped - page_bytes();
  mprotect(guard, page_bytes(), PROT_NONE);
  std::byte* data = guard - used;
  std::memset(data, 0xFF, used);
  allocations_[reinterpret_cast<u64>(first)] = {device, first, mapped, reinterpret_cast<u64>(data),
                                                bytes};
  return data;
}

void DeviceMemory::free(void* data) {
  auto found = allocations_.upper_bound(reinterpret_cast<u64>(data));
  if (found == allocations_.begin() || (--found)->second.data != reinterpret_cast<u64>(data) ||
      found->second.freed)
    throw Error(ErrorCode::internal,
                fmt::format("emulator: free: {} is no allocation of a device", data));
  found->second.freed = true;
  mprotect(found->second.pages, found->second.mapped, PROT_NONE);
}

std::optional<std::string> DeviceMemory::refusal(int device, u64 address, u64 bytes) const {
  auto found = allocations_.upper_bound(address);
  if (found == allocations_.begin()) return std::nullopt;
  const auto& [base, allocation] = *--found;
  if (address - base >= allocation.mapped) return std::nullopt;
  const std::string whose = fmt::format("device {}'s allocation of {} bytes at {:#x}",
                                        allocation.device, allocation.bytes, allocation.data);
  if (allocation.freed) return whose + ", which has been freed";
  if (address < allocation.data || address + bytes > allocation.data + allocation.bytes)
    return fmt::format("{} bytes at {:#x}, outside of {}", bytes, address, whose);
  if (allocation.device != device && !peers_.contains({device, allocation.device}))
    return fmt::format("{}, and device {} has no access to device {} (enable_peer)", whose, device,
                       allocation.device);
  return std::nullopt;
}

}  // namespace kiln::emu
