#include "cli/bench/host_bench.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <thread>

#include "cli/bench/cuda_rig.hpp"
#include "cli/bench/launch_recorder.hpp"
#include "cli/bench/results.hpp"
#include "cli/words.hpp"
#include "kiln/error.hpp"
#include "ops/gemm/api.hpp"
#include "ops/gemm/check.hpp"
#include "ops/gemm/choose.hpp"
#include "ops/gemm/text.hpp"
#include "runtime/cuda_backend.hpp"
#include "runtime/jit.hpp"
#include "runtime/subprocess.hpp"

namespace kiln::bench {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

Json json_of(const Summary& summary) {
  return {{"median_us", summary.median}, {"min_us", summary.min}, {"mean_us", summary.mean}};
}

GemmConfig planned(const GemmSpec& s, const Arch& arch) {
  return choose_gemm({.m = s.m, .n = s.n, .k = s.k}, arch).plan.config;
}

/// One process: the kernel that it needs first, found on disk or compiled.
void run_child(const HostRequest& request) {
  driver_or_throw(request.device);
  const auto driver_start = Clock::now();
  Backend& backend = cuda_backend(request.device);
  const double driver_ms = ms_since(driver_start);
  const auto start = Clock::now();
  const GemmConfig config = planned(request.compiled, backend.arch());
  backend.toolchain();
  const double toolchain_ms = ms_since(start);
  jit(backend, source_of(config), kernel_shape(config));
  const double ms = ms_since(start);
  const CacheStatus status = process_cache().status();
  print(Json({{"ms", ms},
              {"toolchain_ms", toolchain_ms},
              {"context_ms", driver_ms},
              {"compiles", status.compiles},
              {"disk_hits", status.disk_hits},
              {"config", short_name(config)}})
            .dump());
}

struct FirstCall {
  Summary ms, toolchain_ms;
  std::string config;
};

/// `processes` processes; a directory for each where it shall be empty, else one for all.
FirstCall time_first_calls(const HostRequest& request, int processes, const std::string& directory,
                           bool empty) {
  std::vector<double> ms, toolchain_ms;
  FirstCall result;
  const GemmSpec& s = request.compiled;
  const auto run = [&](const std::string& cache) {
    const std::string output =
        run_self({"bench", "host", "--child", "--compiled", fmt::format("{}x{}x{}", s.m, s.n, s.k),
                  "--device", std::to_string(request.device)},
                 "KILN_CACHE_DIR", cache);
    const Json json = Json::parse(output, nullptr, false);
    if (!json.is_object() || !json.contains("ms"))
      throw Error(ErrorCode::internal, "bench: a child process printed: " + output);
    return json;
  };
  if (!empty) run(directory);  // fills it
  for (int i = 0; i < processes; ++i) {
    const Json json = run(empty ? fmt::format("{}-{}", directory, i) : directory);
    const bool compiled = json["compiles"].get<int>() > 0;
    if (compiled != empty)
      throw Error(ErrorCode::internal,
                  fmt::format("bench: a process with {} cache directory {}",
                              empty ? "an empty" : "a filled",
                              compiled ? "compiled the kernel" : "found the kernel"));
    ms.push_back(json["ms"].get<double>());
    toolchain_ms.push_back(json["toolchain_ms"].get<double>());
    result.config = json["config"].get<std::string>();
  }
  result.ms = summarise(ms);
  result.toolchain_ms = summarise(toolchain_ms);
  return result;
}

void check_launch(Driver& cuda, cu::CUresult result) { cuda.check(result, "cuLaunchKernelEx"); }

/// The call against the launch that it makes.
Json time_warm_call(const HostRequest& request, CudaRunner& runner) {
  Backend& backend = runner.backend();
  Driver& cuda = driver();
  // GemmBench only holds the memory here.
  struct NoTimer : Timer {
    std::string describe() const override { return ""; }
    Timing time(std::span<const Subject>, const TimerOptions&,
                const std::function<void()>&) override {
      return {};
    }
  } no_timer;
  const auto clocks = no_clocks();
  GemmBench bench({backend, no_timer, *clocks, {}}, {}, {&request.spec, 1});
  bench.load(request.spec);
  const GemmArgs args = bench.arguments(request.spec);
  const Options options{.device = {Device::Kind::cuda, request.device}};
  gemm(args, options);
  backend.synchronize();
  RecordedLaunch bare = record_launch(cuda, sizeof(GemmParams), [&] { gemm(args, options); });
  const std::function<void()> call = [&] { gemm(args, options); };
  const std::function<void()> launch = [&] { check_launch(cuda, bare.launch(cuda)); };
  const auto wait = [&] { backend.synchronize(); };
  const auto times = time_calls({call, launch}, wait, request.batches, request.launches);

  // The same call from a thread that has no context current: it sets and resets it itself.
  Summary elsewhere;
  std::exception_ptr error;
  std::thread([&] {
    try {
      elsewhere = time_calls({call}, wait, request.batches, request.launches).front();
    } catch (...) {
      error = std::current_exception();
    }
  }).join();
  if (error) std::rethrow_exception(error);

  const double above = times[0].median - times[1].median;
  print(fmt::format("{}, {} launches a batch, median of {} batches:\n", name_of(request.spec),
                    request.launches, request.batches));
  print(fmt::format("  kiln::gemm              {:.3f} us (min {:.3f})\n", times[0].median,
                    times[0].min));
  print(fmt::format("  bare cuLaunchKernelEx   {:.3f} us (min {:.3f})\n", times[1].median,
                    times[1].min));
  print(fmt::format("  above the bare launch   {:.3f} us (goal 1)\n", above));
  print(fmt::format("  kiln::gemm where no context is current  {:.3f} us\n", elsewhere.median));
  return {{"shape", name_of(request.spec)},
          {"gemm", json_of(times[0])},
          {"bare_launch", json_of(times[1])},
          {"above_us", above},
          {"gemm_without_context", json_of(elsewhere)}};
}

}  // namespace

