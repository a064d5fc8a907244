// The copy engine: where every element of a box lands, what lies outside a tensor, when copies
// happen.
#include <cstring>

#include "runtime/emu/copy_engine.hpp"
#include "runtime/emu/tensor_map.hpp"
#include "tests/emu/engine_copy_support.hpp"

namespace kiln::emu {
namespace {

constexpr int kFar = 2147483647;

/// Where a box of elements of `size` bytes is put: inside, across every edge, beyond every edge.
/// The innermost coordinate counts whole 16 bytes.
std::vector<std::array<int, 5>> places(int size) {
  const int unit = 16 / size;
  const int last = kColumns / unit * unit;  // where the 16 bytes begin in which rows end
  const int far = kFar - kFar % unit;
  return {{0, 0, 0, 0, 0},          {3 * unit, 3, 1, 1, 1},
          {-unit, -2, -1, -1, -1},  {last - unit, 35, 4, 2, 1},
          {last, 0, 0, 0, 0},       {-500 * unit, 5, 1, 0, 0},
          {unit, 40, 2, 1, 0},      {2 * unit, -100, 0, 0, 1},
          {4 * unit, 8, 5, 0, 0},   {far, 1, 1, 0, 0},
          {unit, kFar, 1, 0, 0},    {-kFar - 1, 0, 0, 0, 0},
          {0, -kFar - 1, 0, 0, 0},  {last + unit, 2, 0, 3, 0},
          {-unit, 2, 0, 0, -9},     {2 * unit, 2, 0, -kFar - 1, kFar},
          {-2 * unit, 38, 3, 1, 1}, {last, 21, 1, 2, 0},
          {last, 39, 4, 2, 1},      {2 * unit, 39, 4, kFar, kFar}};
}

/// Boxes of at most 32 KiB.
constexpr std::array<std::uint32_t, 5> box_of(int rank, std::uint32_t columns) {
  switch (rank) {
    case 1:
      return {columns, 1, 1, 1, 1};
    case 2:
      return {columns, 21, 1, 1, 1};
    case 3:
      return {columns, 10, 3, 1, 1};
    case 4:
      return {columns, 5, 3, 2, 1};
    default:
      return {columns, 3, 2, 2, 2};
  }
}

std::vector<Case> cases() {
  std::vector<Case> cases;
  for (const Element element : {Element::u8, Element::bf16, Element::fp32, Element::fp64})
    for (const Swizzle swizzle : {Swizzle::none, Swizzle::b32, Swizzle::b64, Swizzle::b128})
      for (int rank = 1; rank <= 5; ++rank) {
        const auto at = places(size_of(element));
        for (std::size_t place = 0; place < at.size(); ++place) {
          const auto size = static_cast<std::uint32_t>(size_of(element));
          const auto row = static_cast<std::uint32_t>(
              swizzle == Swizzle::none ? (rank == 2 ? 48 : 160) : span_of(swizzle));
          cases.push_back({element, swizzle, rank, box_of(rank, row / size), at[place]});
          // The fewer kinds: every second element along dimension 1, every third along 2; NaNs.
          if (place % 3 == 0) cases.back().element_stride = {1, 2, 3, 1, 2};
          if (place % 2 == 0 && is_float(element)) cases.back().fill = Fill::nan;
          // Rows of 16 bytes, narrower than any swizzle.
          if (place % 5 == 4) cases.back().box[0] = 16 / size;
        }
      }
  return cases;
}

/// Is a coordinate of the place negative? Only loads may go there.
bool begins_before(const Case& c) {
  return std::any_of(c.at.begin(), c.at.begin() + c.rank, [](int at) { return at < 0; });
}

TEST(EngineCopy, LoadsEveryElementToItsPlaceAndTheFillOutside) {
  for (const Case& c : cases()) {
    Tensor tensor(c.element);
    std::vector<u8> out(32768);
    std::vector<u8> want(32768, 0xFF);  // what the box does not cover is as it was
    for_each_byte(c, tensor, [&](std::size_t in_box, const u8* byte, int b) {
      const u8 fill = c.fill == Fill::zero ? 0 : b % 2 == 0 ? 0xF7 : 0x7F;
      want[place(in_box, c.swizzle)] = byte == nullptr ? fill : *byte;
    });
    run(load_source(c.rank), params_of(c, tensor, out), {.smem_bytes = kSmem});
    ASSERT_EQ(out, want) << c;
  }
}

TEST(EngineCopy, StoresEveryElementFromItsPlaceAndNothingBeyondItsSixteenBytes) {
  for (const Case& c : cases()) {
    if (begins_before(c)) continue;
    Tensor tensor(c.element);
    std::vector<u8> in(32768);
    TestRandom random(99);
    for (auto& byte : in) byte = static_cast<u8>(random.next());
    Tensor want(c.element);
    const auto store = [&](std::size_t in_box, u8* byte, int) {
      if (byte != nullptr) *byte = in[place(in_box, c.swizzle)];
    };
    for_each_byte(c, want, store, stored_columns(want));
    run(store_source(c.rank), params_of(c, tensor, in), {.smem_bytes = kSmem});
    ASSERT_EQ(tensor.data, want.data) << c;
  }
}

TEST(EngineCopy, RangesAreTheBytesThatCopiesTouch) {
  for (const Case& c : cases()) {
    if (c.element != Element::bf16) continue;
    Tensor tensor(c.element);
    const BoxMap map = *decode_box_map(emu_backend().encode(tensor.spec(c)));
    const Coordinates at = {c.rank, {c.at[0], c.at[1], c.at[2], c.at[3], c.at[4]}};
    for (const bool writes : {false, true}) {
      std::vector<u8> want(tensor.data.size()), got(tensor.data.size());
      const auto mark = [&](std::size_t, u8* byte, int) {
        if (byte != nullptr) want[static_cast<std::size_t>(byte - tensor.data.data())] = 1;
      };
      for_each_byte(c, tensor, mark, writes ? stored_columns(tensor) : kColumns);
      const auto range = [&](u64 address, u32 bytes) {
        const u64 first = address - reinterpret_cast<u64>(tensor.data.data());
        ASSERT_LE(first + bytes, got.size()) << c;
        for (u32 i = 0; i < bytes; ++i) ++got[first + i];
      };
      writes ? map.for_each_written_range(at, range) : map.for_each_global_range(at, range);
      ASSERT_EQ(got, want) << c;
    }
  }
}

TEST(EngineCopy, AddressesWrapAtTwoToTheSixtyFour) {
  // One map clips at any row, with a base and strides that wrap.
  Tensor tensor(Element::u8);
  const i64 row = tensor.row, size = 7, offset = 13;
  TensorMapSpec spec;
  spec.base = tensor.data.data();
  spec.rank = 3;
  spec.extent = {200, u64{1} << 30, u64{1} << 31};
  spec.stride = {static_cast<u64>(row), (u64{1} << 34) - static_cast<u64>(row)};
  spec.box = {64, 16, 1};
  std::vector<u8> out(32768);
  // Row r of the box is row 2^30 - size + r of the tensor: it exists for r < size. The third
  // coordinate shifts the address by (offset + size) rows less 2^30 rows, modulo 2^64.
  Params params = {emu_backend().encode(spec),         out.data(), 16,
                   static_cast<int>((1 << 30) - size), 0,          1024};
  const u64 shift = static_cast<u64>(-((i64{1} << 30) - size) + offset) * static_cast<u64>(row);
  BoxMap map = *decode_box_map(params.map);
  map.base += shift;
  std::memcpy(&params.map, &map, sizeof map);
  run(load_source(3), params, {.smem_bytes = kSmem});
  for (int r = 0; r < 16; ++r)
    for (int x = 0; x < 64; ++x)
      ASSERT_EQ(out[static_cast<std::size_t>(r * 64 + x)],
                r < size ? *tensor.at(16 + x, offset + r, 0, 2) : 0);
}

TEST(EngineCopy, DestinationIsPoisonedUntilTheCopyLands) {
  Source source = load_source(2);
  source.body = R"(
    S& s = shared<S>();
    s.box[thread_idx()] = 5;
    warp_sync();
    if (thread_idx() == 0) {
      mbarrier_init(&s.full, 1);
      mbarrier_arrive_expect_tx(&s.full, p.bytes);
      tma_load_2d(&p.map, &s.full, s.box, 0, 0);
      p.out[0] = s.box[1];
      mbarrier_wait(&s.full, 0);
      p.out[1] = s.box[1];
    })";
  Tensor tensor(Element::u8);
  int early = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::vector<u8> out(2);
    run(source, small_load(tensor, out), {.smem_bytes = kSmem}, {.seed = seed});
    early += out[0] == 0xFF;
    ASSERT_TRUE(out[0] == 0xFF || out[0] == *tensor.at(1, 0, 0, 2)) << int{out[0]};
    ASSERT_EQ(out[1], *tensor.at(1, 0, 0, 2));
  }
  EXPECT_GT(early, 0);
}

