// Host time: what a call of the library costs before the GPU does anything, and what the first call
// in a process costs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/bench/spec.hpp"
#include "cli/bench/stats.hpp"

namespace CLI {
class App;
}

namespace kiln::bench {

struct HostRequest {
  GemmSpec spec{.m = 1, .n = 576, .k = 7168};          // the call: a short kernel
  GemmSpec compiled{.m = 4096, .n = 4096, .k = 7168};  // what is compiled and loaded
  int batches = 200, launches = 100;  // a batch is never longer than the driver's queue
  int cold = 3, cached = 5;           // processes
  int device = 0;
  std::string json;
  bool child = false;  // this process is one of those
};

void add_host_options(CLI::App& app, HostRequest& request);

/// `kiln bench host`.
void run_host_command(const HostRequest& request);

/// Microseconds a call, batch by batch, of several calls that take turns. `wait` empties the queue
/// before each batch.
std::vector<Summary> time_calls(const std::vector<std::function<void()>>& calls,
                                const std::function<void()>& wait, int batches, int launches);

/// Starts this program again with arguments and one variable of the environment replaced; what it
/// prints on stdout. Throws Error{internal} with what it printed if it fails.
std::string run_self(const std::vector<std::string>& arguments, const std::string& variable,
                     const std::string& value);

}  // namespace kiln::bench
