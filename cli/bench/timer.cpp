#include "cli/bench/timer.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace kiln::bench {

const char* to_string(Flush flush) noexcept {
  switch (flush) {
    case Flush::dirty:
      return "dirty";
    case Flush::clean:
      return "clean";
    case Flush::none:
      return "none";
  }
  return "?";
}

std::vector<int> run_order(int subjects, int rounds) {
  std::vector<int> order;
  for (int round = 0; round < rounds; ++round)
    for (int i = 0; i < subjects; ++i) order.push_back(round % 2 == 0 ? i : subjects - 1 - i);
  return order;
}

std::optional<std::vector<double>> split_records(std::vector<KernelRecord> records,
                                                 std::span<const int> order, std::string& problem) {
  // One stream: kernels run in the order in which they were launched.
  std::stable_sort(records.begin(), records.end(),
                   [](const auto& x, const auto& y) { return x.start < y.start; });
  std::vector<double> times;
  int kernels = 0;          // of the current run
  std::uint64_t until = 0;  // what is counted already
  for (const KernelRecord& record : records) {
    if (record.start == 0 || record.end < record.start) {
      problem = fmt::format("a record of kernel '{}' has no times", record.name);
      return {};
    }
    if (record.name == "kernel" && record.block_x == kMarkerThreads) {
      const std::size_t run = times.size();
      if (run > 0 && kernels == 0) {
        problem = fmt::format("run {} of {} has no kernel", run - 1, order.size());
        return {};
      }
      if (run >= order.size() || record.grid_x != order[run] + 1) {
        problem = fmt::format("run {} of {} is another subject's", run, order.size());
        return {};
      }
      times.push_back(0);
      kernels = 0;
    } else if (record.name == "kernel" && record.block_x == kReadThreads) {
      continue;
    } else if (record.name.find("memset") == std::string::npos) {
      if (times.empty()) continue;  // left over from before the first run
      ++kernels;
      if (record.end <= until) continue;
      times.back() += static_cast<double>(record.end - std::max(record.start, until)) * 1e-3;
      until = record.end;
    }
  }
  if (times.size() != order.size() || kernels == 0) {
    problem = fmt::format("{} runs were recorded, {} were started", times.size(), order.size());
    return {};
  }
  return times;
}

}  // namespace kiln::bench
