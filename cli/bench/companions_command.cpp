#include <fmt/format.h>

#include "cli/bench/companions_flow.hpp"
#include "cli/bench/console.hpp"
#include "cli/bench/cuda_rig.hpp"
#include "cli/bench/html_report.hpp"
#include "cli/device_copy.hpp"

namespace kiln::bench {
namespace {

/// What the driver's own copy of 1 GiB reaches: the copy of every row is no worse.
double driver_copy_gbs(Backend& backend, const Gpu& gpu) {
  constexpr std::size_t kBytes = std::size_t{1} << 30;
  constexpr int kCopies = 10;
  const cli::DeviceCopy from(backend, nullptr, kBytes), to(backend, nullptr, kBytes);
  const auto copy = [&] {
    for (int i = 0; i < kCopies; ++i) gpu.copy(to.data(), from.data(), kBytes);
  };
  const EventPair events(gpu);
  copy();
  events.record_start();
  copy();
  events.record_end();
  backend.synchronize();
  return 2.0 * kCopies * static_cast<double>(kBytes) / events.microseconds() * 1e-3;
}

}  // namespace

void run_companions_command(const CompanionsRequest& request) {
  CudaMachine machine({.device = request.device,
                       .flush = request.flush,
                       .flush_mb = request.flush_mb,
                       .runs = request.runs,
                       .warm_up = request.warm_up,
                       .compiler = settings().compiler});
  Json run = machine.facts();
  const double copy = driver_copy_gbs(machine.backend(), machine.gpu());
  run["driver_copy_gbs"] = rounded(copy, 1);
  print(machine.head(run));
  print(fmt::format("the driver's copy of 1 GiB: {:.0f} GB/s, read and written\n", copy));
  print(machine.clocks_before());
  ResultFile file(request.json, std::move(run));
  HtmlPage page(request.html);
  const FlowResult result =
      run_companions_flow(request, {machine.backend(), machine.timer(), machine.clocks()},
                          {.device = {Device::Kind::cuda, request.device}}, file, print);
  print(machine.finish(file));
  page.write({{"kiln bench companions", file.json()}});
  check_outcome(result);
}

}  // namespace kiln::bench
