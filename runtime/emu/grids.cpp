// Grids of a run: when each starts, when it is complete, and griddepcontrol between them.
#include "runtime/emu/engine.hpp"

namespace kiln::emu {

void Engine::start(Grid& grid) {
  grid.started = true;
  for (int i = 0; i < thread_count_; ++i) {
    Thread& thread = *threads_[static_cast<std::size_t>(i)];
    if (thread.cta->cluster->grid == &grid) wake(thread);
  }
  emit({.kind = EventKind::grid_start, .detail = static_cast<std::uint64_t>(grid.index)});
}

void Engine::start_what_may() {
  for (Grid& grid : grids_) {
    if (grid.started) continue;
    const Grid* before = grid.before;
    if (grid.dependent && before != nullptr && before->started && before->not_allowing == 0)
      before = nullptr;
    // The one before may have completed without having waited for those before it.
    while (before != nullptr && before->completed()) before = before->before;
    if (before == nullptr) start(grid);
  }
}

/// Called when a thread of `grid` has exited, or an operation of it completed.
void Engine::settle(Grid& grid) {
  if (!grid.completed()) return;
  emit({.kind = EventKind::grid_complete, .detail = static_cast<std::uint64_t>(grid.index)});
  wake_all(grid.waiters);
  start_what_may();
}

namespace {

class GridWait final : public Waiting {
 public:
  explicit GridWait(const Grid& grid) : grid_(grid) {}
  std::string text() const override {
    return "grid_dependency_wait: " + std::to_string(grid_.alive) +
           " threads of the grid before it have not exited";
  }

 private:
  const Grid& grid_;
};

}  // namespace

void Engine::wait_for_grid_before() {
  Grid* before = current_->cta->cluster->grid->before;
  if (before != nullptr && !before->completed()) {
    before->waiters.push_back(current_);
    block(GridWait(*before));
  }
  emit({.kind = EventKind::grid_dependency_wait,
        .thread = current_->index,
        .cta = current_->cta->number});
}

void Engine::allow_next_grid() {
  Cta& cta = *current_->cta;
  emit({.kind = EventKind::grid_dependency_launch, .thread = current_->index, .cta = cta.number});
  allow_next_grid(cta);
}

/// As far as `cta` is concerned: it has said so, or exited.
void Engine::allow_next_grid(Cta& cta) {
  if (cta.allows_next_grid) return;
  cta.allows_next_grid = true;
  if (--cta.cluster->grid->not_allowing == 0) start_what_may();
}

}  // namespace kiln::emu
