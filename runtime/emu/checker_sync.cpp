// Synchronisation: what becomes known to whom by barriers, by units and by the ends of grids.
#include <algorithm>

#include "kiln/error.hpp"
#include "runtime/emu/checker.hpp"
#include "runtime/emu/source_lines.hpp"
#include "runtime/emu/warp.hpp"

namespace kiln::emu {
namespace {

constexpr u64 key_of(int cta, u32 offset) { return static_cast<u64>(cta) << 32 | offset; }
constexpr u32 kClusterBarrier = 0xFFFF;  // beside the numbers of named ones

}  // namespace

/// Most of the time nothing but memory has been synchronised, and `order` is `seen`: the same
/// clock, joined once.
void Checker::join(Knowledge& to, const Knowledge& from) {
  const bool one = to.order.same(to.seen) && from.order.same(from.seen);
  to.seen = seen_memo_.join(to.seen, from.seen);
  to.async = async_memo_.join(to.async, from.async);
  to.async_global = async_global_memo_.join(to.async_global, from.async_global);
  to.order = one ? to.seen : order_memo_.join(to.order, from.order);
}

/// A release by `count` threads from `first` on: adds what they know and have done to `to`. What
/// they do from here on is later.
void Checker::publish(int first, int count, Knowledge& to) {
  u32 ticks[32];
  for (int i = 0; i < count; ++i) {
    ThreadState& state = threads_[index(first + i)];
    join(to, state.knows);
    ticks[i] = state.tick++;
  }
  const bool one = to.order.same(to.seen);
  to.seen = to.seen.with(static_cast<u32>(first), ticks, static_cast<u32>(count));
  to.order = one ? to.seen : to.order.with(static_cast<u32>(first), ticks, static_cast<u32>(count));
}

/// The same of what orders execution, and no memory.
void Checker::publish_order(int thread, Clock& to) {
  ThreadState& state = threads_[index(thread)];
  to = Clock::join(to, state.knows.order.with(static_cast<u32>(thread), state.tick++));
}

void Checker::acquire(int thread, const Knowledge& from) {
  join(threads_[index(thread)].knows, from);
}

void Checker::acquire_order(int thread, const Clock& from) {
  if (from.is_empty()) return;
  Knowledge& knows = threads_[index(thread)].knows;
  knows.order = order_memo_.join(knows.order, from);
}

/// bar.warp.sync orders memory among the lanes; the meeting at other instructions does not.
void Checker::synchronise_warp(int thread) {
  const int first = first_lane(thread);
  Knowledge all;
  publish(first, 32, all);
  for (int lane = 0; lane < 32; ++lane) threads_[index(first + lane)].knows = all;
}

void Checker::waited(const Event& event) {
  threads_[index(event.thread)].last_wait = {event.kind, event.cta, event.offset, event.detail,
                                             event.site};
}

Checker::MbarrierState* Checker::find(int cta, u32 offset) {
  const auto found = mbarriers_.find(key_of(cta, offset));
  return found == mbarriers_.end() ? nullptr : &found->second;
}

int Checker::grid_of(const Agent& agent) const {
  const auto of_cta = [this](int cta) {
    const auto found = std::find_if(threads_.begin(), threads_.end(),
                                    [cta](const ThreadState& t) { return t.place.cta == cta; });
    return found->place.grid;
  };
  switch (agent.kind) {
    case Agent::Kind::tensor_core: {
      const auto next = std::upper_bound(first_warp_.begin(), first_warp_.end(), agent.owner);
      return of_cta(static_cast<int>(next - first_warp_.begin()) - 1);
    }
    case Agent::Kind::warpgroup:
      return grid_of({Agent::Kind::tensor_core, agent.owner * 4, 0});
    case Agent::Kind::loads:
      return of_cta(agent.owner);
    default:
      return threads_[index(agent.owner)].place.grid;
  }
}

/// Whoever uses an mbarrier must know that it was initialised.
void Checker::check_mbarrier(const Event& event, u32 offset, bool asynchronous) {
  const MbarrierState* barrier = find(event.cta, offset);
  if (barrier == nullptr || event.thread < 0) return;
  const Knowledge& knows = threads_[index(event.thread)].knows;
  const u32 by = static_cast<u32>(barrier->thread);
  const bool own = event.thread == barrier->thread;
  const bool visible = own || knows.seen.of(by) >= barrier->tick;
  const bool fenced = barrier->fenced != 0 && (own || knows.order.of(by) >= barrier->fenced);
  if (fenced || (visible && !asynchronous)) return;
  throw Error(ErrorCode::race,
              "emulator: race: " + thread_text(event.thread) + " uses the mbarrier at smem+" +
                  std::to_string(offset) + ", and nothing says that its initialisation by " +
                  thread_text(barrier->thread) + " comes before" +
                  (asynchronous ? " for the copy engine: fence_mbarrier_init by the thread that "
                                  "initialised it, then a barrier"
                                : ": a barrier after mbarrier_init, in a cluster with "
                                  "fence_mbarrier_init before it") +
                  "\n  at " + source_line(event.site));
}

void Checker::arrive(const Event& event, MbarrierState& barrier) {
  if (const auto copies = cp_async_arrivals_.find(event.operation);
      event.operation != 0 && copies != cp_async_arrivals_.end()) {
    // It speaks for the copies, not for what the thread has done besides.
    learn(barrier.arriving.near, agent(Agent::Kind::cp_async, event.thread), copies->second);
    return;
  }
  check_mbarrier(event, event.offset, false);
  if (threads_[index(event.thread)].place.cta == event.cta) {
    publish(event.thread, 1, barrier.arriving.near);
    return;
  }
  // A release at CTA scope says nothing to another CTA but that it has been executed.
  publish_order(event.thread, barrier.arriving.executed);
  if (event.scope != ptx::Scope::cta) publish(event.thread, 1, barrier.arriving.far);
}

void Checker::mbarrier_event(const Event& event) {
  if (event.kind == EventKind::mbarrier_init) {
    MbarrierState& barrier = mbarriers_[key_of(event.cta, event.offset)];
    barrier = {.loads = agent(Agent::Kind::loads, event.cta, event.offset),
               .thread = event.thread,
               .tick = threads_[index(event.thread)].tick};
    return;
  }
  MbarrierState* barrier = find(event.cta, event.offset);
  if (barrier == nullptr) return;
  switch (event.kind) {
    case EventKind::mbarrier_inval:
      mbarriers_.erase(key_of(event.cta, event.offset));
      break;
    case EventKind::mbarrier_expect:
      check_mbarrier(event, event.offset, false);
      break;
    case EventKind::mbarrier_arrive:
      arrive(event, *barrier);
      break;
    case EventKind::mbarrier_complete: {
      const u32 tick = static_cast<u32>(event.detail) + 1;
      MbarrierState::Phase& done = barrier->completed;
      done = std::move(barrier->arriving);
      barrier->arriving = {};
      learn(done.near, barrier->loads, tick);
      break;
    }
    case EventKind::mbarrier_observe:
      check_mbarrier(event, event.offset, false);
      // A wait for the phase before the first returns at once and has seen nothing.
      acquire(event.thread, barrier->completed.near);
      if (event.scope != ptx::Scope::cta) acquire(event.thread, barrier->completed.far);
      acquire_order(event.thread, barrier->completed.executed);
      waited(event);
      break;
    default:
      break;
  }
}

void Checker::barrier_event(const Event& event) {
  const bool cluster = event.kind == EventKind::cluster_barrier_arrive ||
                       event.kind == EventKind::cluster_barrier_complete ||
                       event.kind == EventKind::cluster_barrier_leave;
  const ThreadState& thread = threads_[index(event.thread)];
  BarrierState& barrier = barriers_[cluster ? key_of(thread.place.cluster, kClusterBarrier)
                                            : key_of(event.cta, event.offset)];
  switch (event.kind) {
    case EventKind::named_barrier_arrive:
      publish(first_lane(event.thread), 32, barrier.arriving);
      break;
    case EventKind::cluster_barrier_arrive:
      if (event.order != ptx::Order::relaxed)
        publish(event.thread, 1, barrier.arriving);
      else
        publish_order(event.thread, barrier.arriving.order);
      break;
    case EventKind::named_barrier_leave:
    case EventKind::cluster_barrier_leave:
      acquire(event.thread, barrier.completed);
      waited(event);
      break;
    default:
      barrier.completed = barrier.arriving;
      barrier.arriving = {};
      break;
  }
}

void Checker::tensor_core_event(const Event& event) {
  WarpState& warp = warps_[index(warp_of(event.thread))];
  if (event.kind == EventKind::wgmma_commit) {
    warp.group_ends.push_back(warp.wgmmas);
    return;
  }
  if (event.detail >= warp.group_ends.size()) return;
  const u32 end = warp.group_ends[warp.group_ends.size() - 1 - event.detail];
  learn(threads_[index(event.thread)].knows,
        static_cast<u32>(threads_.size()) + static_cast<u32>(warp_of(event.thread)), end);
}

/// A unit's operations are known to be complete.
void Checker::learn(Knowledge& knows, u32 agent, u32 tick) {
  const bool one = knows.order.same(knows.seen);
  knows.seen = knows.seen.with(agent, tick);
  knows.order = one ? knows.seen : knows.order.with(agent, tick);
}

void Checker::bulk_event(const Event& event) {
  ThreadState& thread = threads_[index(event.thread)];
  if (event.kind == EventKind::store_commit) {
    ++thread.bulk_groups;
    return;
  }
  if (event.detail >= thread.bulk_groups) return;
  const u32 done = thread.bulk_groups - static_cast<u32>(event.detail);
  learn(thread.knows, agent(Agent::Kind::bulk_reads, event.thread), done);
  if (event.kind == EventKind::store_wait_written)
    learn(thread.knows, agent(Agent::Kind::bulk_writes, event.thread), done);
}

void Checker::cp_async_event(const Event& event) {
  ThreadState& thread = threads_[index(event.thread)];
  if (event.kind == EventKind::cp_async_commit) {
    thread.cp_async_ends.push_back(thread.cp_asyncs);
  } else if (event.kind == EventKind::cp_async_arrive) {
    cp_async_arrivals_[event.operation] = thread.cp_asyncs;
  } else if (event.detail == ~u64{0}) {
    learn(thread.knows, agent(Agent::Kind::cp_async, event.thread), thread.cp_asyncs);
  } else if (event.detail < thread.cp_async_ends.size()) {
    learn(thread.knows, agent(Agent::Kind::cp_async, event.thread),
          thread.cp_async_ends[thread.cp_async_ends.size() - 1 - event.detail]);
  }
}

// ---- grids
// ------------------------------------------------------------------------------------------

void Checker::grid_event(const Event& event) {
  if (event.kind == EventKind::grid_complete) {
    // The end of a grid makes everything that it has done visible to everybody who knows of it.
    const auto is_next = [&](const GridPlace& g) {
      return g.before == static_cast<int>(event.detail);
    };
    if (std::none_of(layout_.grids.begin(), layout_.grids.end(), is_next)) return;  // nobody asks
    Knowledge& all = grids_[event.detail];
    const int grid = static_cast<int>(event.detail);
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      if (threads_[i].place.grid != grid) continue;
      publish(static_cast<int>(i), 1, all);
    }
    for (u32 i = static_cast<u32>(threads_.size()); i < agents_.size(); ++i) {
      if (grid_of(agents_[i]) != grid) continue;
      all.seen = all.seen.with(i, ~0u);
      all.order = all.order.with(i, ~0u);
    }
    all.async = Clock::join(all.async, all.seen);
    all.async_global = Clock::join(all.async_global, all.seen);
    return;
  }
  // What starts a grid is the end of all before it on its stream; of a dependent one, the start of
  // the one before.
  const auto inherit = [this](int thread, int before) {
    if (before >= 0) acquire(thread, grids_[index(before)]);
  };
  if (event.kind == EventKind::grid_dependency_wait) {
    const GridPlace& grid = layout_.grids[index(threads_[index(event.thread)].place.grid)];
    inherit(event.thread, grid.before);
    waited(event);
    return;
  }
  int before = static_cast<int>(event.detail);
  while (before >= 0 && layout_.grids[index(before)].dependent)
    before = layout_.grids[index(before)].before;
  if (before >= 0) before = layout_.grids[index(before)].before;
  for (; before >= 0; before = layout_.grids[index(before)].before)
    for (std::size_t i = 0; i < threads_.size(); ++i)
      if (threads_[i].place.grid == static_cast<int>(event.detail))
        inherit(static_cast<int>(i), before);
}

