// Litmus tests of grids that run together: CTAs that wait for each other, streams, devices.
#pragma once

#include "tests/emu/checker_support.hpp"

namespace kiln::emu {

inline const Kernel& compiled(const Source& source, const Grid& grid) {
  return compile(source.text(), {source.threads, grid.cluster, grid.smem_bytes});
}

/// A thread that spins keeps its priority for long: such kernels run under the other policies.
inline LaunchSettings without_priorities(LaunchSettings settings, const std::string& text) {
  const bool priorities = settings.policy == Emulation::Policy::priority_change ||
                          settings.policy == Emulation::Policy::mixed;
  if (priorities && text.find("while (") != std::string::npos)
    settings.policy = Emulation::Policy::uniform;
  return settings;
}

/// `ctas` CTAs of one grid at the same time. A flag of too narrow a scope is itself the race, or
/// the data behind it is: then `flags_race`, and any race will do.
inline void expect_together(const Litmus& litmus, bool flags_race = false, int ctas = 2) {
  LitmusMemory memory;
  const auto launch = [&](bool right) {
    return [&, right](const LaunchSettings& settings) {
      const LitmusParams params = fresh_params(memory);
      const GridLaunch grid = {.kernel = &compiled(litmus.source(right), litmus.grid),
                               .ctas = ctas,
                               .params = &params,
                               .bytes = sizeof params};
      launch_together({&grid, 1}, without_priorities(settings, litmus.body));
    };
  };
  expect_silence(launch(true));
  const std::string text = litmus.source(false).text();
  expect_races(launch(false), [&](const std::string& report) {
    if (flags_race)
      EXPECT_NE(report.find("emulator: race: CTA"), std::string::npos) << report;
    else
      expect_report(report, text, litmus.words);
  });
}

/// One CTA on each of two devices; on the second p.made is null.
inline void expect_devices(const Litmus& litmus) {
  LitmusMemory memory;
  const auto launch = [&](bool right) {
    return [&, right](const LaunchSettings& settings) {
      const LitmusParams first = fresh_params(memory);
      LitmusParams second = first;
      second.made = nullptr;
      const Kernel* kernel = &compiled(litmus.source(right), litmus.grid);
      const GridLaunch grids[] = {
          {.kernel = kernel, .ctas = 1, .params = &first, .bytes = sizeof first},
          {.kernel = kernel, .ctas = 1, .params = &second, .bytes = sizeof second, .device = 1}};
      launch_together(grids, settings);
    };
  };
  expect_silence(launch(true));
  const std::string text = litmus.source(false).text();
  expect_races(launch(false),
               [&](const std::string& report) { expect_report(report, text, litmus.words); });
}

}  // namespace kiln::emu
