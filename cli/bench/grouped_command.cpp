#include "cli/bench/grouped_command.hpp"

#include <fmt/format.h>

#include "cli/bench/console.hpp"
#include "cli/bench/cuda_rig.hpp"
#include "cli/bench/html_report.hpp"

namespace kiln::bench {

void run_grouped_command(const GroupedRequest& request) {
  if (request.list_suites) return list_suites(grouped_suites());
  // What makes no sense is refused before a GPU is looked for.
  const GroupedRowPlan plan = plan_rows(request);
  std::optional<Json> peers;
  if (!request.against.empty()) {
    peers = read_results(request.against);
    for (const GroupedSpec& spec : plan.rows) (void)grouped_peer(*peers, plan.section, spec);
  }
  CudaMachine machine({.device = request.device,
                       .flush = plan.flush,
                       .flush_mb = request.flush_mb,
                       .runs = request.runs,
                       .warm_up = request.warm_up,
                       .compiler = settings().compiler});
  Json run = machine.facts();
  run["check"] = to_string(request.check);
  run["seed"] = request.seed;
  if (!request.against.empty()) run["against"] = request.against;
  print(machine.head(run));
  print(fmt::format("sizes drawn with seed {}\n", request.seed));
  print(machine.clocks_before());
  ResultFile file(request.json, std::move(run));
  HtmlPage page(request.html);
  const FlowResult result =
      run_grouped_flow(request, plan, peers ? &*peers : nullptr,
                       {machine.backend(), machine.timer(), machine.clocks()},
                       {.device = {Device::Kind::cuda, request.device}}, file, print);
  print(machine.finish(file));
  page.write({{"kiln bench grouped", file.json()}});
  check_outcome(result);
}

}  // namespace kiln::bench
