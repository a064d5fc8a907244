// Memory of the emulated devices: allocations that belong to a device, each ending at a page that
// nobody can touch, and which device may use whose.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "device/types.hpp"

namespace kiln::emu {

/// A launch that is checked says what its grids touch; other memory, the host's, is not its matter.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  /// Aligned to 256 bytes, as the driver's. Its bytes are 0xFF.
  void* allocate(int device, std::size_t bytes);
  /// The addresses stay reserved: who still uses them is found.
  void free(void* data);

  /// From now on grids on device `from` may use the memory of device `to`.
  void enable_peer(int from, int to) { peers_.insert({from, to}); }

  /// Why a grid on `device` must not touch these bytes, or nothing.
  std::optional<std::string> refusal(int device, u64 address, u64 bytes) const;

 private:
  struct Allocation {
    int device;
    std::byte* pages;
    u64 mapped;  // of them, the guard among them
    u64 data, bytes;
    bool freed = false;
  };

  std::map<u64, Allocation> allocations_;  // by the first page's address
  std::set<std::pair<int, int>> peers_;
};

}  // namespace kiln::emu
