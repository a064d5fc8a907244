#include "runtime/emu/event.hpp"

#include "runtime/emu/random.hpp"

namespace kiln::emu {

void Statistics::count(const Event& event) {
  ++events;
  switch (event.kind) {
    case EventKind::wgmma_issue:
      ++wgmmas;
      break;
    case EventKind::load_issue:
      ++loads;
      load_bytes += event.bytes;
      break;
    case EventKind::store_issue:
      ++stores;
      store_bytes += event.bytes;
      break;
    case EventKind::grid_dependency_wait:
      ++grid_dependency_waits;
      break;
    case EventKind::grid_dependency_launch:
      ++grid_dependency_launches;
      break;
    default:
      break;
  }
  const auto mix = [this](std::uint64_t value) { trace = (trace ^ value) * 0x9E3779B97F4A7C15u; };
  mix(static_cast<std::uint64_t>(event.kind) | static_cast<std::uint64_t>(event.thread) << 8);
  mix(event.offset | static_cast<std::uint64_t>(event.cta) << 32);
  mix(event.bytes | event.operation << 32);
  mix(event.detail ^ static_cast<std::uint64_t>(event.order) << 60 ^
      static_cast<std::uint64_t>(event.scope) << 56);
  trace ^= trace >> 29;
}

void Statistics::add(const Statistics& other) {
  switches += other.switches;
  events += other.events;
  wgmmas += other.wgmmas;
  loads += other.loads;
  load_bytes += other.load_bytes;
  stores += other.stores;
  store_bytes += other.store_bytes;
  grid_dependency_waits += other.grid_dependency_waits;
  grid_dependency_launches += other.grid_dependency_launches;
  trace = stir(trace ^ other.trace);
}

}  // namespace kiln::emu
