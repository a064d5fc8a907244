// nvcc, the CUDA toolkit's compiler: only on request (KILN_COMPILER, or a benchmark that compares),
// run without a shell and with a cleaned environment.
#pragma once

#include <mutex>
#include <optional>

#include "runtime/cubin_compiler.hpp"

namespace kiln {

class NvccCompiler : public CubinCompiler {
 public:
  /// Looks for nothing yet. The path in KILN_COMPILER if there is one, else nvcc of $CUDA_HOME,
  /// $CUDA_PATH, /usr/local/cuda or PATH.
  NvccCompiler(const Settings& settings, int driver_version);

  const Toolchain& toolchain() override;
  std::string path() override;
  std::vector<std::byte> compile(const std::string& source) override;
  ResourceReport report(const std::string& source) override;

 private:
  struct Output {
    std::vector<std::byte> cubin;
    std::string log;
  };
  void find();
  Output run(const std::string& source, const std::vector<std::string>& flags);

  const Settings settings_;
  const int driver_version_;
  std::mutex mutex_;  // of finding; not held while compiling
  std::string path_;
  std::optional<Toolchain> toolchain_;
};

}  // namespace kiln
