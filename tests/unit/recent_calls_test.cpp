// A call is launched again without checks, so it must equal an earlier one in everything that the
// kernel is told.
#include "ops/recent_calls.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ops/gemm/call.hpp"
#include "ops/grouped_gemm/call.hpp"

namespace kiln {
namespace {

void* at(std::uintptr_t address) {
  return reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr): never followed
}

template <class Args>
struct Call {
  Args args;
  Options options;
};
template <class Args>
using Changes = std::vector<std::pair<std::string, std::function<void(Call<Args>&)>>>;

/// A change of every field of a view.
template <class Args, class View>
void add_changes(Changes<Args>& changes, const std::string& name, View view) {
  const auto add = [&](const char* field, auto change) {
    changes.emplace_back(name + "." + field, [=](Call<Args>& call) { change(*view(call.args)); });
  };
  add("data", [](TensorView& t) { t.data = static_cast<char*>(t.data) + 256; });
  add("dtype", [](TensorView& t) { t.dtype = DType::int64; });
  add("shape[0]", [](TensorView& t) { t.shape[0] += 128; });
  add("shape[1]", [](TensorView& t) { t.shape[1] += 128; });
  add("stride[0]", [](TensorView& t) { t.stride[0] += 16; });
  add("stride[1]", [](TensorView& t) { t.stride[1] += 16; });
  add("batch", [](TensorView& t) { ++t.batch; });
  add("batch_stride", [](TensorView& t) { ++t.batch_stride; });
}

/// Of every field that both operations have.
template <class Args>
Changes<Args> common_changes() {
  Changes<Args> changes;
  add_changes(changes, "a", [](Args& args) { return &args.a.values; });
  add_changes(changes, "a.scales", [](Args& args) { return &args.a.scales; });
  add_changes(changes, "b", [](Args& args) { return &args.b.values; });
  add_changes(changes, "b.scales", [](Args& args) { return &args.b.scales; });
  add_changes(changes, "c", [](Args& args) { return &*args.c; });
  add_changes(changes, "d", [](Args& args) { return &args.d; });
  const auto add = [&](const char* field, std::function<void(Call<Args>&)> change) {
    changes.emplace_back(field, std::move(change));
  };
  add("a.recipe", [](auto& call) { call.args.a.recipe = ScaleRecipe::block_128x128; });
  add("b.recipe", [](auto& call) { call.args.b.recipe = ScaleRecipe::block_128x128; });
  add("no c", [](auto& call) { call.args.c.reset(); });
  add("device", [](auto& call) { call.options.device.kind = Device::Kind::emu; });
  add("device.index", [](auto& call) { call.options.device.index = 1; });
  add("sm_budget", [](auto& call) { call.options.sm_budget = 7; });
  add("invariance", [](auto& call) { call.options.invariance = Invariance::none; });
  add("workspace", [](auto& call) { call.options.workspace = at(0x90000); });
  add("workspace_bytes", [](auto& call) { call.options.workspace_bytes = -1; });
  add("index_report",
      [](auto& call) { call.options.index_report = static_cast<std::int32_t*>(at(0xa0000)); });
  add("policy",
      [](auto& call) { call.options.emulation.policy = static_cast<Emulation::Policy>(99); });
  add("arithmetic",
      [](auto& call) { call.options.emulation.arithmetic = Emulation::Arithmetic::none; });
  add("threads", [](auto& call) { call.options.emulation.threads = -1; });
  return changes;
}

template <class Args>
Args args_of(i64 m) {
  Args args;
  args.a.values = TensorView::row_major(at(0x10000), DType::e4m3, m, 256);
  args.a.scales = TensorView::row_major(at(0x20000), DType::fp32, m, 2);
  args.b = args.a;
  args.c = args.d = TensorView::row_major(at(0x30000), DType::bf16, m, m);
  return args;
}

/// Keeps a call, and looks for it and for each that is changed in one thing.
template <class Operation>
void expect_every_change_to_be_seen(const Changes<typename Operation::Args>& changes) {
  using Recent = RecentCalls<Operation, 4>;
  const Call<typename Operation::Args> call{args_of<typename Operation::Args>(64), {}};
  typename Recent::Ready ready = {};
  ready.ctas = 17;
  EXPECT_EQ(Recent::find(call.args, call.options), nullptr);
  Recent::keep(call.args, call.options, ready);
  for (const auto& [name, change] : changes) {
    auto other = call;
    change(other);
    EXPECT_EQ(Recent::find(other.args, other.options), nullptr) << name;
    // The other way round: nothing that the first call lacks is taken for it either.
    Recent::keep(other.args, other.options, {});
    ASSERT_NE(Recent::find(call.args, call.options), nullptr) << name;
    EXPECT_EQ(Recent::find(call.args, call.options)->ctas, 17) << name;
    Recent::keep(call.args, call.options, ready);
  }
  // How a call is launched is no part of it.
  int stream = 0;
  const Options launched{.stream = &stream, .pdl = true, .emulation = {.seed = 5, .check = true}};
  EXPECT_NE(Recent::find(call.args, launched), nullptr);
  std::thread([&] { EXPECT_EQ(Recent::find(call.args, call.options), nullptr); }).join();
}

TEST(RecentCalls, AGemmThatDiffersInAnythingIsAnother) {
  expect_every_change_to_be_seen<GemmCall>(common_changes<GemmArgs>());
}

TEST(RecentCalls, AGroupedGemmThatDiffersInAnythingIsAnother) {
  auto changes = common_changes<GroupedGemmArgs>();
  add_changes(changes, "index", [](GroupedGemmArgs& args) { return &args.groups.index; });
  changes.emplace_back("kind", [](auto& call) { call.args.groups.kind = Grouping::Kind::row_ids; });
  changes.emplace_back("alignment", [](auto& call) { call.args.groups.alignment = 64; });
  changes.emplace_back("expected_rows", [](auto& call) { call.args.groups.expected_rows = 5; });
  expect_every_change_to_be_seen<GroupedCall>(changes);
}

/// Many more calls than there is room for: each finds itself or nothing, the last ones themselves.
TEST(RecentCalls, OldCallsMakeRoom) {
  using Recent = RecentCalls<GemmCall, 8>;
  constexpr int kCalls = 500;
  int found = 0;
  for (int m = 1; m <= kCalls; ++m) {
    GemmCall::Params params = {};
    params.m = m;
    EXPECT_EQ(Recent::keep(args_of<GemmArgs>(m), {}, {nullptr, nullptr, m, params}).params.m, m);
    ASSERT_NE(Recent::find(args_of<GemmArgs>(m), {}), nullptr);
  }
  for (int m = 1; m <= kCalls; ++m)
    if (const auto* call = Recent::find(args_of<GemmArgs>(m), {})) {
      EXPECT_EQ(call->params.m, m);
      EXPECT_EQ(call->ctas, m);
      ++found;
    }
  EXPECT_GE(found, 4);
  EXPECT_LE(found, 8);
}

}  // namespace
}  // namespace kiln
