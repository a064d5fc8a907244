// Tensor maps that kernels make: fields replaced in shared memory, the way to global memory, and
// that a map is read as long as a copy is under way.
#include <cstring>

#include "runtime/emu/tensor_map.hpp"
#include "tests/emu/engine_copy_support.hpp"

namespace kiln::emu {
namespace {

struct Arguments {
  TensorMap map;
  TensorMap* made;
  u8* out;
  const u8* base;
};

/// `change` replaces fields of s.map, a copy of p.map; then one box of 16x8 bytes is loaded by the
/// map in global memory.
Source map_source(const std::string& change, const std::string& load = "tma_load_2d") {
  return {.params = "TensorMap map; TensorMap* made; u8* out; const u8* base;",
          .declarations =
              "struct S { alignas(1024) u8 box[1024]; alignas(128) TensorMap map; Barrier full; };",
          .body = R"(
    S& s = shared<S>();
    const bool one = thread_idx() == 0;
    if (one) {
      mbarrier_init(&s.full, 1);
      fence_mbarrier_init();
      s.map = p.map;
      )" + change +
                  R"(
    }
    warp_sync();
    tensormap_cp_fenceproxy(p.made, &s.map);
    if (one) {
      fence_proxy_tensormap_acquire(p.made);
      mbarrier_arrive_expect_tx(&s.full, 128);
      )" + load + R"((p.made, &s.full, s.box, 16, 4);
    }
    mbarrier_wait(&s.full, 0);
    for (int i = thread_idx(); i < 128; i += 32) p.out[i] = s.box[i];)"};
}
constexpr int kMapSmem = 2048;

struct Maps {
  Tensor tensor{Element::u8};
  TensorMap made = {};
  std::vector<u8> out = std::vector<u8>(128);
  Arguments arguments() {
    const Case c = {Element::u8, Swizzle::none, 2, {16, 8, 1, 1, 1}, {}};
    return {emu_backend().encode(tensor.spec(c)), &made, out.data(), tensor.data.data()};
  }
};

void expect_map_error(const std::string& change, const std::vector<std::string>& words) {
  Maps maps;
  expect_error(map_source(change), maps.arguments(), {.smem_bytes = kMapSmem}, ErrorCode::internal,
               words);
}

TEST(EngineTensorMap, EveryFieldThatIsReplacedIsUsed) {
  Maps maps;
  run(map_source("tensormap_replace_global_address(&s.map, p.base + 2 * 240 + 16);"
                 "tensormap_replace_global_stride<1>(&s.map, 480);"
                 "tensormap_replace_global_dim<0>(&s.map, 28);"
                 "tensormap_replace_global_dim<1>(&s.map, 7);"),
      maps.arguments(), {.smem_bytes = kMapSmem});
  ASSERT_EQ(maps.tensor.row, 240);
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 16; ++x) {
      const bool inside = 16 + x < 28 && 4 + y < 7;
      ASSERT_EQ(maps.out[static_cast<std::size_t>(y * 16 + x)],
                inside ? *maps.tensor.at(16 + 16 + x, 2 + 2 * (4 + y), 0, 2) : 0)
          << x << " " << y;
    }
  // The map in global memory is the one that the host would have encoded.
  TensorMapSpec spec = maps.tensor.spec({Element::u8, Swizzle::none, 2, {16, 8, 1, 1, 1}, {}});
  spec.base = maps.tensor.data.data() + 2 * 240 + 16;
  spec.stride[0] = 480;
  spec.extent[0] = 28;
  spec.extent[1] = 7;
  const TensorMap want = emu_backend().encode(spec);
  EXPECT_EQ(std::memcmp(&maps.made, &want, sizeof want), 0);
}

TEST(EngineTensorMap, BoxesAreReplacedToo) {
  Maps maps;
  run(map_source(
          "tensormap_replace_box_dim<0>(&s.map, 32); tensormap_replace_box_dim<1>(&s.map, 4);"),
      maps.arguments(), {.smem_bytes = kMapSmem});
  for (int i = 0; i < 128; ++i)
    ASSERT_EQ(maps.out[static_cast<std::size_t>(i)],
              *maps.tensor.at(16 + i % 32, 4 + i / 32, 0, 2));
}