void add_host_options(CLI::App& app, HostRequest& r) {
  const auto shape_option = [&app](const char* option, GemmSpec& spec, const char* help) {
    const auto set = [option, &spec](const std::string& word) {
      const GemmShape s = cli::parse_gemm_shape(option, word);
      if (s.m < 1 || s.n < 1 || s.k < 1) cli::refuse_word(option, "sizes of 1 or more", word);
      spec = {.m = s.m, .n = s.n, .k = s.k};
    };
    app.add_option_function<std::string>(option, set, help)->type_name("MxNxK");
  };
  shape_option("--shape", r.spec, "the call that is timed (default 1x576x7168)");
  shape_option("--compiled", r.compiled,
               "whose kernel is compiled and loaded (default 4096x4096x7168)");
  cli::add_count(app, "--batches", r.batches, 1, "batches (default 200)");
  cli::add_count(app, "--launches", r.launches, 1, "launches a batch (default 100)");
  cli::add_count(app, "--cold", r.cold, 0, "processes that compile (default 3)");
  cli::add_count(app, "--cached", r.cached, 0, "processes that load (default 5)");
  cli::add_count(app, "--device", r.device, 0, "CUDA device (default 0)");
  app.add_option("--json", r.json, "write the results here")->type_name("FILE");
  app.add_flag("--child", r.child, "what the processes above run")->group("");
}

std::vector<Summary> time_calls(const std::vector<std::function<void()>>& calls,
                                const std::function<void()>& wait, int batches, int launches) {
  std::vector<std::vector<double>> us(calls.size());
  for (int batch = -1; batch < batches; ++batch)  // the first one warms up
    for (std::size_t i = 0; i < calls.size(); ++i) {
      wait();
      const auto start = Clock::now();
      for (int j = 0; j < launches; ++j) calls[i]();
      const double each = 1e3 * ms_since(start) / launches;
      if (batch >= 0) us[i].push_back(each);
    }
  wait();
  std::vector<Summary> result;
  for (std::vector<double>& times : us) result.push_back(summarise(std::move(times)));
  return result;
}

void run_host_command(const HostRequest& request) {
  if (request.child) return run_child(request);
  Driver& cuda = driver_or_throw(request.device);
  CudaRunner runner(request.device, settings().compiler);
  const Gpu gpu(cuda, request.device);
  std::string no_nvml;
  const auto clocks = open_nvml(gpu.pci_bus_id(), cuda.path(), no_nvml);
  ResultFile file(request.json, run_facts(gpu, *clocks, settings().compiler));
  print(fmt::format("{}, driver {}\n", gpu.name(), clocks->driver_version()));
  file.add("host_call", time_warm_call(request, runner));

  const TemporaryDirectory scratch(settings().tmpdir);
  const auto first_kernel = [&](const char* cache, int processes, int goal_ms) {
    if (processes == 0) return;
    const bool empty = std::string(cache) == "empty";
    const FirstCall first =
        time_first_calls(request, processes, scratch.path() + "/" + cache, empty);
    print(fmt::format(
        "first kernel of a process, cache {}, {}: {:.2f} ms (min {:.2f}; {:.2f} of it "
        "to find the compiler; goal {})\n",
        cache, first.config, first.ms.median, first.ms.min, first.toolchain_ms.median, goal_ms));
    file.add("host_first_kernel", {{"cache", cache},
                                   {"shape", name_of(request.compiled)},
                                   {"config", first.config},
                                   {"median_ms", first.ms.median},
                                   {"min_ms", first.ms.min},
                                   {"toolchain_ms", first.toolchain_ms.median}});
  };
  first_kernel("empty", request.cold, 350);
  first_kernel("filled", request.cached, 2);
}

}  // namespace kiln::bench
