#include "runtime/emu/clock.hpp"

#include <algorithm>

namespace kiln::emu {

Clock Clock::with(u32 first, const u32* ticks, u32 count) const {
  bool known = true;
  for (u32 i = 0; i < count; ++i) known = known && of(first + i) >= ticks[i];
  if (known) return *this;
  const Shared node(new Node);
  node->ticks.reserve(
      std::max<std::size_t>(first + count, node_ == nullptr ? 0 : node_->ticks.size()));
  if (node_ != nullptr) node->ticks = node_->ticks;
  if (node->ticks.size() < first + count) node->ticks.resize(first + count);
  for (u32 i = 0; i < count; ++i) {
    u32& tick = node->ticks[first + i];
    tick = std::max(tick, ticks[i]);
  }
  return holding(node);
}

Clock Clock::join(const Clock& a, const Clock& b) {
  if (b.node_ == nullptr || a.node_ == b.node_) return a;
  if (a.node_ == nullptr) return b;
  const std::vector<u32>&x = a.node_->ticks, &y = b.node_->ticks;
  const std::size_t common = std::min(x.size(), y.size());
  unsigned x_more = x.size() > common, y_more = y.size() > common;
  for (std::size_t i = 0; i < common; ++i) {
    x_more |= x[i] > y[i];
    y_more |= y[i] > x[i];
  }
  if (y_more == 0) return a;
  if (x_more == 0) return b;
  const Shared node(new Node);
  node->ticks = x.size() >= y.size() ? x : y;
  for (std::size_t i = 0; i < common; ++i) node->ticks[i] = std::max(x[i], y[i]);
  return holding(node);
}

Clock Clock::meet(const Clock& a, const Clock& b) {
  if (a.node_ == b.node_) return a;
  if (a.node_ == nullptr || b.node_ == nullptr) return {};
  const std::vector<u32>&x = a.node_->ticks, &y = b.node_->ticks;
  const Shared node(new Node);
  node->ticks.resize(std::min(x.size(), y.size()));
  for (std::size_t i = 0; i < node->ticks.size(); ++i) node->ticks[i] = std::min(x[i], y[i]);
  return holding(node);
}

}  // namespace kiln::emu
