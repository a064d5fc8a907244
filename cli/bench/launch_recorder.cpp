#include "cli/bench/launch_recorder.hpp"

#include <fmt/format.h>

#include <cstring>

#include "kiln/error.hpp"

namespace kiln::bench {
namespace {

struct Recording {
  RecordedLaunch launch;
  int launches = 0;
};
Recording* recording = nullptr;  // the one that is under way

cu::CUresult record(const cu::CUlaunchConfig* config, cu::CUfunction function, void** params,
                    void**) {
  RecordedLaunch& launch = recording->launch;
  launch.config = *config;
  launch.attributes.assign(config->attrs, config->attrs + config->numAttrs);
  launch.config.attrs = nullptr;
  launch.function = function;
  std::memcpy(launch.params.data(), params[0], launch.params.size());
  ++recording->launches;
  return cu::CUDA_SUCCESS;
}

}  // namespace

cu::CUresult RecordedLaunch::launch(const Driver& driver) {
  config.attrs = attributes.data();
  void* arguments[] = {params.data()};
  return driver.functions().cuLaunchKernelEx(&config, function, arguments, nullptr);
}

RecordedLaunch record_launch(Driver& driver, std::size_t param_bytes,
                             const std::function<void()>& call) {
  // The table belongs to the driver object, which is no constant; only its accessor is.
  auto& entry = const_cast<cu::Functions&>(driver.functions()).cuLaunchKernelEx;
  const auto original = entry;
  Recording current;
  current.launch.params.resize(param_bytes);
  recording = &current;
  entry = record;
  try {
    call();
  } catch (...) {
    entry = original;
    recording = nullptr;
    throw;
  }
  entry = original;
  recording = nullptr;
  if (current.launches != 1)
    throw Error(ErrorCode::internal,
                fmt::format("bench: a call launched {} kernels, wanted 1", current.launches));
  return std::move(current.launch);
}

}  // namespace kiln::bench
