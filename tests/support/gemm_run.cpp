#include "tests/support/gemm_run.hpp"

#include <fmt/format.h>

#include <mutex>

#include "arith/parallel.hpp"
#include "runtime/emu/sanitizer.hpp"

namespace kiln::test {

std::vector<std::string> run_all(const std::vector<GemmCase>& cases, const Device& device) {
  std::vector<std::string> wrong;
  std::mutex mutex;
  parallel_for(static_cast<i64>(cases.size()), 0, [&](i64 i) {
    const GemmCase& test = cases[static_cast<std::size_t>(i)];
    std::optional<std::string> difference;
    try {
      GemmRun run(test);
      const auto under = [&](unsigned seed) {
        return Options{.emulation = {.seed = test.seed + seed,
                                     .policy = Emulation::Policy::mixed,
                                     .check = !emu::kUnderAsan,  // there it cannot
                                     .threads = 1}};
      };
      difference = run.run(device, under(0));
      if (device.kind == Device::Kind::emu) {
        if (!difference) difference = run.run_before_guard_pages(under(1000));
        if (!difference) difference = run.run(device, under(2000));
      }
    } catch (const std::exception& error) {
      difference = error.what();
    }
    if (!difference) return;
    const std::lock_guard lock(mutex);
    wrong.push_back(fmt::format("{} (seed {}, config '{}'): {}", test.name, test.seed, test.config,
                                *difference));
  });
  return wrong;
}

}  // namespace kiln::test