TEST(EngineCopy, LandsInAnyOrder) {
  struct Order : Observer {
    std::vector<u32> landed;
    void on(const Event& event) override {
      if (event.kind == EventKind::load_land) landed.push_back(event.offset / 1024);
    }
  };
  Source source = load_source(2);
  source.body = R"(
    S& s = shared<S>();
    if (thread_idx() == 0) {
      mbarrier_init(&s.full, 1);
      mbarrier_arrive_expect_tx(&s.full, 4 * p.bytes);
      for (int i = 0; i < 4; ++i) tma_load_2d(&p.map, &s.full, s.box + i * 1024, 0, i * 8);
    }
    warp_sync();
    mbarrier_wait(&s.full, 0);)";
  std::map<std::vector<u32>, int> orders;
  Tensor tensor(Element::u8);
  std::vector<u8> out;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Order order;
    run(source, small_load(tensor, out), {.smem_bytes = kSmem}, {.seed = seed, .observer = &order});
    ++orders[order.landed];
  }
  EXPECT_GT(orders.size(), 8u);
}

TEST(EngineCopy, MulticastReachesEveryCtaOfTheMask) {
  Source source = load_source(2);
  source.threads = 64;
  source.body = R"(
    S& s = shared<S>();
    const int rank = cluster_rank();
    if (thread_idx() == 0) { mbarrier_init(&s.full, 1); fence_mbarrier_init(); }
    cluster_sync();
    if (thread_idx() == 0) {
      // Every CTA gets a box from CTA 0 (mask 1111) and, but for CTA 2, one from CTA 3 (mask 1011).
      mbarrier_arrive_expect_tx(&s.full, (rank == 2 ? 1 : 2) * p.bytes);
      if (rank == 0) tma_load_2d_multicast(&p.map, &s.full, s.box, 0, 0, 0b1111);
      if (rank == 3) tma_load_2d_multicast(&p.map, &s.full, s.box + 2048, 0, 16, 0b1011);
    }
    mbarrier_wait(&s.full, 0);
    if (thread_idx() < 32) p.out[cta_idx() * 64 + thread_idx()] = s.box[thread_idx()];
    else p.out[cta_idx() * 64 + thread_idx()] = s.box[2048 + thread_idx() - 32];
    cluster_sync();)";
  Tensor tensor(Element::u8);
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    std::vector<u8> out(8 * 64);
    const Statistics statistics =
        run(source, small_load(tensor, out), {.ctas = 8, .cluster = 4, .smem_bytes = kSmem},
            {.seed = seed});
    EXPECT_EQ(statistics.loads, 14u);
    EXPECT_EQ(statistics.load_bytes, 14u * 128);
    for (int cta = 0; cta < 8; ++cta)
      for (int i = 0; i < 64; ++i) {
        const int want = i < 32         ? *tensor.at(i % 16, i / 16, 0, 2)
                         : cta % 4 == 2 ? 0xFF
                                        : *tensor.at(i % 16, 16 + (i - 32) / 16, 0, 2);
        ASSERT_EQ(out[static_cast<std::size_t>(cta * 64 + i)], want) << cta << " " << i;
      }
  }
}

