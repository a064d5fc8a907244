// Accesses: who makes them, and whether what they must come after is known to come before.
#include "runtime/emu/checker.hpp"

#include <algorithm>

#include "kiln/error.hpp"
#include "runtime/emu/source_lines.hpp"

namespace kiln::emu {

void Checker::on_start(const RunLayout& layout) {
  if (!layout_.threads.empty()) past_runs_.push_back(layout_.threads.front().cta_index);
  ++run_;
  layout_ = layout;
  seen_memo_.clear();
  async_memo_.clear();
  async_global_memo_.clear();
  order_memo_.clear();
  threads_.assign(layout.threads.size(), {});
  agents_.clear();
  dynamic_agents_.clear();
  mbarriers_.clear();
  barriers_.clear();
  cp_async_arrivals_.clear();
  flags_.clear();
  changed_maps_.clear();
  grids_.assign(layout.grids.size(), {});
  for (std::size_t i = 0; i < layout.threads.size(); ++i) {
    threads_[i].place = layout.threads[i];
    agents_.push_back({Agent::Kind::thread, static_cast<int>(i), 0});
  }
  // Four tensor-core agents a warpgroup, one for each warp, next to each other.
  first_warp_.assign(layout.shared_bytes.size(), -1);
  int warps = 0;
  for (const ThreadPlace& place : layout.threads) {
    int& first = first_warp_[index(place.cta)];
    if (first < 0) first = warps;
    warps = std::max(warps, first + (place.warp / 4 + 1) * 4);
  }
  warps_.assign(index(warps), {});
  for (int i = 0; i < warps; ++i) agents_.push_back({Agent::Kind::tensor_core, i, 0});
  shared_.resize(std::max(shared_.size(), layout.shared_bytes.size()));
  for (std::size_t i = 0; i < layout.shared_bytes.size(); ++i) {
    std::vector<Granule>& shared = shared_[i];
    shared.resize(std::max(shared.size(), (layout.shared_bytes[i] + 15) / Granule::kBytes));
    for (Granule& granule : shared) granule.clear();
  }
}

int Checker::warp_of(int thread) const {
  const ThreadPlace& place = threads_[index(thread)].place;
  return first_warp_[index(place.cta)] + place.warp;
}

/// A unit's agent, made when it is first needed.
u32 Checker::agent(Agent::Kind kind, int owner, u32 offset) {
  const std::pair key{static_cast<int>(kind), static_cast<u64>(owner) << 32 | offset};
  const auto [entry, is_new] = dynamic_agents_.try_emplace(key, static_cast<u32>(agents_.size()));
  if (is_new) agents_.push_back({kind, owner, offset});
  return entry->second;
}

/// What all lanes of a warp know: an instruction of the whole warp can count on no more.
Checker::Knowledge Checker::knowledge_of_warp(int thread) {
  const int first = first_lane(thread);
  Knowledge all = threads_[index(first)].knows;
  for (int lane = 1; lane < 32; ++lane) {
    const Knowledge& knows = threads_[index(first + lane)].knows;
    if (!all.seen.same(knows.seen)) all.seen = Clock::meet(all.seen, knows.seen);
    if (!all.async.same(knows.async)) all.async = Clock::meet(all.async, knows.async);
    if (!all.async_global.same(knows.async_global))
      all.async_global = Clock::meet(all.async_global, knows.async_global);
    if (!all.order.same(knows.order)) all.order = Clock::meet(all.order, knows.order);
  }
  return all;
}

Checker::Actor Checker::actor_of(const Access& access) {
  const ThreadState& thread = threads_[index(access.thread)];
  switch (access.by) {
    case Accessor::thread:
      break;
    case Accessor::load: {
      const u32 loads = agent(Agent::Kind::loads, access.barrier_cta, access.barrier);
      return {loads, static_cast<u32>(access.barrier_phase) + 1, access.thread, true,
              &thread.knows};
    }
    case Accessor::store: {
      const auto kind = access.write ? Agent::Kind::bulk_writes : Agent::Kind::bulk_reads;
      return {agent(kind, access.thread), thread.bulk_groups + 1, access.thread, true,
              &thread.knows};
    }
    case Accessor::cp_async: {
      if (access.write) ++threads_[index(access.thread)].cp_asyncs;
      const u32 number = thread.cp_asyncs + (access.write ? 0 : 1);
      return {agent(Agent::Kind::cp_async, access.thread), number, access.thread, false,
              &thread.knows};
    }
    case Accessor::tensor_core: {
      const int warp = warp_of(access.thread);
      u32& issued = warps_[index(warp)].wgmmas;
      issued = std::max(issued, static_cast<u32>(access.operation) + 1);
      warp_knows_ = knowledge_of_warp(access.thread);
      // One record for the four warps: its agent is the warpgroup's, its tick counts for each.
      return {agent(Agent::Kind::warpgroup, warp / 4), static_cast<u32>(access.operation) + 1,
              access.thread, true, &warp_knows_};
    }
  }
  return {static_cast<u32>(access.thread), thread.tick, access.thread, false, &thread.knows};
}

/// Is `record` known to come before what `actor` does now?
bool Checker::ordered(const Record& record, const Actor& actor, bool& fence_missing) const {
  if (record.run != run_) return false;  // clusters of a launch are ordered by nothing
  const Agent& agent = agents_[record.agent];
  const bool by_unit = record.async() && record.writes();
  const Clock& clock =
      !record.writes() || (by_unit && actor.writes) ? actor.knows->order : actor.knows->seen;
  if (agent.kind == Agent::Kind::warpgroup) {
    const u32 first = static_cast<u32>(threads_.size()) + static_cast<u32>(agent.owner) * 4;
    for (u32 warp = 0; warp < 4; ++warp)
      if (clock.of(first + warp) < record.tick) return false;
    return true;
  }
  const bool own = agent.kind == Agent::Kind::thread && agent.owner == actor.thread;
  if (!own && clock.of(record.agent) < record.tick) return false;
  // What a unit is to see of ordinary writes must have passed a fence.
  if (!actor.async || !record.writes() || record.async()) return true;
  const Clock& async = actor.global ? actor.knows->async_global : actor.knows->async;
  fence_missing = async.of(record.agent) < record.tick;
  return !fence_missing;
}

/// Are two atomic accesses atomic for each other? Each scope must include the other's thread.
/// PTX #memory-consistency-model-morally-strong-operations
bool Checker::strong(const Record& record, const Access& access) const {
  if (record.run != run_) return std::min(record.scope, access.scope) >= ptx::Scope::gpu;
  const Agent& agent = agents_[record.agent];
  if (agent.kind != Agent::Kind::thread && agent.kind != Agent::Kind::bulk_writes)
    return true;  // in shared memory: of a cluster's scope, and nobody else gets there
  return morally_strong(agent.owner, record.scope, access.thread, access.scope);
}

void Checker::check_granule(Granule& granule, u16 mask, u64 address, const Actor& actor,
                            const Access& access, u8 kind, u32 site) {
  bool fence_missing = false;
  const Record* earlier = granule.conflict(
      mask, kind, [&](const Record& record) { return ordered(record, actor, fence_missing); },
      [&](const Record& record) { return strong(record, access); });
  if (earlier != nullptr) {
    const u32 common = earlier->mask & mask;
    report_race(*earlier, access, address + static_cast<u32>(__builtin_ctz(common)),
                static_cast<u32>(__builtin_popcount(common)), fence_missing);
  }
  granule.note({actor.agent, actor.tick, site, run_, mask, kind, access.scope});
}

void Checker::check_initialised(const Granule& granule, u16 mask, u64 address,
                                const Access& access) {
  const u32 missing = mask & ~u32{granule.written()};
  if (missing == 0) return;
  throw Error(ErrorCode::race,
              "emulator: uninitialised: " + thread_text(access.thread) + " reads " +
                  place_text(access, address + static_cast<u32>(__builtin_ctz(missing)),
                             static_cast<u32>(__builtin_popcount(missing))) +
                  ", which nobody has written\n  at " + source_line(access.site));
}

void Checker::check_device(const Access& access) const {
  const int device = threads_[index(access.thread)].place.device;
  for (const AddressRange& range : access.ranges)
    if (const auto refusal = memory_->refusal(device, range.address, range.bytes))
      throw Error(ErrorCode::internal,
                  "emulator: " + thread_text(access.thread) + " on device " +
                      std::to_string(device) +
                      (access.by == Accessor::thread ? " touches " : ", by a copy, touches ") +
                      *refusal + "\n  at " + source_line(access.site));
}

void Checker::on(const Access& access) {
  if (memory_ != nullptr && access.cta < 0) check_device(access);
  if (access.tensor_map) check_tensor_map(access);
  Actor actor = actor_of(access);
  actor.writes = access.write;
  actor.global = access.cta < 0;
  if (access.tensor_map) actor.async = false;  // it goes by a proxy of its own
  u8 kind = Record::kRead;
  if (access.write) kind |= Record::kWrite;
  if (access.atomic) kind |= Record::kAtomic;
  if (actor.async) kind |= Record::kAsync;
  const u32 number = site(access.site);
  const bool shared = access.cta >= 0;
  // A wgmma may well read rows whose products nobody looks at.
  const bool must_exist = shared && !access.write && access.by != Accessor::tensor_core;
  for (const AddressRange& range : access.ranges)
    for_each_granule(range.address, range.bytes, [&](u64 i, u16 mask) {
      Granule& granule = shared ? shared_[index(access.cta)][i] : global_.granule(i);
      const u64 address = i * Granule::kBytes;
      if (must_exist) check_initialised(granule, mask, address, access);
      check_granule(granule, mask, address, actor, access, kind, number);
    });
}

}  // namespace kiln::emu
