#include "cli/bench/nvml.hpp"

#include <fmt/format.h>

#include "runtime/dynamic_library.hpp"

namespace kiln::bench {
namespace {

// The part of nvml.h that is used.
using nvmlReturn_t = int;  // 0 is success
struct nvmlDevice_st;
using nvmlDevice_t = nvmlDevice_st*;
constexpr int NVML_CLOCK_SM = 1, NVML_CLOCK_MEM = 2;
constexpr int NVML_TEMPERATURE_GPU = 0;

// F(member, symbol, parameters)
#define KILN_NVML_NEEDED(F)                                                              \
  F(init, "nvmlInit_v2", ())                                                             \
  F(device_by_pci_bus_id, "nvmlDeviceGetHandleByPciBusId_v2",                            \
    (const char* id, nvmlDevice_t* device))                                              \
  F(clock, "nvmlDeviceGetClockInfo", (nvmlDevice_t device, int type, unsigned int* mhz)) \
  F(power, "nvmlDeviceGetPowerUsage", (nvmlDevice_t device, unsigned int* milliwatts))
// These change their names from one driver to another; without them a figure is 0.
#define KILN_NVML_EXTRA(F)                                     \
  F(temperature, "nvmlDeviceGetTemperature",                   \
    (nvmlDevice_t device, int sensor, unsigned int* degrees))  \
  F(clock_limits, "nvmlDeviceGetCurrentClocksThrottleReasons", \
    (nvmlDevice_t device, unsigned long long* reasons))        \
  F(driver_version, "nvmlSystemGetDriverVersion", (char* text, unsigned int size))

struct Functions {
#define KILN_MEMBER(member, symbol, parameters) nvmlReturn_t(*member) parameters;
  KILN_NVML_NEEDED(KILN_MEMBER)
  KILN_NVML_EXTRA(KILN_MEMBER)
#undef KILN_MEMBER
};

class NoClocks final : public Clocks {
 public:
  ClockReading read() override { return {}; }
  std::string driver_version() override { return ""; }
};

class NvmlClocks final : public Clocks {
 public:
  NvmlClocks(const Functions& nvml, nvmlDevice_t device) : nvml_(nvml), device_(device) {}

  ClockReading read() override {
    unsigned int sm = 0, memory = 0, milliwatts = 0, degrees = 0;
    unsigned long long limits = 0;
    ClockReading reading;
    reading.known = nvml_.clock(device_, NVML_CLOCK_SM, &sm) == 0;
    nvml_.clock(device_, NVML_CLOCK_MEM, &memory);
    nvml_.power(device_, &milliwatts);
    if (nvml_.temperature) nvml_.temperature(device_, NVML_TEMPERATURE_GPU, &degrees);
    if (nvml_.clock_limits) nvml_.clock_limits(device_, &limits);
    reading.sm_mhz = static_cast<int>(sm);
    reading.memory_mhz = static_cast<int>(memory);
    reading.celsius = static_cast<int>(degrees);
    reading.watts = milliwatts * 1e-3;
    reading.limits = limits;
    return reading;
  }

  std::string driver_version() override {
    char text[96] = "";
    if (!nvml_.driver_version || nvml_.driver_version(text, sizeof text - 1) != 0) return "";
    return text;
  }

 private:
  const Functions nvml_;
  nvmlDevice_t device_;
};

}  // namespace

std::string to_string(const ClockReading& r) {
  if (!r.known) return "unknown";
  return fmt::format("{} MHz, {} MHz memory, {:.0f} W, {} C", r.sm_mhz, r.memory_mhz, r.watts,
                     r.celsius);
}

Json json_of(const ClockReading& r) {
  if (!r.known) return nullptr;
  return {{"sm_mhz", r.sm_mhz},
          {"memory_mhz", r.memory_mhz},
          {"watts", r.watts},
          {"celsius", r.celsius},
          {"limits", r.limits}};
}

std::unique_ptr<Clocks> no_clocks() { return std::make_unique<NoClocks>(); }

std::unique_ptr<Clocks> open_nvml(const std::string& pci_bus_id, const std::string& driver_library,
                                  std::string& why_not) {
  constexpr const char* kName = "libnvidia-ml.so.1";
  std::vector<std::string> candidates = {kName}, failures;
  if (const std::size_t slash = driver_library.rfind('/'); slash != std::string::npos)
    candidates.push_back(driver_library.substr(0, slash + 1) + kName);
  const DynamicLibrary library = DynamicLibrary::open(candidates, failures);
  if (!library) {
    why_not = "libnvidia-ml.so.1 was not found";
    return no_clocks();
  }
  Functions nvml;
#define KILN_RESOLVE(member, name, parameters)                                 \
  nvml.member = reinterpret_cast<decltype(nvml.member)>(library.symbol(name)); \
  if (!nvml.member) {                                                          \
    why_not = library.path() + " lacks " name;                                 \
    return no_clocks();                                                        \
  }
  KILN_NVML_NEEDED(KILN_RESOLVE)
#undef KILN_RESOLVE
#define KILN_RESOLVE(member, name, parameters) \
  nvml.member = reinterpret_cast<decltype(nvml.member)>(library.symbol(name));
  KILN_NVML_EXTRA(KILN_RESOLVE)
#undef KILN_RESOLVE
  nvmlDevice_t device = nullptr;
  if (const int result = nvml.init(); result != 0) {
    why_not = fmt::format("nvmlInit failed with {}", result);
  } else if (const int found = nvml.device_by_pci_bus_id(pci_bus_id.c_str(), &device); found != 0) {
    why_not = fmt::format("NVML does not know device {} ({})", pci_bus_id, found);
  } else {
    return std::make_unique<NvmlClocks>(nvml, device);
  }
  return no_clocks();
}

}  // namespace kiln::bench
