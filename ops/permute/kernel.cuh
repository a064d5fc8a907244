// Slots of tokens to rows by expert, in the order of the slots: mapped (ops/permute/map.cuh), then
// copied or moved (ops/permute/move.cuh).
#include "ops/permute/map.cuh"
#include "ops/permute/move.cuh"

namespace kiln {

template <PermuteConfig C>
struct Permute {
  using Params = PermuteParams;
  static constexpr int kThreads = threads(C);
  static constexpr int kCtasPerSm = ctas_per_sm(C);
  static_assert(C.step != PermuteStep::map || sizeof(PermuteMap::Smem) == smem_bytes(C));
  static_assert(C.step != PermuteStep::copy || sizeof(PermuteMove::CopySmem) == smem_bytes(C));

  DEV static void run(const Params& p) {
    if constexpr (C.step == PermuteStep::copy) {
      PermuteMove::copy(p, ptx::shared<PermuteMove::CopySmem>());
    } else {
      ptx::grid_dependency_wait();
      ptx::grid_dependency_launch();
      if constexpr (C.step == PermuteStep::move)
        PermuteMove::move(p);
      else
        PermuteMap::map(p, ptx::shared<PermuteMap::Smem>());
    }
  }
};

}  // namespace kiln
