// kiln_fidelity: records what a machine answers to the probes, and compares a machine with a
// recording.
//
//   exit code   0 done, every bit equal   1 failed or different   2 the command line makes no sense
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <regex>
#include <sstream>

#include "cli/bench/results.hpp"
#include "kiln/error.hpp"
#include "runtime/cuda_backend.hpp"
#include "runtime/embedded_sources.hpp"
#include "tests/fidelity/golden.hpp"
#include "tests/fidelity/isolated.hpp"

namespace kiln::test {
namespace {

struct Request {
  std::string file, device = "cuda", filter = "*";
  int patience = 120;  // seconds
};

/// `*` stands for anything, also for slashes.
std::vector<Probe> matching(const std::string& filter) {
  std::string pattern;
  for (const char c : filter)
    pattern += c == '*' ? std::string(".*") : std::string(c == '.' ? "\\." : std::string(1, c));
  const std::regex name(pattern);
  std::vector<Probe> probes;
  for (const Probe& probe : all_probes())
    if (std::regex_match(probe.name, name)) probes.push_back(probe);
  if (probes.empty())
    throw Error(ErrorCode::invalid_argument,
                fmt::format("no probe is called \"{}\"; `kiln_fidelity list` shows all", filter));
  return probes;
}

Backend& backend_of(const std::string& device) {
  return device == "cuda" ? cuda_backend(0) : emu_backend();
}

std::vector<Outcome> run_all(const Request& request, const std::vector<Probe>& probes) {
  return run_isolated(
      probes, [&]() -> Backend& { return backend_of(request.device); },
      std::chrono::seconds(request.patience),
      [](const Probe& probe, const Outcome& outcome) {
        if (!outcome.error.empty()) fmt::print("{}: {}\n", probe.name, outcome.error);
        std::fflush(stdout);
      });
}

/// The driver's own version, which CUDA does not tell.
std::string kernel_module_version() {
  std::ifstream file("/proc/driver/nvidia/version");
  std::string line;
  std::getline(file, line);
  std::smatch match;
  return std::regex_search(line, match, std::regex(R"(\b\d{3}\.\d+(\.\d+)?)")) ? match[0].str()
                                                                               : "unknown";
}

/// Asked after the probes have run: their children must be the first to use CUDA.
void describe(Golden& golden, const std::string& device) {
  if (device == "cuda") {
    const CudaDevice gpu = cuda_devices(driver()).at(0);
    golden.device = fmt::format("{}, compute capability {}.{}, {} SMs", gpu.name,
                                gpu.capability_major, gpu.capability_minor, gpu.sm_count);
    golden.driver =
        fmt::format("{}, CUDA {}", kernel_module_version(), version_text(driver().version()));
  } else {
    golden.device = "the emulator";
    golden.driver = "none";
  }
  const Toolchain& toolchain = backend_of(device).toolchain();
  golden.compiler = toolchain.kind + " " + toolchain.version;
  golden.date = fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::time(nullptr)));
  const bench::BuildInfo build = bench::build_info();
  golden.commit = build.commit + (build.dirty ? " with changes" : "");
  golden.sources = embedded_sources_digest();
}

int record_all(const Request& request) {
  const std::vector<Probe> probes = matching(request.filter);
  const std::vector<Outcome> outcomes = run_all(request, probes);
  Golden golden;
  int failed = 0;
  for (std::size_t i = 0; i < probes.size(); ++i)
    if (outcomes[i].error.empty())
      golden.probes[probes[i].name] = record(probes[i], outcomes[i].answer);
    else
      ++failed;
  describe(golden, request.device);
  std::ofstream file(request.file, std::ios::trunc);
  file << to_text(golden);
  if (!file.flush()) throw Error(ErrorCode::io, "cannot write " + request.file);
  fmt::print("{} of {} probes recorded in {}\n", probes.size() - static_cast<std::size_t>(failed),
             probes.size(), request.file);
  return failed == 0 ? 0 : 1;
}

int compare_all(const Request& request) {
  std::ifstream file(request.file);
  if (!file) throw Error(ErrorCode::io, "cannot read " + request.file);
  std::stringstream text;
  text << file.rdbuf();
  const Golden golden = parse_golden(text.str());
  const std::vector<Probe> probes = matching(request.filter);
  const std::vector<Outcome> outcomes = run_all(request, probes);
  int equal = 0;
  for (std::size_t i = 0; i < probes.size(); ++i) {
    if (!outcomes[i].error.empty()) continue;  // it was said
    const auto recorded = golden.probes.find(probes[i].name);
    const std::string wrong =
        recorded == golden.probes.end()
            ? "not recorded"
            : difference(probes[i], recorded->second, outcomes[i].answer).value_or("");
    if (wrong.empty())
      ++equal;
    else
      fmt::print("{}: {}\n", probes[i].name, wrong);
  }
  fmt::print("{} of {} probes equal the recording of {} ({}, {})\n", equal, probes.size(),
             golden.device, golden.driver, golden.date);
  return equal == static_cast<int>(probes.size()) ? 0 : 1;
}

int list_all(const Request& request) {
  for (const Probe& probe : matching(request.filter))
    fmt::print("{:55} {:7} bytes  {}\n", probe.name, probe.output_bytes * probe.launches.size(),
               probe.asks);
  return 0;
}

int run(int argc, char** argv) {
  CLI::App app{"Asks a machine how it does things, to the bit: small kernels and their answers"};
  app.require_subcommand(1);
  Request request;
  const auto add = [&](const char* name, const char* help) {
    CLI::App* command = app.add_subcommand(name, help);
    command->add_option("--filter", request.filter, "names of probes; * stands for anything");
    return command;
  };
  CLI::App* commands[] = {add("record", "Run the probes and write a golden file"),
                          add("compare", "Run the probes and compare them with a golden file")};
  for (CLI::App* command : commands) {
    command->add_option("file", request.file, "the golden file")->required();
    command->add_option("--device", request.device, "cuda or emu")
        ->check(CLI::IsMember({"cuda", "emu"}));
    command->add_option("--patience", request.patience, "seconds to wait for a probe");
  }
  CLI::App* list = add("list", "Show every probe and what it asks");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    return list->parsed()          ? list_all(request)
           : commands[0]->parsed() ? record_all(request)
                                   : compare_all(request);
  } catch (const Error& error) {
    std::fprintf(stderr, "kiln_fidelity: error: %s\n", error.what());
    return 1;
  }
}

}  // namespace
}  // namespace kiln::test

int main(int argc, char** argv) { return kiln::test::run(argc, argv); }
