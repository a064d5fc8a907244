#include "runtime/emu/tensor_core.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "arith/plain_dots.hpp"
#include "runtime/emu/engine.hpp"
#include "runtime/emu/tensor_map.hpp"

namespace kiln::emu {
namespace {

constexpr int kRows = 64;
constexpr int kStepBytes = kMmaStepE4m3;  // of one row of an operand
constexpr u32 kRowBytes = 128, kAtomBytes = 1024;
constexpr u32 kPoison = 0xFFFFFFFF;  // a NaN

/// Row and column of register `i` of thread `thread` of a warpgroup.
/// PTX #asynchronous-warpgroup-level-matrix-register-fragment-wgmma-64n32
constexpr int row_of(int thread, int i) { return thread / 32 * 16 + thread % 32 / 4 + (i & 2) * 4; }
constexpr int column_of(int thread, int i) { return i / 4 * 8 + thread % 4 * 2 + (i & 1); }

bool same(const WgmmaOperands& x, const WgmmaOperands& y) {
  return x.n == y.n && x.a == y.a && x.b == y.b && x.accumulate == y.accumulate;
}

int thread_in_warpgroup(const Warp& warp, int lane) { return warp.index % 4 * 32 + lane; }

}  // namespace

class TensorCore::Wait final : public Waiting {
 public:
  Wait(const Warpgroup& group, std::uint64_t end) : group_(group), end_(end) {}
  std::string text() const override {
    std::string text = "wgmma_wait: the warpgroup has executed " + std::to_string(group_.executed) +
                       " of " + std::to_string(end_) + " wgmmas; its warps have issued";
    for (int i = 0; i < 4; ++i)
      text += (i == 0 ? " " : ", ") + std::to_string(group_.warps[static_cast<u32>(i)].issued);
    return text;
  }

