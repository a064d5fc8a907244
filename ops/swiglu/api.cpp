// swiglu: check -> config -> kernel -> launch.
#include "ops/swiglu/api.hpp"

#include <algorithm>
#include <limits>

#include "ops/kernel_memo.hpp"
#include "ops/rows_params.hpp"

namespace kiln {
namespace {

bool nothing_to_do(const SwigluArgs& args) {
  return args.x.shape[0] == 0 || args.x.shape[1] == 0 || args.x.batch == 0;
}

SwigluParams params_of(const SwigluArgs& args, const Options& options) {
  SwigluParams p = {};
  p.columns = static_cast<int>(args.x.shape[1] / 2);
  p.up = i64{p.columns} * size_of(args.x.dtype);
  p.x = rows_params(args.x);
  // Both halves of a row.
  while (p.up % p.x.alignment != 0) p.x.alignment /= 2;
  p.out = rows_params(args.out.values);
  p.by_chunks = p.x.alignment >= 16 && p.out.alignment >= 16;
  if (args.out.values.dtype == DType::e4m3) p.scales = scale_output(args.out.scales);
  if (args.weights) {
    p.weights = static_cast<const float*>(args.weights->data);
    p.weights_stride = args.weights->stride[0];
    p.weights_batch_stride = args.weights->batch > 1 ? args.weights->batch_stride : 0;
  }
  if (args.rows) p.valid_rows = static_cast<const int*>(args.rows->data);
  p.report = options.index_report;
  p.batch = static_cast<int>(args.x.batch);
  p.rows = static_cast<int>(args.x.shape[0]);
  const int tiles_m = ceil_div(p.rows, kSwigluRows), tiles_h = ceil_div(p.columns, kScaleBlock);
  p.tiles = p.batch * tiles_m * tiles_h;
  p.tiles_h = Divisor(tiles_h);
  p.tiles_m = Divisor(tiles_m);
  p.limit = args.clamp.value_or(std::numeric_limits<float>::infinity());
  p.power_of_two = args.rounding == ScaleRounding::power_of_two;
  return p;
}

/// Where the rows that exist are known on the device alone most tiles may be empty: those a CTA
/// passes by costs less than a CTA each.
int ctas(const SwigluParams& p, const SwigluConfig& config, const Arch& arch,
         const Options& options) {
  const int all = ctas_for(p.tiles, options.sm_budget);
  return p.valid_rows == nullptr ? all : std::min(all, 4 * ctas_per_sm(config) * arch.sm_count);
}

}  // namespace

std::string source_of(const SwigluConfig& config) {
  return source_text(config, "ops/swiglu/kernel.cuh", "Swiglu", "SwigluConfig");
}
std::string to_string(const SwigluConfig& config) { return config_text(config); }

void swiglu(const SwigluArgs& args, const Options& options) {
  const SwigluConfig config = check_swiglu(args, options);
  if (nothing_to_do(args)) return;
  if (options.device.kind == Device::Kind::cpu) return swiglu_model(args, options.index_report);
  Backend& backend = backend_of(options.device);
  const SwigluParams params = params_of(args, options);
  backend.launch(kernel_of(backend, config), ctas(params, config, backend.arch(), options), &params,
                 sizeof params,
                 {.stream = options.stream, .pdl = options.pdl, .emulation = options.emulation});
}

void swiglu_prepare(const SwigluArgs& args, const Options& options) {
  const SwigluConfig config = check_swiglu(args, options);
  if (nothing_to_do(args) || options.device.kind == Device::Kind::cpu) return;
  kernel_of(backend_of(options.device), config);
}

std::int64_t swiglu_workspace_bytes(const SwigluArgs& args, const Options& options) {
  check_swiglu(args, options);
  return 0;
}

}  // namespace kiln
