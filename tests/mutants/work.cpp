#include "tests/mutants/work.hpp"

#include <fmt/format.h>

namespace kiln::test {
namespace {

using emu::EventKind;

struct Kind {
  EventKind kind;
  const char* name;
};

/// What the plan decides.
constexpr Kind kKinds[] = {
    {EventKind::load_issue, "copies into a CTA"},
    {EventKind::store_issue, "copies of D"},
    {EventKind::store_commit, "groups of copies of D"},
    {EventKind::store_wait, "waits for copies of D"},
    {EventKind::wgmma_issue, "wgmmas of warpgroups"},
    {EventKind::wgmma_commit, "groups of wgmmas of warps"},
    {EventKind::wgmma_wait, "waits for wgmmas by threads"},
    {EventKind::mbarrier_init, "mbarriers"},
    {EventKind::mbarrier_arrive, "arrivals at mbarriers"},
    {EventKind::mbarrier_observe, "waits at mbarriers by threads"},
    {EventKind::named_barrier_arrive, "arrivals at barriers by warps"},
    {EventKind::cluster_barrier_arrive, "arrivals at cluster barriers by threads"},
    {EventKind::fence_mbarrier_init, "fences of initialised mbarriers"},
    {EventKind::fence_proxy_async, "proxy fences by threads"},
    {EventKind::registers, "changes of registers by warps"},
    {EventKind::grid_dependency_wait, "waits for the grid before"},
    {EventKind::grid_dependency_launch, "launches of the grid after"}};

/// The protocol in numbers. Of a launch, or of all tiles.
struct Counts {
  explicit Counts(const GemmLaunch& launch)
      : c(launch.plan.config),
        ctas(static_cast<std::uint64_t>(launch.plan.ctas)),
        tiles(static_cast<std::uint64_t>(launch.plan.clusters_m) *
              static_cast<std::uint64_t>(launch.plan.clusters_n) * cluster()),
        blocks(tiles * static_cast<std::uint64_t>(launch.params.k_blocks)),
        runs(tiles * static_cast<std::uint64_t>(ceil_div(launch.params.k_blocks, kScaleRun))) {}

  std::uint64_t cluster() const { return static_cast<std::uint64_t>(cluster_size(c)); }
  std::uint64_t warpgroups() const { return static_cast<std::uint64_t>(c.math_warpgroups); }
  std::uint64_t threads() const { return 128 * (warpgroups() + 1); }
  bool by_tma() const { return c.load == CopyPath::tma; }
  std::uint64_t operand_warps() const { return by_tma() ? 1 : 4; }
  bool scales_by_tma() const { return c.scales != ScaleCopy::plain; }
  std::uint64_t scale_warps() const { return scales_by_tma() ? 1 : 3; }
  std::uint64_t chains() const {  // of wgmmas
    return blocks * warpgroups() * static_cast<std::uint64_t>(waves(c));
  }
  std::uint64_t strips() const {
    return c.store == CopyPath::plain
               ? 0
               : tiles * warpgroups() * static_cast<std::uint64_t>(strips_per_warpgroup(c));
  }
  std::uint64_t rounds() const { return strips() / static_cast<std::uint64_t>(c.store_strips); }

  std::uint64_t copies() const {
    // A CTA of a cluster receives both halves of what it shares.
    const std::uint64_t of_scales =
        scales_by_tma() ? runs * static_cast<std::uint64_t>(a_scale_copies(c) + 1) : 0;
    return of_scales + (by_tma() ? blocks * (cluster() + 1) : 0);
  }
  std::uint64_t arrivals() const {
    const std::uint64_t math_warps = warpgroups() * 4;
    return blocks * operand_warps() + runs * scale_warps() + blocks * math_warps * cluster() +
           runs * math_warps;
  }
  std::uint64_t waits() const {
    const std::uint64_t math_threads = warpgroups() * 128;
    return (blocks * operand_warps() + runs * scale_warps()) * 32 + (blocks + runs) * math_threads;
  }
  std::uint64_t fences() const {
    return (by_tma() ? 0 : blocks * operand_warps() * 32) + rounds() * 128;
  }

  GemmConfig c;
  std::uint64_t ctas, tiles;
  std::uint64_t blocks;  // K blocks of all tiles
  std::uint64_t runs;    // of scales
};

}  // namespace

void Work::add(const GemmLaunch& launch) {
  const Counts n(launch);
  const std::uint64_t threads = n.threads() * n.ctas, warps = threads / 32;
  const bool is_cluster = n.cluster() > 1;
  of(EventKind::load_issue) += n.copies();
  of(EventKind::store_issue) += n.strips();
  of(EventKind::store_commit) += n.rounds();
  of(EventKind::store_wait) += n.rounds() + n.warpgroups() * n.ctas;
  of(EventKind::wgmma_issue) += n.chains() * 4;
  of(EventKind::wgmma_commit) += n.chains() * 4;
  of(EventKind::wgmma_wait) += n.chains() * 128;
  of(EventKind::mbarrier_init) +=
      n.ctas * 2 * static_cast<std::uint64_t>(n.c.stages + scale_runs(n.c));
  of(EventKind::mbarrier_arrive) += n.arrivals();
  of(EventKind::mbarrier_observe) += n.waits();
  of(EventKind::named_barrier_arrive) += (is_cluster ? 0 : warps) + n.rounds() * 2 * 4;
  of(EventKind::cluster_barrier_arrive) += is_cluster ? 2 * threads : 0;
  of(EventKind::fence_mbarrier_init) += n.ctas;
  of(EventKind::fence_proxy_async) += n.fences();
  of(EventKind::registers) += warps;
  of(EventKind::grid_dependency_wait) += threads;
  of(EventKind::grid_dependency_launch) += threads;
}

std::optional<std::string> Work::difference(const Work& actual) const {
  for (const Kind& kind : kKinds)
    if (of(kind.kind) != actual.of(kind.kind))
      return fmt::format("{} {}, wanted {}", actual.of(kind.kind), kind.name, of(kind.kind));
  return {};
}

}  // namespace kiln::test
