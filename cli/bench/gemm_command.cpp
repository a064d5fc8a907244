#include "cli/bench/gemm_command.hpp"

#include <fmt/format.h>
#include <stdlib.h>

#include <cstdio>

#include "cli/bench/cuda_rig.hpp"
#include "kiln/error.hpp"
#include "runtime/cuda_backend.hpp"

namespace kiln::bench {
namespace {

void print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

void list_suites() {
  for (const Suite& suite : suites()) {
    print(fmt::format("{}: {} rows, {}; section {}\n", suite.name, suite.rows.size(), suite.about,
                      suite.section));
    for (const GemmSpec& spec : suite.rows) print("  " + name_of(spec) + "\n");
  }
}

/// The library goes by KILN_COMPILER, which it reads once, at its first use.
CompilerKind choose_compiler(const std::string& asked) {
  if (asked == "nvrtc" || asked == "nvcc") {
    const char* now = ::secure_getenv("KILN_COMPILER");
    // "nvcc:/path" stays as it is.
    if (!now || !std::string(now).starts_with(asked)) ::setenv("KILN_COMPILER", asked.c_str(), 1);
    if (to_string(settings().compiler) != asked)
      throw Error(ErrorCode::internal, "bench: KILN_COMPILER was read before --compiler");
  }
  return settings().compiler;
}

}  // namespace

void run_gemm_command(const GemmRequest& request) {
  if (request.list_suites) return list_suites();
  // What makes no sense is refused before a GPU is looked for.
  check_request(request);
  std::optional<PeerFile> peers;
  if (!request.against.empty()) peers = PeerFile::read(request.against);
  const PeerFile* file_of_peers = peers ? &*peers : nullptr;
  const RowPlan plan = plan_rows(request, file_of_peers);

  const CompilerKind compiler = choose_compiler(request.compiler);
  Driver& cuda = driver_or_throw(request.device);
  CudaRunner runner(request.device, compiler);
  const Gpu gpu(cuda, request.device);
  const std::vector<std::string> directories = nvidia_directories();
  std::string no_cupti, no_nvml;
  auto recorder = open_cupti(directories, no_cupti);
  const auto clocks = open_nvml(gpu.pci_bus_id(), cuda.path(), no_nvml);
  const CudaTimerOptions timer_options{.fill_bytes =
                                           static_cast<std::size_t>(request.flush_mb) * 1'000'000};
  const std::size_t flush_mb = filled_bytes(plan.flush, timer_options) / 1'000'000;
  const auto timer = make_cuda_timer(runner.backend(), gpu, plan.flush, std::move(recorder),
                                     no_cupti, timer_options);
  const auto baselines = open_baselines(request.baselines, runner.backend(), directories);

  Json run = run_facts(gpu, *clocks, compiler);
  run["timer"] = timer->describe();
  run["flush"] = to_string(plan.flush);
  run["flush_mb"] = flush_mb;
  run["runs"] = request.runs;
  run["warm_up"] = request.warm_up;
  run["check"] = to_string(request.check);
  run["scale_layout"] = to_string(request.scale_layout);
  if (!baselines.empty()) run["cublaslt"] = baselines.front()->describe();
  if (!request.against.empty()) run["against"] = request.against;
  run["clocks_before"] = json_of(clocks->read());
  print(fmt::format("{}, driver {}, NVRTC {}, kiln {}{}\n", gpu.name(), clocks->driver_version(),
                    run["nvrtc"].get<std::string>(), run["commit"].get<std::string>().substr(0, 12),
                    run["dirty"].get<bool>() ? " with changes" : ""));
  print(fmt::format("timer {}; flush {}, {} MB; {} runs\n", timer->describe(),
                    to_string(plan.flush), flush_mb, request.runs));
  if (!baselines.empty()) print("cuBLASLt " + baselines.front()->describe() + "\n");
  if (!no_nvml.empty()) print("clocks are not known: " + no_nvml + "\n");
  for (const std::string& note : plan.notes) print("note: " + note + "\n");
  if (const std::string note = card_note(request, gpu.name()); !note.empty())
    print("note: " + note + "\n");
  print("before: " + to_string(clocks->read()) + "\n");

  ResultFile file(request.json, std::move(run));
  const FlowResult result =
      run_gemm_flow(request, plan, file_of_peers, {runner.backend(), *timer, *clocks, baselines},
                    runner, file, print);
  if (const std::string now = timer->describe(); now != file.json()["run"]["timer"])
    print("note: the timer became " + now + "\n");
  const ClockReading after = clocks->read();
  print("after: " + to_string(after) + "\n");
  file.set("clocks_after", json_of(after));
  file.set("timer", timer->describe());
  file.set("finished", utc_now());
  if (result.wrong + result.failed > 0)
    throw Error(ErrorCode::internal,
                fmt::format("bench: of {} rows {} gave wrong bits and {} failed",
                            result.rows + result.failed, result.wrong, result.failed));
}

}  // namespace kiln::bench
