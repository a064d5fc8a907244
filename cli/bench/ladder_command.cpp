#include "cli/bench/console.hpp"
#include "cli/bench/cuda_rig.hpp"
#include "cli/bench/html_report.hpp"
#include "cli/bench/ladder_flow.hpp"

namespace kiln::bench {

void run_ladder_command(const LadderRequest& request) {
  CudaMachine machine({.device = request.device,
                       .flush = request.flush,
                       .flush_mb = request.flush_mb,
                       .runs = request.runs,
                       .warm_up = request.warm_up,
                       .compiler = settings().compiler});
  Json run = machine.facts();
  run["check"] = to_string(request.check);
  print(machine.head(run));
  print(machine.clocks_before());
  ResultFile file(request.json, std::move(run));
  HtmlPage page(request.html);
  const Options options{.device = {Device::Kind::cuda, request.device}};
  const FlowResult result = run_ladder_flow(
      request, {machine.backend(), machine.timer(), machine.clocks(), {}},
      [&](const GemmArgs& args) { gemm(args, options); }, file, print);
  print(machine.finish(file));
  page.write({{"kiln bench ladder", file.json()}});
  check_outcome(result);
}

}  // namespace kiln::bench
