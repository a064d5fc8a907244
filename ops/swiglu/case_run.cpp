#include "ops/swiglu/case_run.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <random>

#include "arith/host_matrix.hpp"
#include "ops/guarded_call.hpp"
#include "ops/swiglu/api.hpp"

namespace kiln {

std::string to_string(const SwigluCase& t) {
  return fmt::format("{} {} x {} x {} to {}{}{}, rows [{}], seed {}", t.name, t.batch, t.rows,
                     t.columns, t.quantised ? "e4m3" : "bf16", t.clamp ? " clamped" : "",
                     t.weights ? " weighted" : "", fmt::join(t.valid_rows, ","), t.seed);
}

std::vector<SwigluCase> SwigluCase::every() {
  return {
      {.name = "one"},
      {.name = "one bf16", .quantised = false, .weights = true},
      {.name = "whole tiles",
       .rows = 64,
       .columns = 256,
       .clamp = 10.0F,
       .rounding = ScaleRounding::power_of_two},
      {.name = "edges",
       .rows = 133,
       .columns = 200,
       .weights = true,
       .scales = {.column_major = true, .padding = 3}},
      {.name = "odd",
       .rows = 37,
       .columns = 131,
       .clamp = 0.5F,
       .weights = true,
       .x = {.padding = 3, .offset = 1},
       .out = {.padding = 1, .offset = 3},
       .weights_layout = {.column_major = true}},
      {.name = "bf16", .rows = 70, .columns = 136, .quantised = false, .clamp = 7.0F},
      {.name = "masked",
       .rows = 70,
       .columns = 130,
       .batch = 5,
       .weights = true,
       .valid_rows = {0, 70, 1, 65, 3},
       .batch_padding = 2},
      {.name = "wrong rows",
       .rows = 66,
       .columns = 128,
       .batch = 4,
       .quantised = false,
       .valid_rows = {3, -5, 70, 66}},
  };
}

SwigluCase SwigluCase::drawn(unsigned seed, i64 most_rows, i64 most_columns) {
  std::mt19937 random(seed * 747796405u + 9);
  const auto next = [&](i64 count) { return static_cast<i64>(random() % static_cast<u64>(count)); };
  const auto layout = [&] {
    return GemmLayout{.padding = static_cast<int>(next(3) ? 0 : next(40)),
                      .offset = static_cast<int>(next(4) ? 0 : next(16))};
  };
  SwigluCase t{.name = "random",
               .rows = 1 + next(most_rows),
               .columns = 1 + next(most_columns),
               .batch = next(3) ? 1 : 1 + next(5),
               .quantised = next(3) != 0,
               .clamp = {},
               .weights = next(2) != 0,
               .valid_rows = {},
               .rounding = next(2) ? ScaleRounding::nearest : ScaleRounding::power_of_two,
               .wild = next(3) != 0,
               .batch_padding = next(3),
               .x = layout(),
               .out = layout(),
               .scales = layout(),
               .weights_layout = layout(),
               .seed = seed};
  t.scales.column_major = next(2) != 0;
  if (next(2)) t.columns = (t.columns + 15) / 16 * 16;
  if (next(3) == 0) t.clamp = 0.25F * static_cast<float>(1 + next(40));
  if (next(2))
    for (i64 i = 0; i < t.batch; ++i)
      t.valid_rows.push_back(static_cast<int>(next(10) ? next(t.rows + 1) : next(3) - 1000));
  return t;
}

std::optional<std::string> SwigluCase::run(const Device& device, Options options) const {
  const SwigluCase& t = *this;
  enum { kX, kValues, kScales, kWeights, kRows, kReport };
  const BatchLayout batch{t.batch, t.batch_padding};
  GuardedCall call;
  call.add("x", DType::bf16, t.rows, 2 * t.columns, t.x, batch);
  call.add("out.values", t.quantised ? DType::e4m3 : DType::bf16, t.rows, t.columns, t.out, batch);
  call.add("out.scales", DType::fp32, t.rows, (t.columns + 127) / 128, t.scales, batch);
  call.add("weights", DType::fp32, t.rows, 1, t.weights_layout, batch);
  call.add("rows", DType::int32, t.batch, 1);
  call.add("report", DType::int32, 4, 1);

  const GuardedCall::Views views = call.views();
  std::mt19937 random(t.seed * 2654435761u + 17);
  // Gates of a size at which the exponential matters, in one row of four.
  fill_values(views[kX], t.wild, random);
  std::normal_distribution<float> normal;
  for (i64 b = 0; b < t.batch; ++b)
    for (i64 i = 0; i < t.rows; i += 1 + random() % 4)
      for (i64 j = 0; j < 2 * t.columns; ++j)
        write_element(views[kX].matrix(b), i, j, (i % 2 ? 3.0F : 40.0F) * normal(random));
  fill_values(views[kWeights], t.wild, random);
  if (!t.valid_rows.empty())
    std::memcpy(views[kRows].data, t.valid_rows.data(), t.valid_rows.size() * sizeof(int));
  std::memset(views[kReport].data, 0, 16);

  const auto args = [&](const GuardedCall::Views& v) {
    SwigluArgs args{.x = v[kX],
                    .out = {v[kValues], t.quantised ? v[kScales] : TensorView{}},
                    .clamp = t.clamp,
                    .weights = {},
                    .rows = {},
                    .rounding = t.rounding};
    if (t.weights) args.weights = v[kWeights];
    if (!t.valid_rows.empty()) args.rows = v[kRows];
    return args;
  };
  const auto report = [](const GuardedCall::Views& v) {
    return static_cast<std::int32_t*>(v[kReport].data);
  };
  options.device = device;
  return call.difference(
      device, [&](const auto& v) { swiglu_model(args(v), report(v), 1); },
      [&](const auto& v) {
        options.index_report = report(v);
        swiglu(args(v), options);
      });
}

}  // namespace kiln
