#include "cli/bench/cuda_rig.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>

#include "arith/parallel.hpp"
#include "cli/bench/launch_recorder.hpp"
#include "cli/progress.hpp"
#include "cli/text.hpp"
#include "kiln/error.hpp"
#include "kiln/version.hpp"
#include "ops/gemm/api.hpp"
#include "ops/gemm/check.hpp"
#include "ops/gemm/choose.hpp"
#include "ops/gemm/text.hpp"
#include "runtime/cuda_backend.hpp"
#include "runtime/dynamic_library.hpp"
#include "runtime/jit.hpp"
#include "runtime/nvrtc.hpp"
#include "runtime/nvrtc_finder.hpp"

namespace kiln::bench {
namespace {

namespace fs = std::filesystem;

double ms_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

std::string nvrtc_version() {
  try {
    auto* nvrtc = dynamic_cast<NvrtcCompiler*>(&cubin_compiler(CompilerKind::nvrtc));
    return nvrtc ? nvrtc->loaded_version() + " (" + nvrtc->path() + ")" : "unknown";
  } catch (const Error&) {
    return "none";
  }
}

}  // namespace

std::vector<std::string> wheel_directories(const std::string& prefix) {
  std::vector<std::string> directories;
  std::error_code error;
  for (fs::directory_iterator it(fs::path(prefix) / "lib", error), end; !error && it != end;
       it.increment(error)) {
    if (!it->path().filename().string().starts_with("python3")) continue;
    for (const char* packages : {"site-packages", "dist-packages"})
      for (const char* wheel : {"cu13/lib", "cuda_cupti/lib", "cublas/lib"}) {
        const fs::path directory = it->path() / packages / "nvidia" / wheel;
        std::error_code ignored;
        if (fs::is_directory(directory, ignored)) directories.push_back(directory);
      }
  }
  std::sort(directories.begin(), directories.end());
  return directories;
}

std::vector<std::string> nvidia_directories() {
  std::vector<std::string> directories = nvrtc_directories(settings(), own_library_path());
  directories.push_back("/usr/local/cuda/extras/CUPTI/lib64");
  std::vector<std::string> prefixes;
  if (!settings().virtual_env.empty()) prefixes.push_back(settings().virtual_env);
  for (const std::string& directory : settings().path)
    if (const fs::path path(directory); path.filename() == "bin")
      prefixes.push_back(path.parent_path());
  for (const std::string& prefix : prefixes)
    for (std::string& directory : wheel_directories(prefix))
      directories.push_back(std::move(directory));
  return directories;
}

Driver& driver_or_throw(int device) {
  try {
    Driver& found = driver();
    const std::vector<CudaDevice> devices = cuda_devices(found);
    if (device >= static_cast<int>(devices.size()))
      throw Error(
          ErrorCode::no_device,
          fmt::format("there is no CUDA device {}: the driver shows {}", device, devices.size()));
    return found;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::no_device) throw;
    throw Error(ErrorCode::no_device, fmt::format("no CUDA device: {}", error.what()));
  }
}

Json run_facts(const Gpu& gpu, Clocks& clocks, CompilerKind compiler) {
  const BuildInfo build = build_info();
  return {{"tool", fmt::format("kiln {}", version())},
          {"commit", build.commit},
          {"dirty", build.dirty},
          {"date", utc_now()},
          {"device", gpu.name()},
          {"driver", clocks.driver_version()},
          {"driver_cuda", version_text(gpu.driver().version())},
          {"nvrtc", nvrtc_version()},
          {"kernel_compiler", to_string(compiler)},
          {"tables", to_string(settings().tuned)}};
}

CudaMachine::CudaMachine(const TimingRequest& request)
    : request_(request),
      driver_(driver_or_throw(request.device)),
      backend_(cuda_backend(request.device, request.compiler)),
      gpu_(driver_, request.device),
      directories_(nvidia_directories()) {
  auto recorder = open_cupti(directories_, no_cupti_);
  clocks_ = open_nvml(gpu_.pci_bus_id(), driver_.path(), no_nvml_);
  const CudaTimerOptions options{.fill_bytes =
                                     static_cast<std::size_t>(request.flush_mb) * 1'000'000};
  flush_mb_ = filled_bytes(request.flush, options) / 1'000'000;
  timer_ = make_cuda_timer(backend_, gpu_, request.flush, std::move(recorder), no_cupti_, options);
}

Json CudaMachine::facts() {
  Json run = run_facts(gpu_, *clocks_, request_.compiler);
  run["timer"] = timer_->describe();
  run["flush"] = to_string(request_.flush);
  run["flush_mb"] = flush_mb_;
  run["runs"] = request_.runs;
  run["warm_up"] = request_.warm_up;
  run["clocks_before"] = json_of(clocks_->read());
  return run;
}

