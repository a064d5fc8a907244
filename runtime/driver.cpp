#include "runtime/driver.hpp"

#include <pthread.h>

#include "kiln/error.hpp"
#include "runtime/dynamic_library.hpp"

namespace kiln {
namespace {

constexpr const char* kWithout = "kernels run without a GPU on Device::emu and Device::cpu";

cu::Functions resolve(const DynamicLibrary& library) {
  cu::Functions functions;
  std::string missing;
#define KILN_RESOLVE(member, name, parameters)                                           \
  functions.member = reinterpret_cast<decltype(functions.member)>(library.symbol(name)); \
  if (!functions.member) missing += std::string(" ") + (name);
  {
    using namespace cu;
    KILN_DRIVER_FUNCTIONS(KILN_RESOLVE)
  }
#undef KILN_RESOLVE
  if (!missing.empty())
    throw Error(ErrorCode::no_device, "the NVIDIA driver " + library.path() + " lacks" + missing +
                                          ": wanted a driver for CUDA 12.0 or newer; " + kWithout);
  return functions;
}

}  // namespace

Driver::Driver(const std::vector<std::string>& candidates) {
  std::vector<std::string> failures;
  const DynamicLibrary library = DynamicLibrary::open(candidates, failures);
  if (!library) {
    std::string text = "no NVIDIA driver was found";
    for (const std::string& failure : failures) text += " (" + failure + ")";
    throw Error(ErrorCode::no_device,
                text + ": install one, or pass the GPU into this container; " + kWithout);
  }
  path_ = library.path();
  functions_ = resolve(library);
  check(functions_.cuDriverGetVersion(&version_), "cuDriverGetVersion");
}

void Driver::initialise() {
  refuse_after_fork();
  const std::lock_guard lock(mutex_);
  const cu::CUresult result = functions_.cuInit(0);  // cheap once it has succeeded
  if (result != cu::CUDA_SUCCESS)
    throw Error(ErrorCode::no_device, "cuInit failed: " + error_text(result) +
                                          "; the NVIDIA driver " + path_ + " supports CUDA " +
                                          version_text(version_) + "; " + kWithout);
  if (initialised_.exchange(true)) return;
  ::pthread_atfork(nullptr, nullptr, [] { unusable_after_fork_ = true; });
}

void Driver::throw_after_fork() {
  throw Error(ErrorCode::driver,
              "this process was forked from one that had used CUDA, where CUDA cannot work: start "
              "it by spawn or exec, or fork before the first use of a GPU");
}

std::string Driver::error_text(cu::CUresult result) const {
  const char* name = nullptr;
  const char* text = nullptr;
  if (functions_.cuGetErrorName(result, &name) != cu::CUDA_SUCCESS || !name)
    return "CUDA error " + std::to_string(result);
  if (functions_.cuGetErrorString(result, &text) != cu::CUDA_SUCCESS || !text) return name;
  return std::string(name) + " (" + text + ")";
}

void Driver::fail(cu::CUresult result, const char* call) const {
  throw Error(ErrorCode::driver, std::string(call) + " failed: " + error_text(result));
}

Driver& driver() {
  // Never destroyed: threads may still launch while the process ends.
  static Driver& driver = *new Driver({"libcuda.so.1"});
  return driver;
}

int driver_version_if_present() {
  try {
    return driver().version();
  } catch (const std::exception&) {
    return 0;
  }
}

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace kiln