TEST(EngineCopy, MulticastOfEveryRankLoadsWhatALoadDoes) {
  for (int rank = 1; rank <= 5; ++rank) {
    const Case c = {Element::bf16, Swizzle::b64, rank, box_of(rank, 32), {184, 36, 4, 1, 1}};
    Source source = load_source(rank);
    source.body = R"(
      S& s = shared<S>();
      if (thread_idx() == 0) {
        mbarrier_init(&s.full, 1);
        fence_mbarrier_init();
        mbarrier_arrive_expect_tx(&s.full, p.bytes);
      }
      cluster_sync();
      if (cluster_rank() == 0 && thread_idx() == 0)
        )" + wrapper("tma_load", rank) +
                  "_multicast(&p.map, &s.full, s.box" + coordinates(rank) + R"(, 3);
      mbarrier_wait(&s.full, 0);
      for (int i = thread_idx(); i < 32768; i += 32) p.out[cta_idx() * 32768 + i] = s.box[i];
      cluster_sync();)";
    Tensor tensor(c.element);
    std::vector<u8> out(2 * 32768), want(2 * 32768, 0xFF);
    for_each_byte(c, tensor, [&](std::size_t in_box, const u8* byte, int) {
      for (const std::size_t cta : {0u, 1u})
        want[cta * 32768 + place(in_box, c.swizzle)] = byte == nullptr ? 0 : *byte;
    });
    run(source, params_of(c, tensor, out), {.ctas = 2, .cluster = 2, .smem_bytes = kSmem});
    ASSERT_EQ(out, want) << c;
  }
}

