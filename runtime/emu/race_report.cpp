// What the checker says: the two accesses, who made them, and what would have ordered them.
#include <fmt/format.h>

#include "kiln/error.hpp"
#include "runtime/emu/checker.hpp"
#include "runtime/emu/source_lines.hpp"

namespace kiln::emu {

u32 Checker::site(const void* code) {
  auto& last = last_sites_[reinterpret_cast<u64>(code) % std::size(last_sites_)];
  if (last.first == code && code != nullptr) return last.second;
  const auto [entry, is_new] = site_numbers_.try_emplace(code, static_cast<u32>(sites_.size()));
  if (is_new) sites_.push_back(code);
  last = {code, entry->second};
  return entry->second;
}

std::string Checker::thread_text(int thread) const {
  const ThreadPlace& place = threads_[index(thread)].place;
  const std::string grid =
      layout_.grids.size() > 1 ? fmt::format("grid {} ", place.grid) : std::string();
  return fmt::format("{}CTA {} warp {} lane {}", grid, place.cta_index, place.warp, place.lane);
}

std::string Checker::place_text(const Access& access, u64 address, u32 bytes) const {
  if (access.cta < 0) return fmt::format("{} bytes of memory at {:#x}", bytes, address);
  std::string text = fmt::format("{} bytes at smem+{}", bytes, address);
  const int own = threads_[index(access.thread)].place.cta;
  if (access.cta != own)
    for (const ThreadState& thread : threads_)
      if (thread.place.cta == access.cta)
        return text + fmt::format(" of CTA {}", thread.place.cta_index);
  return text;
}

std::string Checker::earlier_text(const Record& record) const {
  const char* verb = record.atomic() ? "updated" : record.writes() ? "written" : "read";
  if (record.run != run_)
    return fmt::format("{} by the cluster of CTA {}, which runs at the same time", verb,
                       past_runs_[record.run - 1]);
  const Agent& agent = agents_[record.agent];
  switch (agent.kind) {
    case Agent::Kind::thread:
      return fmt::format("{} by {}", verb, thread_text(agent.owner));
    case Agent::Kind::warpgroup:
    case Agent::Kind::tensor_core: {
      int warp = agent.kind == Agent::Kind::warpgroup ? agent.owner * 4 : agent.owner;
      for (std::size_t i = 0; i < threads_.size(); ++i)
        if (warp_of(static_cast<int>(i)) == warp)
          return fmt::format("{} by the tensor core, wgmma {} of the warpgroup of {}", verb,
                             record.tick - 1, thread_text(static_cast<int>(i)));
      return verb;
    }
    case Agent::Kind::loads:
      return fmt::format("{} by a copy that counts in phase {} of the mbarrier at smem+{}", verb,
                         record.tick - 1, agent.offset);
    case Agent::Kind::cp_async:
      return fmt::format("{} by cp_async {} of {}", verb, record.tick - 1,
                         thread_text(agent.owner));
    case Agent::Kind::bulk_reads:
    case Agent::Kind::bulk_writes:
      return fmt::format("{} by a copy in bulk group {} of {}", verb, record.tick - 1,
                         thread_text(agent.owner));
  }
  return verb;
}

std::string Checker::wait_text(int thread) const {
  const LastWait& wait = threads_[index(thread)].last_wait;
  const std::string who = thread_text(thread);
  std::string what;
  switch (wait.kind) {
    case EventKind::mbarrier_observe:
      what = wait.detail == ~u64{0} ? std::string("the phase before the first")
                                    : fmt::format("phase {}", wait.detail);
      what += fmt::format(" of the mbarrier at smem+{}", wait.offset);
      break;
    case EventKind::named_barrier_leave:
      what = fmt::format("named barrier {}", wait.offset);
      break;
    case EventKind::cluster_barrier_leave:
      what = "the cluster's barrier";
      break;
    case EventKind::global_load:
    case EventKind::global_atomic:
      what = fmt::format("the flag at {:#x}", wait.detail);
      break;
    case EventKind::grid_dependency_wait:
      what = "the grid before it";
      break;
    default:
      return who + " has waited for nothing yet";
  }
  return fmt::format("{} waited last for {}: {}", who, what, source_line(wait.site));
}

/// What a kernel author would add, in the case at hand.
std::string Checker::advice(const Record& earlier, const Access& later, bool fence_missing) const {
  if (fence_missing)
    return std::string(later.cta < 0 ? "fence_proxy_async_global" : "fence_proxy_async") +
           " by the thread that wrote, before the barrier between them: what ordinary stores "
           "write, copies and tensor cores see only then";
  if (earlier.atomic() && later.atomic)
    return "a scope that includes both: atomic operations are atomic only among the threads of "
           "their scopes";
  if (earlier.run != run_) return "nothing can: clusters of a launch run in any order";
  switch (agents_[earlier.agent].kind) {
    case Agent::Kind::warpgroup:
    case Agent::Kind::tensor_core:
      return "wgmma_wait in each warp of the warpgroup, then an arrival of each at a barrier for "
             "which the later one waits";
    case Agent::Kind::loads:
      return "waiting for the phase of the mbarrier in which the copy is counted";
    case Agent::Kind::cp_async:
      return "a wait for its copies by the thread that started them, or an mbarrier at which they "
             "arrive, and fence_proxy_async before a copy or a tensor core";
    case Agent::Kind::bulk_reads:
      return "tma_store_wait_read by the thread that started the copy, then a barrier";
    case Agent::Kind::bulk_writes:
      return "a wait for the writes of its bulk groups by the thread that started the copy, then a "
             "barrier or a flag";
    default:
      break;
  }
  if (later.cta < 0) return "a barrier or a release and an acquire between the two threads";
  return "a barrier, or an arrival after the first and a wait before the second";
}

void Checker::report_race(const Record& earlier, const Access& later, u64 address, u32 bytes,
                          bool fence_missing) {
  const char* verb = later.atomic ? "updates" : later.write ? "writes" : "reads";
  const char* by = later.by == Accessor::thread        ? ""
                   : later.by == Accessor::tensor_core ? " (the tensor core, for it)"
                                                       : " (a copy, for it)";
  throw Error(
      ErrorCode::race,
      fmt::format("emulator: race: {}{} {} {}, with nothing to order it after an earlier access\n"
                  "  first:  {}: {}\n"
                  "  second: {}\n"
                  "  wanted: {}\n"
                  "  {}",
                  thread_text(later.thread), by, verb, place_text(later, address, bytes),
                  earlier_text(earlier), source_line(sites_[earlier.site]), source_line(later.site),
                  advice(earlier, later, fence_missing), wait_text(later.thread)));
}

}  // namespace kiln::emu