 private:
  const Warpgroup& group_;
  const std::uint64_t end_;
};

u32 OperandTile::chunk_address(int row, int chunk) const {
  const u32 address = start + static_cast<u32>(row / 8) * stride +
                      static_cast<u32>(row % 8) * kRowBytes + static_cast<u32>(chunk) * 16;
  return swizzled_address(address, kRowBytes);
}

const E4m3Columns& DecodedColumns::get(u32 address, const u8* bytes, int columns) {
  // K steps are 32 bytes apart and tiles multiples of 1024: both must tell entries apart.
  const u32 step = address / kStepBytes % 4, tile = address / kAtomBytes * 0x9E3779B9u >> 28;
  Entry& entry = entries_[(step + tile * 4) % entries_.size()];
  const std::size_t size = static_cast<std::size_t>(columns) * kStepBytes;
  if (entry.bytes.size() != size || std::memcmp(entry.bytes.data(), bytes, size) != 0) {
    entry.bytes.assign(bytes, bytes + size);
    entry.columns.decode(bytes, kStepBytes, columns);
  }
  return entry.columns;
}

void TensorCore::reset() {
  warpgroups_.clear();
  warpgroups_.resize((cta_.warps.size() + 3) / 4);
}

TensorCore::Warpgroup& TensorCore::warpgroup_of(const Warp& warp) {
  return warpgroups_[static_cast<std::size_t>(warp.index) / 4];
}

void TensorCore::fence(const Warp& warp) {
  warpgroup_of(warp).warps[static_cast<u32>(warp.index) % 4].fenced = true;
  engine_.emit(
      {.kind = EventKind::wgmma_fence, .thread = engine_.current()->index, .cta = cta_.rank});
}

OperandTile TensorCore::checked_tile(u64 descriptor, int rows, const char* operand) const {
  const std::string name = std::string("wgmma_e4m3: the descriptor of ") + operand;
  if (descriptor >> 62 != 1)
    engine_.fail(name + " has swizzle code " + std::to_string(descriptor >> 62) +
                 "; only 1, the 128-byte swizzle, is emulated");
  if ((descriptor >> 49 & 7) != 0)
    engine_.fail(name + " has base offset " + std::to_string(descriptor >> 49 & 7) +
                 "; only 0 is emulated: align the tile to 1024 bytes");
  const OperandTile tile = {static_cast<u32>(descriptor & 0x3FFF) << 4,
                            static_cast<u32>(descriptor >> 32 & 0x3FFF) << 4};
  if (tile.start % kStepBytes != 0 || tile.start % kAtomBytes >= kRowBytes)
    engine_.fail(name + " starts at smem+" + std::to_string(tile.start - kSharedBase) +
                 ": wanted a tile aligned to 1024 bytes, and a K step of 0, 32, 64 or 96 bytes");
  if (tile.stride % kAtomBytes != 0 || (tile.stride == 0 && rows > 8))
    engine_.fail(name + " has a stride of " + std::to_string(tile.stride) +
                 " bytes between 8-row atoms, wanted a multiple of 1024");
  const u64 end =
      u64{tile.start} / kRowBytes * kRowBytes + u64{tile.stride} * (rows / 8 - 1) + kAtomBytes;
  if (tile.start < kSharedBase || end > kSharedBase + cta_.shared.bytes())
    engine_.fail(name + " covers " + std::to_string(end - tile.start) + " bytes from smem+" +
                 std::to_string(i64{tile.start} - i64{kSharedBase}) + ", and the CTA has " +
                 std::to_string(cta_.shared.bytes()));
  return tile;
}

TensorCore::Multiplication TensorCore::new_multiplication(Warpgroup& group, const Warp& warp) {
  const WgmmaOperands& operands = warp.operands_of<WgmmaOperands>(0);
  if (operands.n % 8 != 0 || operands.n < 8 || operands.n > 256)
    engine_.fail("wgmma_e4m3: N is a multiple of 8 up to 256, got " + std::to_string(operands.n));
  const std::uint64_t committed = group.warps[static_cast<u32>(warp.index) % 4].committed;
  return {operands, checked_tile(operands.a, kRows, "A"), checked_tile(operands.b, operands.n, "B"),
          committed,
          find_accumulators(group, thread_in_warpgroup(warp, 0), operands.d, operands.n)};
}

/// The accumulators that hold the registers `d` of a thread, or a free set for them.
std::size_t TensorCore::find_accumulators(Warpgroup& group, int thread, const float* d, int n) {
  std::size_t free = group.accumulators.size();
  for (std::size_t i = 0; i < group.accumulators.size(); ++i) {
    const Accumulators& set = group.accumulators[i];
    if (set.d[static_cast<std::size_t>(thread)] == d && set.n == n) return i;
    if (set.lent == 0) free = i;
  }
  if (free == group.accumulators.size()) group.accumulators.emplace_back();
  Accumulators& set = group.accumulators[free];
  set.n = n;
  set.matrix.resize(std::size_t{kRows} * static_cast<unsigned>(n));
  return free;
}

void TensorCore::check_overlap(const Warpgroup& group, int thread, const float* d, int n) const {
  for (const Accumulators& set : group.accumulators) {
    const float* lent = set.d[static_cast<std::size_t>(thread)];
    if (lent != nullptr && lent < d + n / 2 && d < lent + set.n / 2)
      engine_.fail("wgmma_e4m3: its accumulators overlap those of a wgmma in flight");
  }
}

void TensorCore::issue(const Warp& warp) {
  Warpgroup& group = warpgroup_of(warp);
  WarpState& state = group.warps[static_cast<u32>(warp.index) % 4];
  const WgmmaOperands& operands = warp.operands_of<WgmmaOperands>(0);
  for (int lane = 1; lane < 32; ++lane)
    if (!same(warp.operands_of<WgmmaOperands>(lane), operands))
      engine_.fail("wgmma_e4m3: lanes 0 and " + std::to_string(lane) +
                   " of a warp have different descriptors or shapes");
  if (static_cast<std::size_t>(warp.index) / 4 * 4 + 4 > cta_.warps.size())
    engine_.fail("wgmma_e4m3: its warpgroup has fewer than four warps");

  const std::uint64_t number = state.issued++;
  if (number == group.executed + group.queue.size())
    group.queue.push_back(new_multiplication(group, warp));
  Multiplication& multiplication = group.queue[number - group.executed];
  if (!same(multiplication.operands, operands) || multiplication.group != state.committed)
    engine_.fail("wgmma_e4m3: the warps of a warpgroup issue different instructions as number " +
                 std::to_string(number) + " (descriptors, shape, accumulate or group differ)");
  lend(group, multiplication, warp);
  group.accumulators[multiplication.accumulators].last_use[static_cast<u32>(warp.index) % 4] =
      number;
  multiplication.warps |= 1u << warp.index % 4;
  if (multiplication.warps != 0xF) return;
  engine_.emit({.kind = EventKind::wgmma_issue,
                .thread = engine_.current()->index,
                .cta = cta_.rank,
                .offset = multiplication.a.start - kSharedBase,
                .bytes = static_cast<u32>(operands.n),
                .detail = multiplication.b.start - kSharedBase,
                .operation = number});
  engine_.start_operation(Unit::tensor_core, static_cast<u32>(warp.index) / 4, &cta_);
}

/// Moves the warp's accumulators into the tensor core, unless they are there already.
void TensorCore::lend(Warpgroup& group, const Multiplication& multiplication, const Warp& warp) {
  Accumulators& set = group.accumulators[multiplication.accumulators];
  const bool fenced = group.warps[static_cast<u32>(warp.index) % 4].fenced;
  for (int lane = 0; lane < 32; ++lane) {
    const int thread = thread_in_warpgroup(warp, lane);
    float* d = warp.operands_of<WgmmaOperands>(lane).d;
    float*& lent = set.d[static_cast<std::size_t>(thread)];
    if (lent == d) continue;
    if (lent != nullptr)
      engine_.fail("wgmma_e4m3: the warps of a warpgroup name different accumulators");
    check_overlap(group, thread, d, set.n);
    if (!fenced)
      engine_.fail(
          "wgmma_e4m3: no wgmma_fence since its accumulators were last ordinary registers");
    for (int i = 0; i < set.n / 2; ++i) {
      if (multiplication.operands.accumulate)
        set.at(row_of(thread, i), column_of(thread, i)) = d[i];
      std::memcpy(&d[i], &kPoison, sizeof kPoison);
    }
    lent = d;
    ++set.lent;
  }
}

void TensorCore::commit(const Warp& warp) {
  Warpgroup& group = warpgroup_of(warp);
  WarpState& state = group.warps[static_cast<u32>(warp.index) % 4];
  const std::uint64_t number = state.committed++;
  if (number == group.group_ends.size()) group.group_ends.push_back(state.issued);
  if (group.group_ends[number] != state.issued)
    engine_.fail("wgmma_commit: the warps of a warpgroup close group " + std::to_string(number) +
                 " after different numbers of wgmmas");
  engine_.emit({.kind = EventKind::wgmma_commit,
                .thread = engine_.current()->index,
                .cta = cta_.rank,
                .detail = number});
}

std::uint64_t TensorCore::end_of_group(const Warpgroup& group, const WarpState& warp,
                                       int pending) const {
  const std::uint64_t kept = static_cast<std::uint64_t>(pending);
  return warp.committed <= kept ? 0 : group.group_ends[warp.committed - kept - 1];
}

void TensorCore::begin_wait(const Warp& warp) {
  // From here on the registers it hands back may be touched.
  warpgroup_of(warp).warps[static_cast<u32>(warp.index) % 4].fenced = false;
}

void TensorCore::wait(float* d, int registers, int pending) {
  Thread& self = *engine_.current();
  Warpgroup& group = warpgroup_of(*self.warp);
  const WarpState& state = group.warps[static_cast<u32>(self.warp->index) % 4];
  const std::uint64_t end = end_of_group(group, state, pending);
  if (group.executed < end) {
    group.waiters.push_back({&self, end});
    engine_.block(Wait(group, end));
  }
  engine_.emit({.kind = EventKind::wgmma_wait,
                .thread = self.index,
                .cta = cta_.rank,
                .detail = static_cast<std::uint64_t>(pending)});
  const int thread = thread_in_warpgroup(*self.warp, self.lane);
  for (Accumulators& set : group.accumulators) {
    float*& lent = set.d[static_cast<std::size_t>(thread)];
    if (lent != d || set.last_use[static_cast<u32>(self.warp->index) % 4] >= end) continue;
    if (set.n / 2 != registers)
      engine_.fail("wgmma_wait: names " + std::to_string(registers) + " registers, the wgmma had " +
                   std::to_string(set.n / 2));
    for (int i = 0; i < registers; ++i) {
      if (std::bit_cast<u32>(d[i]) != kPoison)
        engine_.fail("wgmma_wait: accumulator register " + std::to_string(i) +
                     " was written while the wgmma was in flight");
      d[i] = set.at(row_of(thread, i), column_of(thread, i));
    }
    lent = nullptr;
    --set.lent;
  }
}

void TensorCore::gather(const OperandTile& tile, int rows, u8* bytes) const {
  for (int row = 0; row < rows; ++row)
    for (int chunk = 0; chunk < kStepBytes / 16; ++chunk, bytes += 16)
      std::memcpy(bytes, cta_.shared.data() + (tile.chunk_address(row, chunk) - kSharedBase), 16);
}

void TensorCore::form_sums(const Multiplication& next, Accumulators& set) {
  if (!next.operands.accumulate) std::fill(set.matrix.begin(), set.matrix.end(), 0.0f);
  const Emulation::Arithmetic arithmetic = engine_.job().arithmetic;
  if (arithmetic == Emulation::Arithmetic::none) return;
  u8 a[kRows * kStepBytes], b[256 * kStepBytes];
  gather(next.a, kRows, a);
  gather(next.b, set.n, b);
  if (arithmetic == Emulation::Arithmetic::fast) {
    add_plain_dots(set.matrix.data(), kRows, set.n, a, b);
    return;
  }
  const E4m3Columns& columns = engine_.decoded_columns().get(next.b.start, b, set.n);
  for (int row = 0; row < kRows; ++row)
    mma_e4m3_row(set.matrix.data() + row * set.n, a + row * kStepBytes, columns);
}

void TensorCore::advance(u32 warpgroup) {
  Warpgroup& group = warpgroups_[warpgroup];
  const Multiplication& next = group.queue.front();
  Accumulators& set = group.accumulators[next.accumulators];
  form_sums(next, set);
  engine_.emit({.kind = EventKind::wgmma_execute,
                .cta = cta_.rank,
                .offset = next.a.start - kSharedBase,
                .bytes = static_cast<u32>(set.n),
                .detail = next.b.start - kSharedBase,
                .operation = group.executed});
  ++group.executed;
  group.queue.pop_front();
  std::erase_if(group.waiters, [&](const Waiter& waiter) {
    if (waiter.end > group.executed) return false;
    engine_.wake(*waiter.thread);
    return true;
  });
}

void TensorCore::check_exit(const Thread& thread) const {
  const Warpgroup& group = warpgroups_[static_cast<std::size_t>(thread.warp->index) / 4];
  const WarpState& state = group.warps[static_cast<u32>(thread.warp->index) % 4];
  const std::uint64_t committed = state.committed == 0 ? 0 : group.group_ends[state.committed - 1];
  if (state.issued != committed)
    engine_.fail("exits with wgmmas that no wgmma_commit has closed into a group");
  if (group.executed < committed)
    engine_.fail("exits while its wgmmas may be in flight: wgmma_wait is missing");
}

}  // namespace kiln::emu