TEST(EngineCopy, ACopyNamesTheGlobalMemoryThatItTouches) {
  const auto ranges = [](const Copy& copy) {
    std::vector<std::pair<u64, u32>> ranges;
    copy.for_each_global_range(
        [&](u64 address, u32 bytes) { ranges.emplace_back(address, bytes); });
    return ranges;
  };
  using Ranges = std::vector<std::pair<u64, u32>>;
  Tensor tensor(Element::u8);
  const u64 base = reinterpret_cast<u64>(tensor.data.data());
  Copy copy;
  copy.far = Copy::Far::tensor;
  copy.box = *decode_box_map(
      emu_backend().encode(tensor.spec({Element::u8, Swizzle::none, 2, {32, 2, 1, 1, 1}, {}})));
  copy.at = {2, {192, 38}};
  EXPECT_EQ(ranges(copy), (Ranges{{base + 38 * 240 + 192, 11}, {base + 39 * 240 + 192, 11}}));
  copy.step = Copy::Step::write;
  EXPECT_EQ(ranges(copy), (Ranges{{base + 38 * 240 + 192, 16}, {base + 39 * 240 + 192, 16}}));
  copy.far = Copy::Far::global;
  copy.global = reinterpret_cast<std::byte*>(tensor.data.data());
  copy.bytes = 48;
  EXPECT_EQ(ranges(copy), (Ranges{{base, 48}}));
  copy.far = Copy::Far::other_cta;
  EXPECT_EQ(ranges(copy), Ranges{});
}

TEST(EngineCopy, AStoreReadsItsSourceLate) {
  // Overwriting the source before wait_read shows under some schedule; after it, under none.
  const auto wrong_runs = [](const std::string& wait) {
    Source source = store_source(2);
    source.body = R"(
      S& s = shared<S>();
      for (int i = thread_idx(); i < 128; i += 32) s.box[i] = 1;
      fence_proxy_async();
      warp_sync();
      if (thread_idx() == 0) {
        tma_store_2d(&p.map, s.box, 0, 0);
        tma_store_commit();
        )" + wait +
                  R"(
        for (int i = 0; i < 128; ++i) s.box[i] = 2;
        tma_store_wait_read<0>();
      })";
    int wrong = 0;
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
      Tensor tensor(Element::u8);
      std::vector<u8> out;
      run(source, small_load(tensor, out), {.smem_bytes = kSmem}, {.seed = seed});
      wrong += *tensor.at(3, 3, 0, 2) != 1;
    }
    return wrong;
  };
  EXPECT_GT(wrong_runs(""), 0);
  EXPECT_EQ(wrong_runs("tma_store_wait_read<0>();"), 0);
}

TEST(EngineCopy, WaitReadLeavesTheLastGroups) {
  struct Reads : Observer {
    int read = 0, at_wait = -1;
    void on(const Event& event) override {
      read += event.kind == EventKind::store_read;
      if (event.kind == EventKind::store_wait && event.detail == 2) at_wait = read;
    }
  };
  Source source = store_source(2);
  source.body = R"(
    S& s = shared<S>();
    if (thread_idx() == 0) {
      for (int group = 0; group < 4; ++group) {
        tma_store_2d(&p.map, s.box, 0, 0);
        tma_store_2d(&p.map, s.box, 0, 8);
        tma_store_commit();
      }
      tma_store_wait_read<2>();
      tma_store_wait_read<0>();
    })";
  bool fewer = false;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    Reads reads;
    Tensor tensor(Element::u8);
    std::vector<u8> out;
    const Statistics statistics = run(source, small_load(tensor, out), {.smem_bytes = kSmem},
                                      {.seed = seed, .observer = &reads});
    EXPECT_GE(reads.at_wait, 4);
    fewer |= reads.at_wait < 8;
    EXPECT_EQ(reads.read, 8);
    EXPECT_EQ(statistics.stores, 8u);
    EXPECT_EQ(statistics.store_bytes, 8u * 128);
  }
  EXPECT_TRUE(fewer) << "a wait for all but two groups need not wait for all";
}

}  // namespace
}  // namespace kiln::emu
