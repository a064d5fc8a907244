// Synchronisation through memory: flags and their scopes, fences, tensor maps that kernels change.
#include "device/ptx/emu/abi.hpp"
#include "kiln/error.hpp"
#include "runtime/emu/checker.hpp"
#include "runtime/emu/source_lines.hpp"

namespace kiln::emu {

// ---- flags in global memory
// -------------------------------------------------------------------------

/// Is `other` one of the threads that `scope` means when `thread` says it?
bool Checker::includes(ptx::Scope scope, int thread, int other) const {
  const ThreadPlace &a = threads_[index(thread)].place, &b = threads_[index(other)].place;
  switch (scope) {
    case ptx::Scope::cta:
      return a.cta == b.cta;
    case ptx::Scope::cluster:
      return a.cluster == b.cluster;
    case ptx::Scope::gpu:
      return a.device == b.device;
    case ptx::Scope::sys:
      return true;
  }
  return false;
}

/// PTX #memory-consistency-model-morally-strong-operations: each scope must include the other.
bool Checker::morally_strong(int a, ptx::Scope scope_of_a, int b, ptx::Scope scope_of_b) const {
  return includes(scope_of_a, a, b) && includes(scope_of_b, b, a);
}

void Checker::acquire(int thread, const Release& release, ptx::Scope scope) {
  if (morally_strong(thread, scope, release.thread, release.scope))
    acquire(thread, release.knowledge);
}

/// What a thread releases later has all that it released before: of each scope one is enough.
void Checker::add(std::vector<Release>& to, const Release& release) {
  for (Release& old : to) {
    if (old.thread != release.thread || old.scope != release.scope) continue;
    join(old.knowledge, release.knowledge);
    return;
  }
  to.push_back(release);
}

void Checker::flag_event(const Event& event) {
  using ptx::Order;
  ThreadState& thread = threads_[index(event.thread)];
  Flag& flag = flags_[event.detail];
  const bool strong = event.order == Order::acq_rel || event.order == Order::sc;
  // PTX #memory-consistency-model-observation-order: what is read has been written for this reader
  // only if the two accesses are morally strong.
  const bool observes =
      flag.writer < 0 || morally_strong(flag.writer, flag.scope, event.thread, event.scope);
  if (event.kind != EventKind::global_store) {
    if (strong || event.order == Order::acquire) {
      if (observes)
        for (const Release& release : flag.releases) acquire(event.thread, release, event.scope);
      thread.last_wait = {event.kind, -1, 0, event.detail, event.site};
    }
    // What a relaxed load has seen, the thread's next fence acquires.
    if (observes)
      for (const Release& release : flag.releases) add(thread.seen, release);
  }
  if (event.kind == EventKind::global_load) return;
  // A store starts anew, but for releases of its own thread; a read-modify-write goes on with what
  // the flag said before. PTX #memory-consistency-model-release-acquire-patterns
  if (event.kind == EventKind::global_store || !observes)
    std::erase_if(flag.releases, [&](const Release& old) { return old.thread != event.thread; });
  flag.writer = event.thread;
  flag.scope = event.scope;
  if (strong || event.order == Order::release) {
    Release release = {event.thread, event.scope, {}};
    publish(event.thread, 1, release.knowledge);
    add(flag.releases, release);
  }
  for (const Release& release : thread.fenced) add(flag.releases, release);
}

/// A fence makes the thread's relaxed stores after it releases, and the relaxed loads before it
/// acquires.
void Checker::fence_event(const Event& event) {
  ThreadState& thread = threads_[index(event.thread)];
  for (const Release& release : thread.seen) acquire(event.thread, release, event.scope);
  thread.seen.clear();
  Release release = {event.thread, event.scope, {}};
  publish(event.thread, 1, release.knowledge);
  std::erase_if(thread.fenced, [&](const Release& old) { return old.scope <= event.scope; });
  thread.fenced.push_back(std::move(release));
}

/// PTX #parallel-synchronization-and-communication-instructions-membar: fence.proxy.async of shared
/// memory, of global memory or of both; fence.mbarrier_init.
void Checker::proxy_fence(const Event& event) {
  ThreadState& thread = threads_[index(event.thread)];
  const bool proxies = event.kind == EventKind::fence_proxy_async;
  const bool shared = !proxies || event.detail != static_cast<u64>(AsyncFence::global);
  const bool global = proxies && event.detail != static_cast<u64>(AsyncFence::shared_cta);
  for (auto& [key, barrier] : mbarriers_)
    if (shared && barrier.thread == event.thread && barrier.fenced == 0)
      barrier.fenced = thread.tick;
  const u32 self = static_cast<u32>(event.thread);
  Knowledge& knows = thread.knows;
  if (proxies && shared)
    knows.async = async_memo_.join(knows.async, knows.seen).with(self, thread.tick);
  if (global)
    knows.async_global =
        async_global_memo_.join(knows.async_global, knows.seen).with(self, thread.tick);
  ++thread.tick;
}

// ---- tensor maps that kernels change
// ----------------------------------------------------------------

/// PTX #parallel-synchronization-and-communication-instructions-tensormap-cp-fenceproxy
void Checker::tensor_map_event(const Event& event) {
  ThreadState& thread = threads_[index(event.thread)];
  if (event.kind == EventKind::tensormap_release) {
    // All lanes execute it: it comes before what any of them does next.
    const int first = first_lane(event.thread);
    Knowledge all;
    publish(event.thread, 1, all);
    ChangedMap map = {first, {}, {}};
    for (int lane = 0; lane < 32; ++lane) {
      acquire(first + lane, all);
      map.ticks[index(lane)] = threads_[index(first + lane)].tick;
    }
    changed_maps_[event.detail] = std::move(map);
    return;
  }
  const auto changed = changed_maps_.find(event.detail);
  if (changed == changed_maps_.end()) return;
  ChangedMap& map = changed->second;
  if (knows(event.thread, map)) map.acquired.emplace_back(event.thread, thread.tick);
  ++thread.tick;
}

bool Checker::knows(int thread, const ChangedMap& map) const {
  if (first_lane(thread) == map.thread) return true;
  const Clock& seen = threads_[index(thread)].knows.seen;
  for (u32 lane = 0; lane < 32; ++lane)
    if (seen.of(static_cast<u32>(map.thread) + lane) >= map.ticks[lane]) return true;
  return false;
}

void Checker::check_tensor_map(const Access& access) {
  const auto changed = changed_maps_.find(access.ranges.front().address);
  if (changed == changed_maps_.end()) return;
  const Knowledge& knows = threads_[index(access.thread)].knows;
  for (const auto& [thread, tick] : changed->second.acquired)
    if (thread == access.thread || knows.seen.of(static_cast<u32>(thread)) >= tick) return;
  throw Error(ErrorCode::race,
              "emulator: race: " + thread_text(access.thread) +
                  " starts a copy by a tensor map that " + thread_text(changed->second.thread) +
                  " has changed, with nothing to make the change visible: wanted "
                  "fence_proxy_tensormap_acquire after an acquire of the change\n  at " +
                  source_line(access.site));
}

}  // namespace kiln::emu