TEST(EngineTensorMap, ValuesThatBreakARule) {
  expect_map_error("tensormap_replace_global_address(&s.map, p.base + 8);",
                   {"tensormap_replace_global_address", "an address aligned to 16 bytes"});
  expect_map_error("tensormap_replace_global_address(&s.map, nullptr);", {"got 0"});
  expect_map_error("tensormap_replace_global_dim<0>(&s.map, 0);",
                   {"tensormap_replace_global_dim", "wanted 1 to 2^32 elements, got 0"});
  expect_map_error(
      "tensormap_replace_global_stride<1>(&s.map, 40);",
      {"tensormap_replace_global_stride", "a multiple of 16 bytes below 2^40, got 40"});
  expect_map_error("tensormap_replace_global_stride<1>(&s.map, 1ull << 40);", {"below 2^40"});
  expect_map_error("tensormap_replace_box_dim<1>(&s.map, 257);",
                   {"tensormap_replace_box_dim", "1 to 256 elements, got 257"});
  expect_map_error("tensormap_replace_box_dim<0>(&s.map, 8);", {"whole 16 bytes, got 8"});
  expect_map_error("tensormap_replace_global_dim<2>(&s.map, 8);",
                   {"2 dimensions has no such field of ordinal 2"});
  expect_map_error("tensormap_replace_global_stride<2>(&s.map, 16);",
                   {"2 dimensions has no such field of ordinal 1"});
  expect_map_error("s.map.opaque[0] = 0; tensormap_replace_global_dim<0>(&s.map, 8);",
                   {"holds no tensor map that the emulator encoded"});
  Maps maps;
  Arguments arguments = maps.arguments();
  arguments.map =
      emu_backend().encode(maps.tensor.spec({Element::u8, Swizzle::b32, 2, {16, 8, 1, 1, 1}, {}}));
  expect_error(map_source("tensormap_replace_box_dim<0>(&s.map, 48);"), arguments,
               {.smem_bytes = kMapSmem}, ErrorCode::internal, {"the span of the swizzle, got 48"});
}

TEST(EngineTensorMap, WhereMapsLie) {
  expect_map_error("tensormap_replace_global_dim<0>(p.made, 8);",
                   {"tensormap_replace_global_dim", "not in the shared memory"});
  expect_map_error("tensormap_replace_global_dim<0>(reinterpret_cast<TensorMap*>(s.box + 64), 8);",
                   {"smem+64 is not aligned to 128 bytes"});
  expect_map_error("tma_load_2d(&s.map, &s.full, s.box, 0, 0);",
                   {"tma_load_2d", "the tensor map lies in shared memory"});
  expect_map_error("fence_proxy_tensormap_acquire(&s.map);",
                   {"fence_proxy_tensormap_acquire", "lies in the CTA's shared memory"});
  const auto copy = [](const std::string& call) {
    Source source = map_source("");
    source.body = "S& s = shared<S>();\n" + call;
    return source;
  };
  Maps maps;
  const auto expect = [&](const std::string& call, const std::string& words) {
    expect_error(copy(call), maps.arguments(), {.smem_bytes = kMapSmem}, ErrorCode::internal,
                 {"tensormap_cp_fenceproxy", words});
  };
  expect("tensormap_cp_fenceproxy(&s.map, &s.map);", "lies in the CTA's shared memory");
  expect("tensormap_cp_fenceproxy(p.made, p.made);", "not in the shared memory");
  expect(
      "tensormap_cp_fenceproxy(reinterpret_cast<TensorMap*>(reinterpret_cast<u64>(p.made) + 32), "
      "&s.map);",
      "not aligned to 64");
  expect("tensormap_cp_fenceproxy(p.made + (thread_idx() == 9), &s.map);",
         "lanes 0 and 9 of its warp name different tensor maps");
}

