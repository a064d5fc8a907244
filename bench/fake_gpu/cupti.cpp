// libcupti.so.13: delivers the fake GPU's kernels as records, in buffers, like CUPTI.
// KILN_FAKE_CUPTI = refuse (another profiler is there) or lose (drops a record).
#include <cuda.h>
#include <cupti.h>

#include <cstring>

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
  if (flag != CUPTI_ACTIVITY_FLAG_FLUSH_FORCED) return CUPTI_SUCCESS;
  auto& kernels = kiln::fake::kiln_fake_gpu()->kernels;
  // Names live as long as CUPTI does.
  static std::vector<std::string>& names = *new std::vector<std::string>;
  names.reserve(1 << 16);
  std::size_t next = 0;
  while (next < kernels.size()) {
    uint8_t* buffer = nullptr;
    std::size_t size = 0, most = 0, used = 0;
    request(&buffer, &size, &most);
    if (!buffer || size < sizeof(Record)) return CUPTI_ERROR_OUT_OF_MEMORY;
    for (; next < kernels.size() && used + sizeof(Record) <= size; ++next) {
      if (mode() == "lose" && next == 5) continue;
      names.push_back(kernels[next].name);
      Record record;
      std::memset(&record, 0, sizeof record);
      record.kind = CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL;
      record.start = kernels[next].start;
      record.end = kernels[next].end;
      record.gridX = kernels[next].grid;
      record.blockX = kernels[next].block;
      record.name = names.back().c_str();
      std::memcpy(buffer + used, &record, sizeof record);
      used += sizeof record;
    }
    complete(nullptr, 0, buffer, size, used);
  }
  kernels.clear();
  return CUPTI_SUCCESS;
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
