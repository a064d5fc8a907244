#include "cli/bench/gemm_command.hpp"

#include <fmt/format.h>
#include <stdlib.h>

#include "cli/bench/console.hpp"
#include "cli/bench/cuda_rig.hpp"
#include "cli/bench/html_report.hpp"
#include "kiln/error.hpp"
#include "runtime/cuda_backend.hpp"

namespace kiln::bench {
namespace {

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
  if (request.list_suites) return list_suites(suites());
  // What makes no sense is refused before a GPU is looked for.
  check_request(request);
  std::optional<PeerFile> peers;
  if (!request.against.empty()) peers = PeerFile::read(request.against);
  const PeerFile* file_of_peers = peers ? &*peers : nullptr;
  const RowPlan plan = plan_rows(request, file_of_peers);

  const CompilerKind compiler = choose_compiler(request.compiler);
  CudaMachine machine({.device = request.device,
                       .flush = plan.flush,
                       .flush_mb = request.flush_mb,
                       .runs = request.runs,
                       .warm_up = request.warm_up,
                       .compiler = compiler});
  CudaRunner runner(request.device, compiler);
  const auto baselines = open_baselines(request.baselines, runner.backend(), machine.directories());

  Json run = machine.facts();
  run["check"] = to_string(request.check);
  run["scale_layout"] = to_string(request.scale_layout);
  if (!baselines.empty()) run["cublaslt"] = baselines.front()->describe();
  if (!request.against.empty()) run["against"] = request.against;
  print(machine.head(run));
  if (!baselines.empty()) print("cuBLASLt " + baselines.front()->describe() + "\n");
  for (const std::string& note : plan.notes) print("note: " + note + "\n");
  if (const std::string note = card_note(request, machine.gpu().name()); !note.empty())
    print("note: " + note + "\n");
  print(machine.clocks_before());

  ResultFile file(request.json, std::move(run));
  HtmlPage page(request.html);
  const FlowResult result = run_gemm_flow(
      request, plan, file_of_peers,
      {runner.backend(), machine.timer(), machine.clocks(), baselines}, runner, file, print);
  print(machine.finish(file));
  page.write({{"kiln bench gemm", file.json()}});
  check_outcome(result);
}

}  // namespace kiln::bench
