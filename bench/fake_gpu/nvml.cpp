// libnvidia-ml.so.1
#include <cstring>

#define FAKE extern "C" __attribute__((visibility("default")))

FAKE int nvmlInit_v2() { return 0; }
FAKE int nvmlDeviceGetHandleByPciBusId_v2(const char* id, void** device) {
  static char one;
  *device = &one;
  return std::strcmp(id, "0000:99:00.0") == 0 ? 0 : 6;  // NVML_ERROR_NOT_FOUND
}
FAKE int nvmlDeviceGetClockInfo(void*, int type, unsigned int* mhz) {
  *mhz = type == 1 ? 1725 : 3201;
  return 0;
}
FAKE int nvmlDeviceGetPowerUsage(void*, unsigned int* milliwatts) {
  *milliwatts = 612000;
  return 0;
}
FAKE int nvmlDeviceGetTemperature(void*, int, unsigned int* degrees) {
  *degrees = 54;
  return 0;
}
FAKE int nvmlSystemGetDriverVersion(char* text, unsigned int size) {
  std::strncpy(text, "580.0.fake", size);
  return 0;
}
