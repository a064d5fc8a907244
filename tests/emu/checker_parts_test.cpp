// The parts of the checker: clocks and the shadow of memory.
#include "runtime/emu/clock.hpp"
#include "runtime/emu/shadow.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/emu/engine_support.hpp"

namespace kiln::emu {
namespace {

Clock clock_of(const std::vector<u32>& ticks) {
  Clock clock;
  for (u32 agent = 0; agent < ticks.size(); ++agent) clock = clock.with(agent, ticks[agent]);
  return clock;
}

TEST(Clock, KnowsTheLatestThatItWasTold) {
  const Clock nothing;
  EXPECT_EQ(nothing.of(0), 0u);
  EXPECT_EQ(nothing.of(1000), 0u);
  const Clock some = nothing.with(3, 5);
  EXPECT_EQ(some.of(3), 5u);
  EXPECT_EQ(some.of(2), 0u);
  EXPECT_EQ(some.of(4), 0u);
  EXPECT_EQ(nothing.of(3), 0u) << "clocks do not change";
  EXPECT_TRUE(some.with(3, 4).same(some));
  EXPECT_EQ(some.with(3, 6).of(3), 6u);
}

/// Join and meet are the larger and the smaller tick of each agent, whatever the lengths.
TEST(Clock, JoinAndMeetAreByAgent) {
  TestRandom random(3);
  ClockMemo memo;
  for (int i = 0; i < 500; ++i) {
    std::vector<u32> x(random.next() % 6), y(random.next() % 6);
    for (auto* ticks : {&x, &y})
      for (u32& tick : *ticks) tick = random.next() % 4;
    const Clock a = clock_of(x), b = clock_of(y);
    const Clock joined = Clock::join(a, b), met = Clock::meet(a, b), remembered = memo.join(a, b);
    for (u32 agent = 0; agent < 8; ++agent) {
      const u32 of_x = agent < x.size() ? x[agent] : 0, of_y = agent < y.size() ? y[agent] : 0;
      ASSERT_EQ(joined.of(agent), std::max(of_x, of_y));
      ASSERT_EQ(met.of(agent), std::min(of_x, of_y));
      ASSERT_EQ(remembered.of(agent), std::max(of_x, of_y));
    }
  }
  const Clock low = clock_of({1, 1}), high = clock_of({2, 1});
  EXPECT_TRUE(Clock::join(low, high).same(high)) << "one that covers the other is shared";
  EXPECT_TRUE(memo.join(low, high).same(memo.join(low, high)));
}

TEST(Shadow, RangesFallIntoGranules) {
  std::vector<std::pair<u64, u16>> seen;
  const auto note = [&](u64 granule, u16 mask) { seen.emplace_back(granule, mask); };
  for_each_granule(30, 20, note);
  EXPECT_EQ(seen, (std::vector<std::pair<u64, u16>>{{1, 0xC000}, {2, 0xFFFF}, {3, 0x0003}}));
  seen.clear();
  for_each_granule(36, 2, note);
  EXPECT_EQ(seen, (std::vector<std::pair<u64, u16>>{{2, 0x0030}}));
  seen.clear();
  for_each_granule(36, 0, note);
  for (const auto& [granule, mask] : seen) EXPECT_EQ(mask, 0);
}

constexpr u8 kRead = Record::kRead, kWrite = Record::kWrite,
             kAtomic = Record::kWrite | Record::kAtomic;

Record record_of(u32 agent, u16 mask, u8 kind, u32 tick = 1) {
  return {.agent = agent, .tick = tick, .site = 0, .run = 1, .mask = mask, .kind = kind};
}

/// The agents whose accesses of `mask` an access of `kind` must come after.
std::vector<u32> before(const Granule& granule, u16 mask, u8 kind, bool strong = true) {
  std::vector<u32> agents;
  granule.conflict(
      mask, kind,
      [&](const Record& record) {
        agents.push_back(record.agent);
        return true;
      },
      [&](const Record&) { return strong; });
  return agents;
}

TEST(Shadow, WhatMustComeBefore) {
  Granule granule;
  granule.note(record_of(1, 0x000F, kWrite));
  granule.note(record_of(2, 0x0003, kRead));
  granule.note(record_of(3, 0x0030, kAtomic));
  EXPECT_EQ(before(granule, 0x0001, kRead), (std::vector<u32>{1})) << "reads need no order";
  EXPECT_EQ(before(granule, 0x0001, kWrite), (std::vector<u32>{1, 2}));
  EXPECT_EQ(before(granule, 0x0004, kWrite), (std::vector<u32>{1})) << "other bytes";
  EXPECT_EQ(before(granule, 0x0010, kAtomic), (std::vector<u32>{}));
  EXPECT_EQ(before(granule, 0x0010, kAtomic, false), (std::vector<u32>{3}));
  EXPECT_EQ(before(granule, 0x0010, kRead), (std::vector<u32>{3}));
  EXPECT_EQ(before(granule, 0x0F00, kWrite), (std::vector<u32>{}));
  EXPECT_EQ(granule.written(), 0x003F);
}

TEST(Shadow, AWriteTakesThePlaceOfWhatWasBefore) {
  Granule granule;
  for (u32 agent = 1; agent <= 6; ++agent) granule.note(record_of(agent, 0x00FF, kRead));
  granule.note(record_of(7, 0x000F, kWrite));
  EXPECT_EQ(before(granule, 0x0001, kWrite), (std::vector<u32>{7}));
  std::vector<u32> rest = before(granule, 0x0080, kWrite);
  std::sort(rest.begin(), rest.end());
  EXPECT_EQ(rest, (std::vector<u32>{1, 2, 3, 4, 5, 6}));
  // An atomic one leaves what was there: others need not come after it.
  granule.note(record_of(8, 0x000F, kAtomic));
  EXPECT_EQ(before(granule, 0x0001, kRead), (std::vector<u32>{7, 8}));
  granule.clear();
  EXPECT_EQ(before(granule, 0xFFFF, kWrite), (std::vector<u32>{}));
  EXPECT_EQ(granule.written(), 0);
}

TEST(Shadow, OfAnAgentsReadsTheLatestIsEnough) {
  Granule granule;
  granule.note(record_of(1, 0x0003, kRead, 1));
  granule.note(record_of(1, 0x000F, kRead, 2));
  EXPECT_EQ(before(granule, 0x0001, kWrite), (std::vector<u32>{1}));
  granule.note(record_of(1, 0x0001, kRead, 3));
  EXPECT_EQ(before(granule, 0x0001, kWrite), (std::vector<u32>{1, 1})) << "it covers only a part";
}

TEST(Shadow, SparseMemoryKeepsItsGranules) {
  SparseShadow shadow;
  const u64 far = u64{1} << 40;
  shadow.granule(far).note(record_of(1, 1, kWrite));
  shadow.granule(far + 1000).note(record_of(2, 2, kWrite));
  EXPECT_EQ(shadow.granule(far).written(), 1);
  EXPECT_EQ(shadow.granule(far + 1000).written(), 2);
  EXPECT_EQ(shadow.granule(far + 1).written(), 0);
}

}  // namespace
}  // namespace kiln::emu
