#include "ops/quantize/case_run.hpp"

#include <fmt/format.h>

#include <random>

#include "ops/guarded_call.hpp"
#include "ops/quantize/api.hpp"

namespace kiln {

std::string to_string(const QuantizeCase& t) {
  return fmt::format("{} {} x {} x {} {} {}{}{}, seed {}", t.name, t.batch, t.rows, t.columns,
                     to_string(t.x), to_string(t.recipe), t.transposed ? " transposed" : "",
                     t.rounding == ScaleRounding::power_of_two ? " power of two" : "", t.seed);
}

std::vector<QuantizeCase> QuantizeCase::every() {
  std::vector<QuantizeCase> cases;
  unsigned seed = 0;
  for (const DType x : {DType::bf16, DType::fp32})
    for (const ScaleRecipe recipe : {ScaleRecipe::row_1x128, ScaleRecipe::block_128x128})
      for (const bool transposed : {false, true}) {
        QuantizeCase t{.x = x, .recipe = recipe, .transposed = transposed};
        const auto add = [&](const char* name, auto change) {
          QuantizeCase another = t;
          another.name = name;
          change(another);
          another.seed = ++seed;
          cases.push_back(another);
        };
        add("one value", [](QuantizeCase& c) { c.scales.column_major = true; });
        add("whole tiles", [](QuantizeCase& c) {
          c.rows = 128;
          c.columns = 256;
          c.rounding = ScaleRounding::power_of_two;
        });
        add("edges", [](QuantizeCase& c) {
          c.rows = 133;
          c.columns = 264;
          c.scales = {.column_major = true, .padding = 3};
          c.transposed_scales = {.column_major = true, .padding = 1};
        });
        add("odd", [](QuantizeCase& c) {
          c.rows = 37;
          c.columns = 131;
          c.x_layout = {.padding = 6, .offset = 1};
          c.out = {.padding = 1, .offset = 3};
          c.transposed_out = {.padding = 3, .offset = 1};
          c.scales.padding = 2;
          c.transposed_scales.padding = 5;
        });
        add("batch", [](QuantizeCase& c) {
          c.rows = 20;
          c.columns = 130;
          c.batch = 3;
          c.batch_padding = 2;
          c.wild = false;
        });
      }
  return cases;
}

QuantizeCase QuantizeCase::drawn(unsigned seed, i64 largest_rows, i64 largest_columns) {
  std::mt19937 random(seed * 747796405u + 77);
  const auto next = [&](i64 count) { return static_cast<i64>(random() % static_cast<u64>(count)); };
  const auto layout = [&] {
    return GemmLayout{.padding = static_cast<int>(next(3) ? 0 : next(40)),
                      .offset = static_cast<int>(next(4) ? 0 : next(16))};
  };
  const auto any_order = [&] {
    GemmLayout any = layout();
    any.column_major = next(2) != 0;
    return any;
  };
  QuantizeCase t{.name = "random",
                 .x = next(2) ? DType::bf16 : DType::fp32,
                 .rows = 1 + next(largest_rows),
                 .columns = 1 + next(largest_columns),
                 .batch = next(4) ? 1 : 1 + next(3),
                 .recipe = next(2) ? ScaleRecipe::row_1x128 : ScaleRecipe::block_128x128,
                 .transposed = next(2) != 0,
                 .rounding = next(2) ? ScaleRounding::nearest : ScaleRounding::power_of_two,
                 .wild = next(3) != 0,
                 .batch_padding = next(3),
                 .x_layout = layout(),
                 .out = layout(),
                 .scales = any_order(),
                 .transposed_out = layout(),
                 .transposed_scales = any_order(),
                 .seed = seed};
  if (next(2)) t.columns = (t.columns + 15) / 16 * 16;
  if (next(3) == 0) t.rows = (t.rows + 15) / 16 * 16;
  return t;
}

std::optional<std::string> QuantizeCase::run(const Device& device, Options options) const {
  const QuantizeCase& t = *this;
  const auto blocks = [](i64 size) { return (size + 127) / 128; };
  const bool by_row = t.recipe == ScaleRecipe::row_1x128;
  const BatchLayout batch{t.batch, t.batch_padding};
  GuardedCall call;
  call.add("x", t.x, t.rows, t.columns, t.x_layout, batch);
  call.add("out.values", DType::e4m3, t.rows, t.columns, t.out, batch);
  call.add("out.scales", DType::fp32, by_row ? t.rows : blocks(t.rows), blocks(t.columns), t.scales,
           batch);
  call.add("transposed.values", DType::e4m3, t.columns, t.rows, t.transposed_out, batch);
  call.add("transposed.scales", DType::fp32, by_row ? t.columns : blocks(t.columns), blocks(t.rows),
           t.transposed_scales, batch);
  std::mt19937 random(t.seed * 2654435761u + 17);
  fill_values(call.views()[0], t.wild, random);
  const auto args = [&](const GuardedCall::Views& v) {
    QuantizeArgs args{
        .x = v[0], .out = {v[1], v[2], t.recipe}, .transposed = {}, .rounding = t.rounding};
    if (t.transposed) args.transposed = {v[3], v[4], t.recipe};
    return args;
  };
  options.device = device;
  return call.difference(
      device, [&](const auto& views) { quantize_model(args(views), 1); },
      [&](const auto& views) { quantize(args(views), options); });
}

}  // namespace kiln
