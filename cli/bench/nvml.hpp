// Clock, power and temperature of a GPU, through NVML, which every driver brings and which is
// opened at run time. https://docs.nvidia.com/deploy/nvml-api/
#pragma once

#include <memory>
#include <string>

#include "cli/bench/spec.hpp"

namespace kiln::bench {

struct ClockReading {
  bool known = false;
  int sm_mhz = 0, memory_mhz = 0, celsius = 0;
  double watts = 0;
  std::uint64_t limits = 0;  // NVML's bits of what holds the clock down; 0x4 is the power cap
};

/// "1725 MHz, 3201 MHz memory, 612 W, 54 C", or "unknown".
std::string to_string(const ClockReading& reading);
Json json_of(const ClockReading& reading);

class Clocks {
 public:
  virtual ~Clocks() = default;
  /// Not known where NVML is missing or fails.
  virtual ClockReading read() = 0;
  /// "580.159.04", or "".
  virtual std::string driver_version() = 0;
};

/// Knows nothing.
std::unique_ptr<Clocks> no_clocks();

/// `driver_library` is the file of the CUDA driver: NVML lies beside it where the loader does not
/// know it. Never null; `why_not` is set where nothing will be known.
std::unique_ptr<Clocks> open_nvml(const std::string& pci_bus_id, const std::string& driver_library,
                                  std::string& why_not);

}  // namespace kiln::bench
