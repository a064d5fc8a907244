// libcupti.so.13: delivers the fake GPU's kernels as records, in buffers, like CUPTI.
// KILN_FAKE_CUPTI is what goes wrong:
//   refuse      another profiler is there
//   lose        a record of every delivery is dropped
//   lose-twice  the same, of two deliveries
//   hold        the last records of a delivery come two flushes later
//   forced      nothing comes without force
//   fail        flushing fails
#include <cuda.h>
#include <cupti.h>

#include <cstring>
#include <deque>
#include <iterator>
#include <span>
#include <utility>

#include "fake_gpu.hpp"

#define FAKE extern "C" __attribute__((visibility("default")))

namespace {
using Record = CUpti_ActivityKernel9;
CUpti_BuffersCallbackRequestFunc request = nullptr;
CUpti_BuffersCallbackCompleteFunc complete = nullptr;
std::string mode() {
  const char* value = std::getenv("KILN_FAKE_CUPTI");
  return value ? value : "";
}

using kiln::fake::Kernel;
constexpr int kLost = 5, kHeld = 4;

/// Fills buffers with the records of kernels, one after another.
CUptiResult deliver(std::span<const Kernel> kernels) {
  // Names live, where they are, as long as CUPTI does.
  static std::deque<std::string>& names = *new std::deque<std::string>;
  while (!kernels.empty()) {
    uint8_t* buffer = nullptr;
    std::size_t size = 0, most = 0, used = 0;
    request(&buffer, &size, &most);
    if (!buffer || size < sizeof(Record)) return CUPTI_ERROR_OUT_OF_MEMORY;
    for (; !kernels.empty() && used + sizeof(Record) <= size; used += sizeof(Record)) {
      const Kernel& kernel = kernels.front();
      Record record;
      std::memset(&record, 0, sizeof record);
      record.kind = CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL;
      record.start = kernel.start;
      record.end = kernel.end;
      record.gridX = kernel.grid;
      record.blockX = kernel.block;
      record.name = names.emplace_back(kernel.name).c_str();
      std::memcpy(buffer + used, &record, sizeof record);
      kernels = kernels.subspan(1);
    }
    complete(nullptr, 0, buffer, size, used);
  }
  return CUPTI_SUCCESS;
}
}  // namespace

FAKE CUptiResult CUPTIAPI cuptiActivityRegisterCallbacks(CUpti_BuffersCallbackRequestFunc asked,
                                                         CUpti_BuffersCallbackCompleteFunc done) {
  request = asked;
  complete = done;
  return CUPTI_SUCCESS;
}
FAKE CUptiResult CUPTIAPI cuptiActivityEnable(CUpti_ActivityKind kind) {
  if (kind != CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) return CUPTI_ERROR_INVALID_KIND;
  if (mode() == "refuse") return CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED;
  kiln::fake::kiln_fake_gpu()->recording = true;
  return CUPTI_SUCCESS;
}
FAKE CUptiResult CUPTIAPI cuptiActivityDisable(CUpti_ActivityKind) {
  kiln::fake::kiln_fake_gpu()->recording = false;
  return CUPTI_SUCCESS;
}
FAKE CUptiResult CUPTIAPI cuptiActivityFlushAll(uint32_t flag) {
  if (mode() == "fail") return CUPTI_ERROR_UNKNOWN;
  if (mode() == "forced" && flag != CUPTI_ACTIVITY_FLAG_FLUSH_FORCED) return CUPTI_SUCCESS;
  static std::vector<Kernel>& held = *new std::vector<Kernel>;
  static int flushes_to_hold = 0;
  if (!held.empty()) {
    if (--flushes_to_hold > 0) return CUPTI_SUCCESS;
    return deliver(std::exchange(held, {}));
  }
  std::vector<Kernel> kernels = std::exchange(kiln::fake::kiln_fake_gpu()->kernels, {});
  static int losses = 0;
  if (std::ssize(kernels) > kLost && (mode() == "lose" || (mode() == "lose-twice" && losses < 2))) {
    kernels.erase(kernels.begin() + kLost);
    ++losses;
  }
  if (std::ssize(kernels) > kHeld && mode() == "hold") {
    held.assign(kernels.end() - kHeld, kernels.end());
    kernels.resize(kernels.size() - kHeld);
    flushes_to_hold = 2;
  }
  return deliver(kernels);
}
FAKE CUptiResult CUPTIAPI cuptiActivityGetNextRecord(uint8_t* buffer, size_t valid,
                                                     CUpti_Activity** record) {
  uint8_t* next = *record ? reinterpret_cast<uint8_t*>(*record) + sizeof(Record) : buffer;
  if (next + sizeof(Record) > buffer + valid) return CUPTI_ERROR_MAX_LIMIT_REACHED;
  *record = reinterpret_cast<CUpti_Activity*>(next);
  return CUPTI_SUCCESS;
}
FAKE CUptiResult CUPTIAPI cuptiGetResultString(CUptiResult, const char** text) {
  *text = "CUPTI_ERROR_OF_THE_FAKE";
  return CUPTI_SUCCESS;
}
FAKE CUptiResult CUPTIAPI cuptiGetVersion(uint32_t* version) {
  *version = 130001;
  return CUPTI_SUCCESS;
}