TEST(EngineTensorMap, AMapIsReadAsLongAsACopyIsUnderWay) {
  // The map is changed again right after the load is issued: sometimes the load sees it.
  const auto rows_seen = [](const std::string& wait) {
    Source source = map_source("");
    source.body = R"(
      S& s = shared<S>();
      const bool one = thread_idx() == 0;
      if (one) { mbarrier_init(&s.full, 1); fence_mbarrier_init(); s.map = p.map; }
      warp_sync();
      tensormap_cp_fenceproxy(p.made, &s.map);
      if (one) {
        fence_proxy_tensormap_acquire(p.made);
        mbarrier_arrive_expect_tx(&s.full, 128);
        tma_load_2d(p.made, &s.full, s.box, 0, 0);
        )" + wait +
                  R"(
        tensormap_replace_global_address(&s.map, p.base + 240);
      }
      warp_sync();
      tensormap_cp_fenceproxy(p.made, &s.map);
      mbarrier_wait(&s.full, 0);
      for (int i = thread_idx(); i < 128; i += 32) p.out[i] = s.box[i];)";
    std::map<int, int> rows;  // the first row that was loaded
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
      Maps maps;
      run(source, maps.arguments(), {.smem_bytes = kMapSmem}, {.seed = seed});
      for (int row = 0; row < 2; ++row)
        rows[row] += std::memcmp(maps.out.data(), maps.tensor.at(0, row, 0, 2), 16) == 0;
    }
    return rows;
  };
  const std::map<int, int> raced = rows_seen("");
  EXPECT_GT(raced.at(0), 0);
  EXPECT_GT(raced.at(1), 0);
  EXPECT_EQ(rows_seen("mbarrier_wait(&s.full, 0);"), (std::map<int, int>{{0, 30}, {1, 0}}));
}

TEST(EngineTensorMap, AMapThatBecomesAnotherUnderACopyIsAnError) {
  const auto source = [](const std::string& change) {
    Source source = map_source("");
    source.body = R"(
      S& s = shared<S>();
      if (thread_idx() == 0) {
        mbarrier_init(&s.full, 1);
        *p.made = p.map;
        mbarrier_arrive_expect_tx(&s.full, 128);
        tma_load_2d(p.made, &s.full, s.box, 0, 0);
        )" + change +
                  R"(
      }
      warp_sync();
      mbarrier_wait(&s.full, 0);)";
    return source;
  };
  const auto errors = [&](const std::string& change, const std::string& words) {
    Maps maps;
    return count_errors(source(change), maps.arguments(), {.smem_bytes = kMapSmem}, words);
  };
  EXPECT_GT(errors("p.made->opaque[0] = 0;",
                   "warp 0 lane 0: the tensor map of one of its copies changed, to no tensor map"),
            0);
  EXPECT_GT(errors("s.map = p.map; tensormap_replace_box_dim<0>(&s.map, 32); *p.made = s.map;",
                   "changed, to another box"),
            0);
}

TEST(EngineTensorMap, ReleaseAndAcquireAreEvents) {
  struct Proxies : Observer {
    std::vector<std::pair<EventKind, std::uint64_t>> events;
    void on(const Event& event) override {
      if (event.kind == EventKind::tensormap_release ||
          event.kind == EventKind::tensormap_acquire || event.kind == EventKind::fence_proxy_async)
        events.emplace_back(event.kind, event.detail);
    }
  } proxies;
  Maps maps;
  Source source =
      map_source("fence_proxy_async(); fence_proxy_async_global(); fence_proxy_async_all();");
  run(source, maps.arguments(), {.smem_bytes = kMapSmem}, {.observer = &proxies});
  const auto made = reinterpret_cast<u64>(&maps.made);
  EXPECT_EQ(proxies.events, (std::vector<std::pair<EventKind, std::uint64_t>>{
                                {EventKind::fence_proxy_async, 0},
                                {EventKind::fence_proxy_async, 1},
                                {EventKind::fence_proxy_async, 2},
                                {EventKind::tensormap_release, made},
                                {EventKind::tensormap_acquire, made}}));
}

}  // namespace
}  // namespace kiln::emu
