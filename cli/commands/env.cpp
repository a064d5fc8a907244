// kiln env: what this machine has for Kiln, and what the rest costs.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "cli/bench/results.hpp"
#include "cli/commands.hpp"
#include "cli/json.hpp"
#include "cli/text.hpp"
#include "kiln/error.hpp"
#include "ops/gemm/choose.hpp"
#include "runtime/driver.hpp"
#include "runtime/environment.hpp"

namespace kiln::cli {
namespace {

std::string component_text(const Component& component) {
  return component.present ? component.version + "  " + component.path
                           : "missing: " + component.missing;
}

std::string device_text(const CudaDevice& device) {
  return fmt::format("{}, compute capability {}.{}, {} SMs, {}", device.name,
                     device.capability_major, device.capability_minor, device.sm_count,
                     bytes_text(static_cast<double>(device.memory_bytes)));
}

std::string cache_text(const EnvironmentInfo& info) {
  if (info.cache.directory.empty()) return "none on disk: kernels are compiled in every process";
  return fmt::format("{}  {}, {}", info.cache.directory,
                     counted(static_cast<i64>(info.cache_stats.entries), "kernel"),
                     bytes_text(static_cast<double>(info.cache_stats.bytes)));
}

/// The tables of measured choices.
TunedTables tables_of() {
  try {
    return read_tuned_tables(settings());
  } catch (const Error&) {
    return {};  // which setting is bad is among the warnings
  }
}

std::string tables_text(const TunedTables& tables) {
  return fmt::format("gemm: {} of the package, {} of the user{}",
                     counted(static_cast<i64>(tables.package.entries().size()), "measured choice"),
                     tables.user.entries().size(),
                     tables.user.name().empty() ? "" : "  " + tables.user.name());
}

void print_table(const EnvironmentInfo& info, const TunedTables& tables) {
  std::vector<std::pair<std::string, std::string>> lines;
  const bench::BuildInfo build = bench::build_info();
  lines.emplace_back(
      "kiln", fmt::format("{}  commit {}{}, sources {}", info.version, build.commit.substr(0, 12),
                          build.dirty ? " with changes" : "", info.build.substr(0, 12)));
  lines.emplace_back("driver", component_text(info.driver));
  for (const CudaDevice& device : info.devices)
    lines.emplace_back(fmt::format("GPU {}", device.ordinal), device_text(device));
  if (!info.no_device.empty()) lines.emplace_back("GPU", "missing: " + info.no_device);
  lines.emplace_back("NVRTC", component_text(info.nvrtc));
  lines.emplace_back("nvcc", component_text(info.nvcc));
  lines.emplace_back("C++", component_text(info.host_compiler));
  lines.emplace_back("compiler",
                     std::string(to_string(info.compiler)) + " makes the GPU's kernels");
  lines.emplace_back("cache", cache_text(info));
  lines.emplace_back("tables", tables_text(tables));
  for (const std::string& problem : tables.problems()) lines.emplace_back("warning", problem);
  for (const std::string& warning : info.cache.warnings) lines.emplace_back("warning", warning);
  for (const std::string& warning : info.warnings) lines.emplace_back("warning", warning);
  std::fputs(fields(lines).c_str(), stdout);
}

Json component_json(const Component& component) {
  if (!component.present) return {{"present", false}, {"missing", component.missing}};
  return {{"present", true}, {"version", component.version}, {"path", component.path}};
}

Json as_json(const EnvironmentInfo& info, const TunedTables& tables) {
  Json devices = Json::array();
  for (const CudaDevice& device : info.devices)
    devices.push_back({{"ordinal", device.ordinal},
                       {"name", device.name},
                       {"compute_capability",
                        fmt::format("{}.{}", device.capability_major, device.capability_minor)},
                       {"sm_count", device.sm_count},
                       {"memory_bytes", device.memory_bytes}});
  Json warnings = info.cache.warnings;
  for (const std::string& warning : info.warnings) warnings.push_back(warning);
  for (const std::string& problem : tables.problems()) warnings.push_back(problem);
  const bench::BuildInfo build = bench::build_info();
  Json json = {{"version", info.version},
               {"commit", build.commit},
               {"dirty", build.dirty},
               {"sources", info.build},
               {"driver", component_json(info.driver)},
               {"devices", devices},
               {"gpu_usable", info.no_device.empty()},
               {"compiler", to_string(info.compiler)},
               {"nvrtc", component_json(info.nvrtc)},
               {"nvcc", component_json(info.nvcc)},
               {"host_compiler", component_json(info.host_compiler)},
               {"cache",
                {{"directory", info.cache.directory},
                 {"entries", info.cache_stats.entries},
                 {"bytes", info.cache_stats.bytes}}},
               {"tables",
                {{"gemm",
                  {{"package", tables.package.entries().size()},
                   {"user", tables.user.entries().size()},
                   {"file", tables.user.name()}}}}},
               {"warnings", warnings}};
  if (!info.no_device.empty()) json["no_gpu"] = info.no_device;
  return json;
}

}  // namespace

void add_env_command(CLI::App& program) {
  CLI::App& app = *program.add_subcommand(
      "env", "Show what this machine has: GPU, driver, compilers, cache; and what is missing");
  app.footer("Exits with 0 even where things are missing: the CPU model needs none of them.");
  const auto json = std::make_shared<bool>(false);
  app.add_flag("--json", *json, "one JSON object instead of a table");
  app.callback([json] {
    const EnvironmentInfo info = environment_info();
    const TunedTables tables = tables_of();
    if (*json) {
      print_json(as_json(info, tables));
    } else {
      print_table(info, tables);
    }
  });
}

}  // namespace kiln::cli
