#include "ops/permute/case_run.hpp"

#include <fmt/format.h>

#include <cstring>
#include <random>

#include "arith/host_matrix.hpp"
#include "ops/guarded_call.hpp"
#include "ops/permute/api.hpp"
#include "ops/unpermute/api.hpp"

namespace kiln {
namespace {

void fill_bytes(const TensorView& t, std::mt19937& random) {
  for (i64 i = 0; i < t.shape[0]; ++i)
    for (i64 j = 0; j < t.shape[1]; ++j)
      for (i64 byte = 0; byte < size_of(t.dtype); ++byte)
        element_address(t, i, j)[byte] = static_cast<u8>(random());
}

void write_id(const TensorView& ids, i64 token, i64 j, i64 id) {
  const auto narrow = static_cast<std::int32_t>(id);
  if (ids.dtype == DType::int64) {
    std::memcpy(element_address(ids, token, j), &id, sizeof id);
  } else {
    std::memcpy(element_address(ids, token, j), &narrow, sizeof narrow);
  }
}

void fill_ids(const TensorView& ids, const PermuteCase& t, std::mt19937& random) {
  const auto one_in = [&](int many) {
    return many > 0 && random() % static_cast<unsigned>(many) == 0;
  };
  const auto groups = static_cast<unsigned>(t.groups);
  const i64 wrong[] = {-2, t.groups, t.wide_ids ? i64{1} << 40 : 1 << 30,
                       t.wide_ids ? -(i64{1} << 40) : -(1 << 30)};
  for (i64 token = 0; token < t.tokens; ++token)
    for (i64 j = 0; j < t.slots; ++j) {
      i64 id = random() % groups;
      if (t.skewed && random() % 8) id = random() % std::min(groups, 2u);
      if (one_in(t.dropped)) id = -1;
      if (one_in(t.wrong)) id = wrong[random() % 4];
      write_id(ids, token, j, id);
    }
}

GemmLayout random_layout(std::mt19937& random, bool any_order) {
  return {.column_major = any_order && random() % 2 != 0,
          .padding = static_cast<int>(random() % 3 ? 0 : random() % 40),
          .offset = static_cast<int>(random() % 4 ? 0 : random() % 16)};
}

}  // namespace

std::string to_string(const PermuteCase& t) {
  return fmt::format("{} {} x {} slots, {} groups, alignment {}, {} x {} {}, {} scales, seed {}",
                     t.name, t.tokens, t.slots, t.groups, t.alignment, t.columns,
                     to_string(t.values), t.wide_ids ? "int64" : "int32", t.scale_columns, t.seed);
}

std::vector<PermuteCase> PermuteCase::every() {
  return {
      {.name = "one", .columns = 16},
      {.name = "no token", .tokens = 0, .slots = 8, .groups = 3, .spare_rows = 5, .columns = 32},
      {.name = "no slot", .tokens = 7, .slots = 0, .groups = 3, .columns = 32},
      {.name = "map alone", .tokens = 300, .slots = 8, .groups = 64, .dropped = 5},
      {.name = "all dropped", .tokens = 40, .slots = 2, .groups = 9, .dropped = 1, .columns = 16},
      {.name = "fp8",
       .tokens = 130,
       .slots = 8,
       .groups = 16,
       .dropped = 7,
       .columns = 384,
       .scale_columns = 3,
       .weights = true,
       .from_scales = {.column_major = true},
       .to_scales = {.column_major = true, .padding = 3}},
      {.name = "parts",
       .tokens = 9,
       .slots = 40,
       .groups = 50,
       .dropped = 9,
       .values = DType::fp32,
       .columns = 4140,
       .scale_columns = 8},
      {.name = "aligned",
       .tokens = 100,
       .slots = 6,
       .groups = 12,
       .alignment = 128,
       .wide_ids = true,
       .skewed = true,
       .values = DType::bf16,
       .columns = 72,
       .weights = true},
      {.name = "wrong ids",
       .tokens = 500,
       .slots = 3,
       .groups = 7,
       .alignment = 5,
       .spare_rows = 11,
       .wide_ids = true,
       .wrong = 50,
       .columns = 5,
       .scale_columns = 2},
      {.name = "shares",
       .tokens = 1100,
       .slots = 8,
       .groups = 1024,
       .dropped = 3,
       .skewed = true,
       .ids = {.column_major = true, .padding = 1}},
  };
}

PermuteCase PermuteCase::drawn(unsigned seed, i64 most_tokens, i64 most_columns) {
  std::mt19937 random(seed * 747796405u + 3);
  const auto next = [&](i64 count) { return static_cast<i64>(random() % static_cast<u64>(count)); };
  constexpr i64 kAlignments[] = {1, 1, 1, 8, 128, 100};
  constexpr DType kTypes[] = {DType::e4m3, DType::bf16, DType::fp32, DType::int64};
  return {
      .name = "random",
      .tokens = next(most_tokens + 1),
      .slots = 1 + next(10),
      .groups = 1 + (next(4) ? next(64) : next(1024)),
      .alignment = kAlignments[next(6)],
      .spare_rows = next(3) ? 0 : next(300),
      .wide_ids = next(2) != 0,
      .dropped = static_cast<int>(next(3) ? 0 : 1 + next(10)),
      .wrong = static_cast<int>(next(4) ? 0 : 20 + next(1000)),
      .skewed = next(3) == 0,
      .values = kTypes[next(4)],
      .columns = next(4) ? (next(2) ? 16 * (1 + next(most_columns / 16)) : next(most_columns)) : 0,
      .scale_columns = next(2) ? next(9) : 0,
      .weights = next(2) != 0,
      .ids = random_layout(random, true),
      .from = random_layout(random, false),
      .to = random_layout(random, false),
      .from_scales = random_layout(random, true),
      .to_scales = random_layout(random, true),
      .seed = seed};
}

std::optional<std::string> PermuteCase::run(const Device& device, Options options) const {
  const PermuteCase& t = *this;
  enum {
    kIds,
    kFrom,
    kFromScales,
    kFromWeights,
    kEnds,
    kSources,
    kRows,
    kTo,
    kToScales,
    kToWeights,
    kReport
  };
  const i64 capacity = most_permuted_rows(t.tokens, t.slots, t.groups, t.alignment) + t.spare_rows;
  GuardedCall call;
  call.add("ids", t.wide_ids ? DType::int64 : DType::int32, t.tokens, t.slots, t.ids);
  call.add("values.from", t.values, t.tokens, t.columns, t.from);
  call.add("scales.from", DType::fp32, t.tokens, t.scale_columns, t.from_scales);
  call.add("weights.from", DType::fp32, t.tokens, t.slots, {.column_major = t.seed % 2 == 0});
  call.add("ends", DType::int32, t.groups, 1);
  call.add("sources", DType::int32, capacity, 1);
  call.add("rows", DType::int32, t.tokens, t.slots, {.padding = static_cast<int>(t.seed % 3)});
  call.add("values.to", t.values, capacity, t.columns, t.to);
  call.add("scales.to", DType::fp32, capacity, t.scale_columns, t.to_scales);
  call.add("weights.to", DType::fp32, capacity, 1);
  call.add("report", DType::int32, 4, 1);

  GuardedCall::Views views = call.views();
  std::mt19937 random(t.seed * 2654435761u + 17);
  fill_ids(views[kIds], t, random);
  for (const int i : {kFrom, kFromScales, kFromWeights}) fill_bytes(views[i], random);
  std::memset(views[kReport].data, 0, 16);

  const auto args = [&](const GuardedCall::Views& v) {
    PermuteArgs args{.ids = v[kIds],
                     .groups = t.groups,
                     .alignment = t.alignment,
                     .ends = v[kEnds],
                     .sources = v[kSources],
                     .rows = v[kRows],
                     .values = {},
                     .scales = {},
                     .weights = {}};
    if (t.columns > 0) args.values = {v[kFrom], v[kTo]};
    if (t.scale_columns > 0) args.scales = {v[kFromScales], v[kToScales]};
    if (t.weights) args.weights = {v[kFromWeights], v[kToWeights]};
    return args;
  };
  const auto report = [](const GuardedCall::Views& v) {
    return static_cast<std::int32_t*>(v[kReport].data);
  };
  options.device = device;
  return call.difference(
      device, [&](const auto& v) { permute_model(args(v), report(v)); },
      [&](const auto& v) {
        options.index_report = report(v);
        permute(args(v), options);
      });
}

// ---- the way back -------------------------------------------------------------------------------

std::string to_string(const UnpermuteCase& t) {
  return fmt::format("{} {} x {} slots, {} rows of {} {} to {}{}, seed {}", t.name, t.tokens,
                     t.slots, t.rows, t.columns, to_string(t.x), to_string(t.out),
                     t.weights ? ", weighted" : "", t.seed);
}

std::vector<UnpermuteCase> UnpermuteCase::every() {
  return {
      {.name = "one"},
      {.name = "no slot", .tokens = 3, .slots = 0, .rows = 0, .columns = 20},
      {.name = "eight", .tokens = 50, .slots = 8, .rows = 400, .columns = 512, .weights = true},
      {.name = "odd",
       .tokens = 21,
       .slots = 5,
       .rows = 60,
       .columns = 83,
       .weights = true,
       .x_layout = {.padding = 1, .offset = 1},
       .out_layout = {.padding = 2, .offset = 3},
       .weights_layout = {.column_major = true}},
      {.name = "fp32",
       .tokens = 30,
       .slots = 3,
       .rows = 90,
       .columns = 100,
       .x = DType::fp32,
       .out = DType::fp32},
  };
}

UnpermuteCase UnpermuteCase::drawn(unsigned seed, i64 most_tokens, i64 most_columns) {
  std::mt19937 random(seed * 747796405u + 5);
  const auto next = [&](i64 count) { return static_cast<i64>(random() % static_cast<u64>(count)); };
  UnpermuteCase t{.name = "random",
                  .tokens = 1 + next(most_tokens),
                  .slots = next(12),
                  .rows = next(4 * most_tokens),
                  .columns = 1 + next(most_columns),
                  .x = next(4) ? DType::bf16 : DType::fp32,
                  .out = next(4) ? DType::bf16 : DType::fp32,
                  .weights = next(2) != 0,
                  .wild = next(2) != 0,
                  .x_layout = random_layout(random, false),
                  .out_layout = random_layout(random, false),
                  .weights_layout = random_layout(random, true),
                  .seed = seed};
  if (next(2)) t.columns = (t.columns + 7) / 8 * 8;
  return t;
}

std::optional<std::string> UnpermuteCase::run(const Device& device, Options options) const {
  const UnpermuteCase& t = *this;
  GuardedCall call;
  call.add("x", t.x, t.rows, t.columns, t.x_layout);
  call.add("rows", DType::int32, t.tokens, t.slots, {.padding = static_cast<int>(t.seed % 2)});
  call.add("weights", DType::fp32, t.tokens, t.slots, t.weights_layout);
  call.add("out", t.out, t.tokens, t.columns, t.out_layout);
  const GuardedCall::Views views = call.views();
  std::mt19937 random(t.seed * 2654435761u + 17);
  fill_values(views[0], t.wild, random);
  fill_values(views[2], t.wild, random);
  for (i64 token = 0; token < t.tokens; ++token)
    for (i64 j = 0; j < t.slots; ++j) {
      // What is no row counts as dropped.
      i64 row = t.rows > 0 ? random() % static_cast<unsigned>(t.rows) : -1;
      if (random() % 5 == 0) row = -1;
      if (random() % 20 == 0) row = random() % 2 ? t.rows : -7;
      write_id(views[1], token, j, row);
    }
  const auto args = [&](const GuardedCall::Views& v) {
    UnpermuteArgs args{.x = v[0], .rows = v[1], .out = v[3], .weights = {}};
    if (t.weights) args.weights = v[2];
    return args;
  };
  options.device = device;
  return call.difference(
      device, [&](const auto& v) { unpermute_model(args(v), 1); },
      [&](const auto& v) { unpermute(args(v), options); });
}

}  // namespace kiln
