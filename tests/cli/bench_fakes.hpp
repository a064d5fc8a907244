// What the flows of `kiln bench` are tested with instead of a GPU's timer and clocks.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cli/bench/nvml.hpp"
#include "cli/bench/timer.hpp"

namespace kiln::bench {

/// Plays given times.
class PlayedTimer final : public Timer {
 public:
  std::string describe() const override { return "played"; }
  Timing time(std::span<const Subject> subjects, const TimerOptions& options,
              const std::function<void()>& while_busy) override {
    Timing timing{.us = {}, .timer = problem.empty() ? "cupti" : "events", .problem = problem};
    ++calls;
    for (const Subject& subject : subjects) {
      started.push_back(subject.name);
      for (int i = 0; i < 2; ++i) subject.start();
      double us = 10;
      if (auto& next = times[subject.name]; !next.empty()) {
        us = next.front();
        if (next.size() > 1) next.pop_front();
      }
      timing.us.emplace_back(static_cast<std::size_t>(options.runs), us);
    }
    while_busy();
    if (after) after();
    return timing;
  }
  std::map<std::string, std::deque<double>> times;  // of each pass; the last one stays
  std::vector<std::string> started;
  std::function<void()> after;
  std::string problem;
  int calls = 0;
};

class FakeClocks final : public Clocks {
 public:
  ClockReading read() override { return {.known = true, .sm_mhz = 1700}; }
  std::string driver_version() override { return "1"; }
};

}  // namespace kiln::bench