std::string CudaMachine::head(const Json& run) const {
  std::string text =
      fmt::format("{}, driver {}, NVRTC {}, kiln {}{}\n", gpu_.name(), clocks_->driver_version(),
                  run["nvrtc"].get<std::string>(), run["commit"].get<std::string>().substr(0, 12),
                  run["dirty"].get<bool>() ? " with changes" : "");
  text += fmt::format("timer {}; flush {}, {} MB; {} runs\n", timer_->describe(),
                      to_string(request_.flush), flush_mb_, request_.runs);
  if (!no_nvml_.empty()) text += "clocks are not known: " + no_nvml_ + "\n";
  return text;
}

std::string CudaMachine::finish(ResultFile& file) {
  std::string text;
  if (const std::string now = timer_->describe(); now != file.json()["run"]["timer"])
    text += "note: the timer became " + now + "\n";
  const ClockReading after = clocks_->read();
  file.set("clocks_after", json_of(after));
  file.set("timer", timer_->describe());
  file.set("finished", utc_now());
  return text + "after: " + to_string(after) + "\n";
}

CudaRunner::CudaRunner(int device, CompilerKind compiler, int sm_budget)
    : device_(device),
      options_{.device = {Device::Kind::cuda, device}, .sm_budget = sm_budget},
      backend_(cuda_backend(device, compiler)) {}

std::vector<GemmCandidate> CudaRunner::candidates(const GemmArgs& args) {
  std::vector<GemmCandidate> all = gemm_candidates(problem(args), backend_.arch());
  std::erase_if(all, [](const GemmCandidate& candidate) { return !candidate.refused.empty(); });
  return all;
}

GemmProblem CudaRunner::problem(const GemmArgs& args) { return check_gemm(args, options_); }

GemmConfig CudaRunner::chosen(const GemmArgs& args) {
  return choose_gemm(problem(args), backend_.arch()).plan.config;
}

void CudaRunner::run(const GemmArgs& args, const GemmConfig* config) {
  if (config) {
    gemm_with_config(args, *config, options_);
  } else {
    gemm(args, options_);
  }
}

void CudaRunner::prepare(const std::vector<GemmConfig>& configs) {
  const i64 count = static_cast<i64>(configs.size());
  cli::Progress progress("compiling " + cli::counted(count, "kernel"));
  std::atomic<i64> done = 0;
  parallel_for(count, 0, [&](i64 i) {
    const GemmConfig& config = configs[static_cast<std::size_t>(i)];
    try {
      // A config that is refused says so in its row.
      if (!refusal(config)) jit(backend_, source_of(config), kernel_shape(config));
    } catch (const Error& error) {
      if (error.code() == ErrorCode::no_compiler) throw;
    }
    progress.update(++done, count);
  });
}

CudaRunner::Compiled CudaRunner::compile(const GemmConfig& config, CompilerKind kind) {
  Backend& backend = cuda_backend(device_, kind);
  const auto start = std::chrono::steady_clock::now();
  const std::vector<std::byte> image = backend.compile(source_of(config));
  const double ms = ms_since(start);
  return {config, kind, backend.load(image, kernel_shape(config)), ms, image.size()};
}

void CudaRunner::prepare_each_compiler(const std::vector<GemmConfig>& configs) {
  // Each compiler is found and opened before anything is timed.
  for (const CompilerKind kind : {CompilerKind::nvrtc, CompilerKind::nvcc})
    cuda_backend(device_, kind).toolchain();
  cuda_backend(device_, CompilerKind::nvrtc).compile(marker_source());
  const i64 count = static_cast<i64>(configs.size());
  cli::Progress progress(fmt::format("compiling {} by NVRTC and by nvcc, one after another",
                                     cli::counted(count, "kernel")));
  i64 done = 0;
  for (const GemmConfig& config : configs) {
    if (!refusal(config))
      for (const CompilerKind kind : {CompilerKind::nvrtc, CompilerKind::nvcc})
        compiled_.push_back(compile(config, kind));
    progress.update(++done, count);
  }
}

std::vector<CompiledProduct> CudaRunner::by_each_compiler(const GemmArgs& args,
                                                          const GemmConfig& config) {
  const RecordedLaunch launch = record_launch(driver(), sizeof(GemmParams),
                                              [&] { gemm_with_config(args, config, options_); });
  std::vector<CompiledProduct> products;
  for (const CompilerKind kind : {CompilerKind::nvrtc, CompilerKind::nvcc}) {
    const Compiled* made = nullptr;
    for (const Compiled& c : compiled_)
      if (c.kind == kind && c.config == config) made = &c;
    if (!made)
      throw Error(ErrorCode::internal,
                  fmt::format("bench: config {} was not compiled ahead", to_string(config)));
    Backend& backend = cuda_backend(device_, kind);
    const LoadedKernel* kernel = made->kernel;
    const int ctas = static_cast<int>(launch.config.gridDimX);
    products.push_back(
        {to_string(kind), made->ms, made->bytes, [&backend, kernel, ctas, params = launch.params] {
           backend.launch(kernel, ctas, params.data(), params.size(), {});
         }});
  }
  return products;
}

}  // namespace kiln::bench
