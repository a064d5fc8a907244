// unpermute: check -> config -> kernel -> launch.
#include "ops/unpermute/api.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "arith/host_matrix.hpp"
#include "arith/parallel.hpp"
#include "ops/kernel_memo.hpp"
#include "ops/rows_params.hpp"
#include "ops/view_check.hpp"

namespace kiln {
namespace {

bool nothing_to_do(const UnpermuteArgs& args) {
  return args.out.shape[0] == 0 || args.out.shape[1] == 0;
}

Element element_of(DType type) { return type == DType::fp32 ? Element::fp32 : Element::bf16; }

UnpermuteParams params_of(const UnpermuteArgs& args) {
  UnpermuteParams p = {};
  p.x = rows_params(args.x);
  p.out = rows_params(args.out);
  p.rows = static_cast<const int*>(args.rows.data);
  p.rows_stride = args.rows.stride[0];
  if (args.weights) {
    p.weights = static_cast<const float*>(args.weights->data);
    p.weights_row_stride = args.weights->stride[0];
    p.weights_slot_stride = args.weights->stride[1];
  }
  p.slots = static_cast<int>(args.rows.shape[1]);
  p.permuted_rows = static_cast<int>(args.x.shape[0]);
  p.columns = static_cast<int>(args.out.shape[1]);
  p.pieces = FlatRows(args.out.shape[0], ceil_div(p.columns, kUnpermuteColumns));
  return p;
}

}  // namespace

UnpermuteConfig check_unpermute(const UnpermuteArgs& args, const Options& options) {
  const ViewCheck check("unpermute");
  check.options(options);
  const auto& [x, rows, out, weights] = args;
  check.output_dtype("x", x);
  check.output_dtype("out", out);
  check.dtype("rows", rows, DType::int32);
  const i64 tokens = out.shape[0], columns = out.shape[1], slots = rows.shape[1];
  check.size("out", "T", tokens);
  check.size("out", "H", columns);
  check.size("x", "R", x.shape[0]);
  check.size("rows", "J", slots);
  if (x.shape[1] != columns)
    check.refuse(
        fmt::format("x has shape {}, wanted [R, H] with H = {} as in out", shape_text(x), columns));
  if (rows.shape[0] != tokens)
    check.refuse(fmt::format("rows has shape {}, wanted [T, J] with T = {} as in out",
                             shape_text(rows), tokens));
  check.batch("x", x, 1);
  check.batch("rows", rows, 1);
  check.batch("out", out, 1);
  check.matrix("x", x);
  check.matrix("rows", rows);
  check.matrix("out", out);
  check.disjoint("out", out, "x", x);
  check.disjoint("out", out, "rows", rows);
  if (weights) {
    check.dtype("weights", *weights, DType::fp32);
    if (weights->shape != rows.shape || weights->batch != 1)
      check.refuse(fmt::format("weights has shape {}, wanted [T, J] = {}", shape_text(*weights),
                               shape_text(rows)));
    check.memory("weights", *weights);
    check.disjoint("out", out, "weights", *weights);
  }
  return {.x = element_of(x.dtype), .out = element_of(out.dtype)};
}

std::string source_of(const UnpermuteConfig& config) {
  return source_text(config, "ops/unpermute/kernel.cuh", "Unpermute", "UnpermuteConfig");
}
std::string to_string(const UnpermuteConfig& config) { return config_text(config); }

void unpermute_model(const UnpermuteArgs& args, int threads) {
  parallel_for(args.out.shape[0], threads, [&](i64 t) {
    for (i64 h = 0; h < args.out.shape[1]; ++h) {
      float sum = 0;
      for (i64 j = 0; j < args.rows.shape[1]; ++j) {
        std::int32_t row;
        std::memcpy(&row, element_address(args.rows, t, j), sizeof row);
        if (row < 0 || row >= args.x.shape[0]) continue;
        const float weight = args.weights ? read_element(*args.weights, t, j) : 1;
        sum = std::fma(weight, read_element(args.x, row, h), sum);
      }
      write_element(args.out, t, h, sum);
    }
  });
}

void unpermute(const UnpermuteArgs& args, const Options& options) {
  const UnpermuteConfig config = check_unpermute(args, options);
  if (nothing_to_do(args)) return;
  if (options.device.kind == Device::Kind::cpu) return unpermute_model(args);
  Backend& backend = backend_of(options.device);
  const UnpermuteParams params = params_of(args);
  const i64 tasks = (params.pieces.pieces + kUnpermuteThreads - 1) / kUnpermuteThreads;
  backend.launch(kernel_of(backend, config), ctas_for(tasks, options.sm_budget), &params,
                 sizeof params,
                 {.stream = options.stream, .pdl = options.pdl, .emulation = options.emulation});
}

void unpermute_prepare(const UnpermuteArgs& args, const Options& options) {
  const UnpermuteConfig config = check_unpermute(args, options);
  if (nothing_to_do(args) || options.device.kind == Device::Kind::cpu) return;
  kernel_of(backend_of(options.device), config);
}

std::int64_t unpermute_workspace_bytes(const UnpermuteArgs& args, const Options& options) {
  check_unpermute(args, options);
  return 0;
}

}  // namespace kiln
