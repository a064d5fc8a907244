// A GPU to measure on, put together: backend, timer, clocks, baselines, and what they are.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/bench/cuda_timer.hpp"
#include "cli/bench/gemm_flow.hpp"
#include "runtime/settings.hpp"

namespace kiln::bench {

/// The library folders of NVIDIA's wheels below a Python's prefix, sorted.
std::vector<std::string> wheel_directories(const std::string& prefix);

/// Where NVIDIA's libraries may lie that the loader does not know: the toolkit, LD_LIBRARY_PATH,
/// the wheels of VIRTUAL_ENV and of every Python on PATH.
std::vector<std::string> nvidia_directories();

/// The device as every benchmark's JSON describes it.
Json run_facts(const Gpu& gpu, Clocks& clocks, CompilerKind compiler);

/// Error{no_device} that starts with "no CUDA device: ", whatever is missing.
Driver& driver_or_throw(int device);

/// How kernels are timed on a GPU, as every benchmark of kernels asks for it.
struct TimingRequest {
  int device = 0;
  Flush flush = Flush::dirty;
  int flush_mb = 8000;
  int runs = 30, warm_up = 5;
  CompilerKind compiler = CompilerKind::nvrtc;
};

/// A GPU with its clocks and its timer, and what the files and tables say of them.
class CudaMachine {
 public:
  /// Throws Error{no_device}.
  explicit CudaMachine(const TimingRequest& request);

  Backend& backend() { return backend_; }
  const Gpu& gpu() const { return gpu_; }
  Timer& timer() { return *timer_; }
  Clocks& clocks() { return *clocks_; }
  const std::vector<std::string>& directories() const { return directories_; }

  /// For the file's "run".
  Json facts();
  /// The lines above a table, of these facts.
  std::string head(const Json& facts) const;
  std::string clocks_before() { return "before: " + to_string(clocks_->read()) + "\n"; }
  /// Adds to the file what is known at the end, and says it.
  std::string finish(ResultFile& file);

 private:
  const TimingRequest request_;
  Driver& driver_;
  Backend& backend_;
  const Gpu gpu_;
  const std::vector<std::string> directories_;
  std::string no_cupti_, no_nvml_;
  std::size_t flush_mb_;
  std::unique_ptr<Clocks> clocks_;
  std::unique_ptr<Timer> timer_;
};

class CudaRunner final : public GemmRunner {
 public:
  /// `sm_budget`: SMs that every product may use; 0: all.
  CudaRunner(int device, CompilerKind compiler, int sm_budget = 0);

  Backend& backend() { return backend_; }
  std::vector<GemmCandidate> candidates(const GemmArgs& args) override;
  GemmConfig chosen(const GemmArgs& args) override;
  GemmProblem problem(const GemmArgs& args) override;
  const Arch& arch() override { return backend_.arch(); }
  void run(const GemmArgs& args, const GemmConfig* config) override;
  void prepare(const std::vector<GemmConfig>& configs) override;
  std::vector<CompiledProduct> by_each_compiler(const GemmArgs& args,
                                                const GemmConfig& config) override;
  void prepare_each_compiler(const std::vector<GemmConfig>& configs) override;

 private:
  struct Compiled {
    GemmConfig config;
    CompilerKind kind;
    const LoadedKernel* kernel = nullptr;
    double ms = 0;
    std::size_t bytes = 0;
  };
  Compiled compile(const GemmConfig& config, CompilerKind kind);

  const int device_;
  Options options_;
  Backend& backend_;
  std::vector<Compiled> compiled_;
};

}  // namespace kiln::bench
