// kiln explain grouped: which tiles groups of given sizes get. Needs no GPU.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <numeric>
#include <vector>

#include "cli/commands.hpp"
#include "cli/json.hpp"
#include "cli/text.hpp"
#include "cli/words.hpp"
#include "kiln/error.hpp"
#include "ops/grouped_gemm/api.hpp"
#include "ops/view_check.hpp"

namespace kiln::cli {
namespace {

struct ExplainGroupedRequest {
  i64 n = 0, k = 0;
  std::vector<int> sizes;  // of every group; else `groups` of `rows`
  int groups = 8, rows = 128, expected = 0, alignment = 128;
  GroupKind kind = GroupKind::offsets;
  GemmTypes types;
  NamedArch arch;
  bool all = false, json = false;
};

GroupedProblem problem_of(const ExplainGroupedRequest& r) {
  const GemmProblem gemm = problem_of({.m = 1, .n = r.n, .k = r.k}, r.types);
  GroupedProblem p{.kind = r.kind,
                   .groups = std::ssize(r.sizes),
                   .alignment = r.kind == GroupKind::row_ids ? r.alignment : 1,
                   .expected_rows = r.expected,
                   .n = r.n,
                   .k = r.k,
                   .b_scales = gemm.b_scales,
                   .c = gemm.c,
                   .d = gemm.d,
                   .load = gemm.load,
                   .store = gemm.store,
                   .scales = gemm.scales,
                   .sm_budget = gemm.sm_budget};
  for (const int size : r.sizes)
    p.rows = r.kind == GroupKind::masked ? std::max<i64>(p.rows, size) : p.rows + size;
  return p;
}

const char* name_of(TileBody body) {
  constexpr const char* kWords[] = {"256", "192", "128", "swapped 16", "swapped 32", "swapped 64"};
  return kWords[static_cast<int>(body)];
}

/// What a group of so many rows becomes.
std::string cut_text(const GroupCut& cut, const GroupedPlan& plan) {
  std::string text;
  const auto add = [&](int count, TileBody body) {
    if (count == 0 || body == TileBody::none) return;
    text += text.empty() ? "" : " + ";
    text += count > 1 ? fmt::format("{} x {}", count, name_of(body)) : name_of(body);
  };
  add(cut.full, largest_body(plan.tiling.largest));
  add(1, cut.last);
  add(1, cut.tail);
  return text.empty() ? "nothing" : text;
}

/// The sizes of a distribution, each with how many groups have it.
std::map<int, int> tally(const std::vector<int>& sizes) {
  std::map<int, int> counts;
  for (const int size : sizes) ++counts[size];
  return counts;
}

/// Runs of rows of a group that are cut by themselves: all of it, or a segment of row ids.
i64 tiles_of_group(int size, const ExplainGroupedRequest& r, const GroupedPlan& plan) {
  const int run = r.kind == GroupKind::row_ids ? r.alignment : std::max(size, 1);
  i64 tiles = 0;
  for (int left = size; left > 0; left -= run)
    tiles += tiles_of(cut_of(std::min(left, run), plan.tiling.largest), plan.tiling);
  return tiles * cluster_size(plan.config);
}

void print_grouped(const ExplainGroupedRequest& r, const GroupedProblem& p,
                   const std::vector<GroupedCandidate>& candidates) {
  constexpr std::size_t kShown = 8;
  using Align = Table::Align;
  const GroupedPlan& plan = candidates.front().plan;
  std::fputs(
      fields(
          {{"problem", fmt::format("{} groups, {} rows, N={} K={}, D {}, C {}, scales {}", p.groups,
                                   std::accumulate(r.sizes.begin(), r.sizes.end(), i64{0}), p.n,
                                   p.k, word_of(p.d), word_of(p.c), recipe_text(p.b_scales))},
           {"planned for",
            fmt::format("{}, groups of about {} rows", r.arch.description, expected_rows(p))},
           {"chosen", to_string(plan.config)},
           {"tiles", fmt::format("{} columns of D wide, swapped ones {}; {} CTAs",
                                 plan.tiling.width, plan.tiling.swapped_width, plan.ctas)}})
          .c_str(),
      stdout);
  std::fputs("\n", stdout);
  Table sizes({{"rows"}, {"groups"}, {"rows of tiles", Align::left}, {"tiles"}});
  i64 tiles = 0;
  for (const auto& [size, count] : tally(r.sizes)) {
    const i64 each = tiles_of_group(size, r, plan);
    const int run = r.kind == GroupKind::row_ids ? std::min(size, r.alignment) : size;
    const std::string cut = cut_text(cut_of(run, plan.tiling.largest), plan);
    tiles += each * count;
    sizes.add({fmt::format("{}", size), fmt::format("{}", count),
               run < size ? cut + ", a segment" : cut, fmt::format("{}", each * count)});
  }
  std::fputs(sizes.text().c_str(), stdout);
  std::fputs(
      fmt::format("{} tiles, {:.2f} a CTA\n\n", tiles, static_cast<double>(tiles) / plan.ctas)
          .c_str(),
      stdout);
  Table table({{"kernel", Align::left}, {"us"}, {"slower"}, {"stages"}, {"smem KiB"}});
  const double best = candidates.front().microseconds;
  std::size_t shown = 0;
  for (const GroupedCandidate& c : candidates) {
    if (!c.refused.empty() || (!r.all && shown++ == kShown)) break;
    table.add({short_name(c.plan.config), fmt::format("{:.2f}", c.microseconds),
               fmt::format("{:.1f} %", 100 * (c.microseconds / best - 1)),
               fmt::format("{}", c.plan.config.stages),
               fmt::format("{}", smem_bytes(c.plan.config) / 1024)});
  }
  std::fputs(table.text().c_str(), stdout);
}

void print_grouped_json(const ExplainGroupedRequest& r, const GroupedProblem& p,
                        const std::vector<GroupedCandidate>& candidates) {
  Json list = Json::array();
  for (const GroupedCandidate& c : candidates) {
    Json json = {{"name", short_name(c.plan.config)}, {"config", to_string(c.plan.config)}};
    if (c.refused.empty()) {
      json["predicted_us"] = c.microseconds;
      json["ctas"] = c.plan.ctas;
      json["swapped_width"] = c.plan.tiling.swapped_width;
    } else {
      json["refused"] = c.refused;
    }
    list.push_back(std::move(json));
    if (!r.all) break;
  }
  Json sizes = Json::array();
  const GroupedPlan& plan = candidates.front().plan;
  for (const auto& [size, count] : tally(r.sizes))
    sizes.push_back({{"rows", size},
                     {"groups", count},
                     {"cut", cut_text(cut_of(size, plan.tiling.largest), plan)},
                     {"tiles", tiles_of_group(size, r, plan) * count}});
  print_json({{"groups", p.groups},
              {"n", p.n},
              {"k", p.k},
              {"expected_rows", expected_rows(p)},
              {"arch", r.arch.name},
              {"sizes", std::move(sizes)},
              {"candidates", std::move(list)}});
}

void explain_grouped(ExplainGroupedRequest request) {
  if (request.sizes.empty())
    request.sizes.assign(static_cast<std::size_t>(request.groups), request.rows);
  const GroupedProblem problem = problem_of(request);
  const auto candidates = grouped_candidates(problem, request.arch.arch);
  if (candidates.empty() || !candidates.front().refused.empty())
    throw Error(ErrorCode::unsupported, "no kernel of the table can run this problem");
  if (request.json) {
    print_grouped_json(request, problem, candidates);
  } else {
    print_grouped(request, problem, candidates);
  }
}

}  // namespace

void add_explain_grouped_command(CLI::App& explain) {
  CLI::App& grouped = *explain.add_subcommand(
      "grouped", "D_g = A_g times B_g transposed for groups of rows: which tiles each size gets");
  grouped.footer(
      R"(rows of tiles  how a group is cut: tiles of 256, 192 or 128 rows, and a tail of 16, 32 or 64
               rows with operands swapped, none of which reach beyond the group

Examples:
  kiln explain grouped 4096 7168 --groups 32 --rows 20
  kiln explain grouped 7168 2048 --sizes 0,3,700,129,64 --all
  kiln explain grouped 4096 7168 --sizes 20,10,30 --kind masked --json)");
  const auto request = std::make_shared<ExplainGroupedRequest>();
  const auto add_size = [&](const char* name, i64& size) {
    grouped.add_option(name, size, std::string(name))
        ->required()
        ->check(CLI::Range(i64{0}, kLargestSize))
        ->type_name("SIZE");
  };
  add_size("N", request->n);
  add_size("K", request->k);
  grouped.add_option("--sizes", request->sizes, "rows of each group")
      ->type_name("ROWS,...")
      ->delimiter(',')
      ->check(CLI::Range(0, 1 << 24));
  add_count(grouped, "--groups", request->groups, 1, "without --sizes: so many groups (default 8)");
  add_count(grouped, "--rows", request->rows, 0, "of so many rows (default 128)");
  add_count(grouped, "--expected-rows", request->expected, 0,
            "the caller's hint (default: the average, or the most with masked)");
  add_count(grouped, "--alignment", request->alignment, 1, "of row ids (default 128)");
  add_choice<GroupKind>(grouped, "--kind", request->kind,
                        {{"offsets", GroupKind::offsets},
                         {"aligned_offsets", GroupKind::aligned_offsets},
                         {"row_ids", GroupKind::row_ids},
                         {"masked", GroupKind::masked}},
                        "how the groups are given (default offsets)");
  add_type_options(grouped, request->types);
  add_arch_option(grouped, request->arch, ArchWish::any);
  grouped.add_flag("--all", request->all, "every candidate");
  grouped.add_flag("--json", request->json, "one JSON object instead of tables");
  grouped.callback([request] { explain_grouped(*request); });
}

}  // namespace kiln::cli
