// The walk over the tiles of a dense product: which one a CTA computes next. Every role of the
// kernel walks its own copy, since it is a pure function of the parameters and the CTA.
#pragma once

#include "device/ptx.hpp"
#include "device/tile_grid.hpp"

namespace kiln {

/// A CTA's tile: its first row and column. It may overhang [M, N], or lie wholly outside.
struct DenseTile {
  int m, n;
};

/// Nothing is shared by the warps of such a walk.
struct NoTileShared {
  DEV void init(int) {}
};

/// All tiles of a dense product. The CTAs of a cluster take neighbouring tiles along the axis that
/// does not belong to the operand they share, and always walk together: an odd last tile gets a
/// partner outside [M, N], whose loads are zeros and whose stores are clipped.
///
/// Cluster tiles are dealt to clusters in turn, in bands of `band` rows, down each column of a band
/// before the next column: what runs at the same time is a compact rectangle, so that its rows of A
/// and of B are read from the L2.
template <int kTileM, int kTileN, int kClusterM, int kClusterN>
class DenseTiles {
 public:
  DEV explicit DenseTiles(const TileGrid& grid)
      : grid_(grid),
        rank_(kCluster > 1 ? ptx::cluster_rank() : 0),
        next_(ptx::cta_idx() / kCluster),
        step_(ptx::num_ctas() / kCluster) {}

  DEV bool found() const { return next_ < grid_.tiles; }
  DEV DenseTile tile() const {
    const TileAt at = tile_at(grid_, next_);
    return {(at.row * kClusterM + (kClusterM > 1 ? rank_ : 0)) * kTileM,
            (at.column * kClusterN + (kClusterN > 1 ? rank_ : 0)) * kTileN};
  }
  DEV void look_ahead() {}
  DEV void advance() { next_ += step_; }

 private:
  static constexpr int kCluster = kClusterM * kClusterN;

  const TileGrid& grid_;  // the kernel's parameters
  const int rank_;
  int next_;
  const int step_;
};

}  // namespace kiln