void Checker::on(const Event& event) {
  switch (event.kind) {
    case EventKind::warp_meet:
      if (event.detail == static_cast<u64>(Instruction::warp_sync)) synchronise_warp(event.thread);
      break;
    case EventKind::named_barrier_arrive:
    case EventKind::named_barrier_complete:
    case EventKind::named_barrier_leave:
    case EventKind::cluster_barrier_arrive:
    case EventKind::cluster_barrier_complete:
    case EventKind::cluster_barrier_leave:
      barrier_event(event);
      break;
    case EventKind::mbarrier_init:
    case EventKind::mbarrier_inval:
    case EventKind::mbarrier_expect:
    case EventKind::mbarrier_arrive:
    case EventKind::mbarrier_complete:
    case EventKind::mbarrier_observe:
      mbarrier_event(event);
      break;
    case EventKind::fence_mbarrier_init:
    case EventKind::fence_proxy_async:
      proxy_fence(event);
      break;
    case EventKind::load_issue:
    case EventKind::reduce_issue:
      check_mbarrier(event, static_cast<u32>(event.detail), true);
      break;
    case EventKind::store_commit:
    case EventKind::store_wait:
    case EventKind::store_wait_written:
      bulk_event(event);
      break;
    case EventKind::cp_async_commit:
    case EventKind::cp_async_wait:
    case EventKind::cp_async_arrive:
      cp_async_event(event);
      break;
    case EventKind::global_load:
    case EventKind::global_store:
    case EventKind::global_atomic:
      flag_event(event);
      break;
    case EventKind::fence:
      fence_event(event);
      break;
    case EventKind::tensormap_release:
    case EventKind::tensormap_acquire:
      tensor_map_event(event);
      break;
    case EventKind::wgmma_commit:
    case EventKind::wgmma_wait:
      tensor_core_event(event);
      break;
    case EventKind::grid_start:
    case EventKind::grid_complete:
    case EventKind::grid_dependency_wait:
      grid_event(event);
      break;
    default:
      break;
  }
}

}  // namespace kiln::emu
