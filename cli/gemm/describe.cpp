#include "cli/gemm/describe.hpp"

#include <fmt/format.h>

#include "cli/text.hpp"
#include "cli/words.hpp"
#include "ops/gemm/choose.hpp"
#include "ops/gemm/text.hpp"

namespace kiln::cli {
namespace {

double flops_of(const GemmOperands& operands) {
  return 2.0 * static_cast<double>(operands.m) * static_cast<double>(operands.n) *
         static_cast<double>(operands.k);
}

/// "all 548000 elements", "27648 elements (a sample: 25 rows)", "3 of 548000 elements".
std::string elements_text(i64 right, i64 looked_at, i64 rows, i64 columns,
                          const GemmOperands& operands) {
  const bool everything = rows == operands.m && columns == operands.n;
  std::string text = right != looked_at ? fmt::format("{} of {} elements", right, looked_at)
                     : everything       ? fmt::format("all {} elements", right)
                                        : fmt::format("{} elements", right);
  if (everything) return text;
  return text + (columns == operands.n ? fmt::format(" (a sample: {})", counted(rows, "row"))
                                       : fmt::format(" (a sample: {}, {})", counted(rows, "row"),
                                                     counted(columns, "column")));
}

void describe_kernel(GemmReport& report, const GemmRun& run) {
  Json& kernel = report.json()["kernel"];
  if (!run.plan) {
    kernel = nullptr;
    return;
  }
  const GemmPlan& plan = *run.plan;
  const i64 clusters = static_cast<i64>(plan.clusters_m) * plan.clusters_n;
  report.line(
      "kernel",
      fmt::format("{}; {} of {} CTA{}, {}{}", short_name(plan.config), counted(clusters, "tile"),
                  cluster_size(plan.config), cluster_size(plan.config) == 1 ? "" : "s",
                  counted(plan.ctas, "CTA"),
                  run.compiled ? fmt::format("; compiled in {}", time_text(run.prepare_seconds))
                               : "; found in the cache"));
  kernel = {{"config", to_string(plan.config)},
            {"name", short_name(plan.config)},
            {"ctas", plan.ctas},
            {"compiled", run.compiled},
            {"prepare_seconds", run.prepare_seconds}};
}

/// What the same product would take on the GPU that planning knows best.
void describe_h200(GemmReport& report, const GemmRequest& request, const GemmOperands& operands) {
  GemmTypes types{.b_scales = request.b_scales, .d = request.d, .padded_rows = true};
  const GemmShape shape{operands.m, padded_n(operands.n, dtype_of(request.d)), operands.k};
  const GemmProblem problem = problem_of(shape, types);
  const auto candidates = gemm_candidates(problem, h200());
  if (candidates.empty() || !candidates.front().refused.empty()) return;
  const GemmChoice choice = choose_gemm(problem, h200());
  const GemmConfig& config = choice.plan.config;
  const double us = choice.entry ? choice.entry->us : candidates.front().microseconds;
  const char* how = choice.entry ? "measured" : "predicted";
  report.line("on an H200",
              fmt::format("{} ({}), {}; kernel {}", time_text(us * 1e-6),
                          rate_text(flops_of(operands), us * 1e-6), how, short_name(config)));
  report.json()["h200"] = {{"config", to_string(config)}, {std::string(how) + "_us", us}};
}

}  // namespace

void describe_request(GemmReport& report, const GemmRequest& request, const GemmOperands& operands,
                      const ChosenDevice& chosen) {
  report.line("product", fmt::format("M={} N={} K={}, {}; D {}, scales {}", operands.m, operands.n,
                                     operands.k, flops_text(flops_of(operands)), word_of(request.d),
                                     recipe_text(request.b_scales)));
  report.line("device", fmt::format("{}, {}", device_text(chosen.device), chosen.reason));
  if (!chosen.no_gpu.empty()) report.line("no GPU", chosen.no_gpu);
  Json& json = report.json();
  json["a"] = request.a_path;
  json["b"] = request.b_path;
  json["m"] = operands.m;
  json["n"] = operands.n;
  json["k"] = operands.k;
  json["scales"] = recipe_text(request.b_scales);
  json["out"] = word_of(request.d);
  json["device"] = device_text(chosen.device);
  json["reason"] = chosen.reason;
  if (!chosen.no_gpu.empty()) json["no_gpu"] = chosen.no_gpu;
}

void describe_run(GemmReport& report, const GemmRequest& request, const GemmOperands& operands,
                  const ChosenDevice& chosen, const GemmRun& run) {
  describe_kernel(report, run);
  report.warnings(run.warnings);
  const double flops = flops_of(operands);
  const bool on_gpu = chosen.device.kind == Device::Kind::cuda;
  if (run.runs > 0) {
    std::string text =
        fmt::format("{} ({})", time_text(run.seconds), rate_text(flops, run.seconds));
    if (on_gpu) {
      text += fmt::format(", mean of {} launches back to back; predicted {}", run.runs,
                          time_text(run.predicted_us * 1e-6));
    } else {
      text += run.plan ? " in the emulator" : " on this machine's CPU";
    }
    report.line("time", text);
  }
  Json& json = report.json();
  json["seconds"] = run.seconds;
  json["runs"] = run.runs;
  json["tflops"] = run.seconds > 0 ? flops / run.seconds * 1e-12 : 0;
  if (on_gpu) {
    json["predicted_us"] = run.predicted_us;
  } else {
    describe_h200(report, request, operands);
  }
}

void describe_verdict(GemmReport& report, const GemmOperands& operands,
                      const GemmVerdict& verdict) {
  Json& json = report.json()["check"];
  if (!verdict.checked) {
    report.line("check", "none, as asked");
    json = nullptr;
    return;
  }
  const BitComparison& bits = verdict.bits;
  report.line("bits",
              fmt::format("{} equal {}",
                          elements_text(bits.elements - bits.different, bits.elements, bits.rows,
                                        bits.columns, operands),
                          bits.by_definition ? "the definition (plain loops)" : "the bit model"));
  const GemmAgreement& oracle = verdict.oracle;
  report.line("oracle",
              fmt::format("{} within the fp64 bound; error/bound at most {:.3g}, mean {:.3g}",
                          elements_text(oracle.elements - oracle.outside, oracle.elements,
                                        verdict.rows, operands.n, operands),
                          oracle.worst, oracle.ratio()));
  const ErrorNorms& exact = verdict.exact;
  std::string text =
      fmt::format("relative error {:.3g} (Frobenius), largest {:.3g} where values reach {:.3g}",
                  exact.relative(), exact.largest_error, exact.largest_value);
  if (verdict.rows != operands.m)
    text += fmt::format(" (a sample: {})", counted(verdict.rows, "row"));
  if (exact.special > 0) text += fmt::format("; {} NaN or infinite left out", exact.special);
  report.line("to A*B^T", text);
  json = {{"passed", verdict.passed()},
          {"seconds", verdict.seconds},
          {"bits",
           {{"against", bits.by_definition ? "definition" : "model"},
            {"elements", bits.elements},
            {"different", bits.different}}},
          {"oracle",
           {{"elements", oracle.elements},
            {"outside", oracle.outside},
            {"worst", oracle.worst},
            {"mean", oracle.ratio()}}},
          {"unquantised",
           {{"elements", exact.elements},
            {"special", exact.special},
            {"relative_error", exact.relative()},
            {"largest_error", exact.largest_error},
            {"largest_value", exact.largest_value}}}};
}

std::string failure_text(const GemmVerdict& verdict) {
  const BitComparison& bits = verdict.bits;
  if (bits.different > 0)
    return fmt::format(
        "gemm: D is wrong and was not written: {} of {} elements differ from {}, the "
        "first is [{}, {}]",
        bits.different, bits.elements, bits.by_definition ? "the definition" : "the bit model",
        bits.first_row, bits.first_column);
  const GemmAgreement& oracle = verdict.oracle;
  return fmt::format(
      "gemm: D is wrong and was not written: {} of {} elements are outside the "
      "oracle's bound",
      oracle.outside, oracle.elements);
}

}  // namespace kiln::cli
