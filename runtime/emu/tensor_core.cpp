#include "runtime/emu/tensor_core.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "arith/plain_dots.hpp"
#include "runtime/emu/engine.hpp"

namespace kiln::emu {
namespace {

constexpr int kRows = 64;
constexpr u32 kPoison = 0xFFFFFFFF;  // a NaN

/// Row and column of register `i` of thread `thread` of a warpgroup.
/// PTX #asynchronous-warpgroup-level-matrix-register-fragment-wgmma-64n32
constexpr int row_of(int thread, int i) { return thread / 32 * 16 + thread % 32 / 4 + (i & 2) * 4; }
constexpr int column_of(int thread, int i) { return i / 4 * 8 + thread % 4 * 2 + (i & 1); }

bool same(const WgmmaOperands& x, const WgmmaOperands& y) {
  return (x.form == y.form || *x.form == *y.form) && x.a == y.a && x.b == y.b &&
         x.accumulate == y.accumulate;
}

const char* name_of(WgmmaType type) {
  constexpr const char* kNames[] = {"e4m3", "e5m2", "bf16", "fp16", "tf32"};
  return kNames[static_cast<int>(type)];
}

bool is_fp8(WgmmaType type) { return type == WgmmaType::e4m3 || type == WgmmaType::e5m2; }
Fp8 fp8_of(WgmmaType type) { return type == WgmmaType::e4m3 ? Fp8::e4m3 : Fp8::e5m2; }
WideType wide_of(WgmmaType type) {
  if (type == WgmmaType::bf16) return WideType::bf16;
  return type == WgmmaType::fp16 ? WideType::fp16 : WideType::tf32;
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

std::string name_of(const WgmmaForm& form) {
  std::string name = std::string("wgmma_") + name_of(form.a);
  if (form.b != form.a) name += std::string("_") + name_of(form.b);
  return form.a_in_registers ? name + "_rs" : name;
}

const DecodedColumns::Entry& DecodedColumns::get(WgmmaType type, u32 address, const u8* bytes,
                                                 int columns) {
  // K steps are 32 bytes apart and tiles multiples of 1024: both must tell entries apart.
  const u32 step = address / kStepBytes % 4, tile = address / 1024 * 0x9E3779B9u >> 28;
  Entry& entry = entries_[(step + tile * 4) % entries_.size()];
  const std::size_t size = static_cast<std::size_t>(columns) * kStepBytes;
  if (entry.type != type || entry.bytes.size() != size ||
      std::memcmp(entry.bytes.data(), bytes, size) != 0) {
    entry.type = type;
    entry.bytes.assign(bytes, bytes + size);
    if (is_fp8(type))
      entry.fp8.decode(bytes, kStepBytes, columns, fp8_of(type));
    else
      entry.wide.decode(wide_of(type), bytes, kStepBytes, columns);
  }
  return entry;
}

void DecodedColumns::Entry::multiply_row(const WgmmaForm& form, float* c, const u8* a) const {
  if (is_fp8(form.a))
    mma_fp8_row(c, fp8_of(form.a), a, fp8);
  else
    mma_wide_row(c, a, wide);
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
      {.kind = EventKind::wgmma_fence, .thread = engine_.current()->index, .cta = cta_.number});
}

OperandTile TensorCore::checked_tile(const WgmmaForm& form, bool is_a, u64 descriptor) const {
  const OperandTile tile(descriptor, is_a ? kRows : form.n,
                         is_a ? form.a_mn_major : form.b_mn_major);
  const std::string error = tile.error(cta_.shared.bytes());
  if (!error.empty())
    engine_.fail(name_of(form) + ": the descriptor of " + (is_a ? "A" : "B") + error);
  return tile;
}

TensorCore::Multiplication TensorCore::new_multiplication(Warpgroup& group, const Warp& warp) {
  const WgmmaOperands& operands = warp.operands_of<WgmmaOperands>(0);
  const WgmmaForm& form = *operands.form;
  std::optional<OperandTile> a;
  if (!form.a_in_registers) a = checked_tile(form, true, operands.a);
  return {operands,
          a,
          checked_tile(form, false, operands.b),
          std::vector<u8>(form.a_in_registers ? kRows * kStepBytes : 0),
          group.warps[static_cast<u32>(warp.index) % 4].committed,
          find_accumulators(group, thread_in_warpgroup(warp, 0), operands.d, form.n)};
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

void TensorCore::check_overlap(const Warpgroup& group, int thread,
                               const WgmmaOperands& operands) const {
  const float *d = operands.d, *end = d + operands.form->n / 2;
  for (const Accumulators& set : group.accumulators) {
    const float* lent = set.d[static_cast<std::size_t>(thread)];
    if (lent != nullptr && lent < end && d < lent + set.n / 2)
      engine_.fail(name_of(*operands.form) +
                   ": its accumulators overlap those of a wgmma in flight");
  }
}

void TensorCore::issue(const Warp& warp) {
  Warpgroup& group = warpgroup_of(warp);
  WarpState& state = group.warps[static_cast<u32>(warp.index) % 4];
  const WgmmaOperands& operands = warp.operands_of<WgmmaOperands>(0);
  for (int lane = 1; lane < 32; ++lane)
    if (!same(warp.operands_of<WgmmaOperands>(lane), operands))
      engine_.fail(name_of(*operands.form) + ": lanes 0 and " + std::to_string(lane) +
                   " of a warp have different descriptors or shapes");
  if (static_cast<std::size_t>(warp.index) / 4 * 4 + 4 > cta_.warps.size())
    engine_.fail(name_of(*operands.form) + ": its warpgroup has fewer than four warps");

  const std::uint64_t number = state.issued++;
  if (number == group.executed + group.queue.size())
    group.queue.push_back(new_multiplication(group, warp));
  Multiplication& multiplication = group.queue[number - group.executed];
  if (!same(multiplication.operands, operands) || multiplication.group != state.committed)
    engine_.fail(name_of(*operands.form) +
                 ": the warps of a warpgroup issue different instructions as number " +
                 std::to_string(number) + " (descriptors, shape, accumulate or group differ)");
  if (operands.form->a_in_registers) hold_registers(state, multiplication, number, warp);
  lend(group, multiplication, warp);
  group.accumulators[multiplication.accumulators].last_use[static_cast<u32>(warp.index) % 4] =
      number;
  multiplication.warps |= 1u << warp.index % 4;
  if (engine_.is_observed()) {
    const Access access = {.by = Accessor::tensor_core,
                           .thread = engine_.current()->index,
                           .cta = cta_.number,
                           .operation = number};
    engine_.touch(access, [&](auto&& range) {
      if (multiplication.a) multiplication.a->for_each_range(range);
      multiplication.b.for_each_range(range);
    });
  }
  if (multiplication.warps != 0xF) return;
  engine_.emit({.kind = EventKind::wgmma_issue,
                .thread = engine_.current()->index,
                .cta = cta_.number,
                .offset = multiplication.a ? multiplication.a->start - kSharedBase : 0,
                .bytes = static_cast<u32>(operands.form->n),
                .detail = multiplication.b.start - kSharedBase,
                .operation = number});
  engine_.start_operation(Unit::tensor_core, static_cast<u32>(warp.index) / 4, cta_);
}

/// Takes the warp's part of A out of its registers: register r of lane l has bytes 4*(l%4) on of
/// half r/2 of the 32 bytes of row l/4 + 8*(r%2). The fence is wanted whether or not A was written
/// since the last one: nobody sees such writes.
/// PTX #asynchronous-warpgroup-level-matrix-register-fragment-wgmma-64n16 and its neighbours
void TensorCore::hold_registers(WarpState& state, Multiplication& multiplication,
                                std::uint64_t number, const Warp& warp) {
  const WgmmaForm& form = *multiplication.operands.form;
  if (!state.fenced)
    engine_.fail(name_of(form) +
                 ": no wgmma_fence since the registers of A were last ordinary registers");
  HeldRegisters& held = state.held.emplace_back(HeldRegisters{number, form, {}, {}});
  for (int lane = 0; lane < 32; ++lane) {
    const std::size_t l = static_cast<std::size_t>(lane);
    held.at[l] = warp.operands_of<WgmmaOperands>(lane).a_registers;
    std::copy_n(held.at[l], 4, held.value[l].begin());
    for (int r = 0; r < 4; ++r) {
      const int row = warp.index % 4 * 16 + lane / 4 + 8 * (r % 2);
      const int byte = r / 2 * (kStepBytes / 2) + lane % 4 * 4;
      std::memcpy(multiplication.a_rows.data() + row * kStepBytes + byte, &held.value[l][r],
                  sizeof(u32));
    }
  }
}

/// A lane has waited for all multiplications before `end`: their A must still be in its registers.
void TensorCore::check_registers(WarpState& state, std::uint64_t end, int lane) const {
  const std::size_t l = static_cast<std::size_t>(lane);
  for (HeldRegisters& held : state.held) {
    if (held.number >= end || (held.checked >> lane & 1) != 0) continue;
    held.checked |= 1u << lane;
    for (std::size_t r = 0; r < 4; ++r)
      if (held.at[l][r] != held.value[l][r])
        engine_.fail(name_of(held.form) + ": register " + std::to_string(r) +
                     " of A was written before wgmma_wait had seen the wgmma complete");
  }
  std::erase_if(state.held, [](const HeldRegisters& held) { return held.checked == ~0u; });
}

/// Moves the warp's accumulators into the tensor core, unless they are there already.
void TensorCore::lend(Warpgroup& group, const Multiplication& multiplication, const Warp& warp) {
  Accumulators& set = group.accumulators[multiplication.accumulators];
  const bool fenced = group.warps[static_cast<u32>(warp.index) % 4].fenced;
  for (int lane = 0; lane < 32; ++lane) {
    const int thread = thread_in_warpgroup(warp, lane);
    const WgmmaOperands& operands = warp.operands_of<WgmmaOperands>(lane);
    float* d = operands.d;
    float*& lent = set.d[static_cast<std::size_t>(thread)];
    if (lent == d) continue;
    if (lent != nullptr)
      engine_.fail(name_of(*operands.form) +
                   ": the warps of a warpgroup name different accumulators");
    check_overlap(group, thread, operands);
    if (!fenced)
      engine_.fail(name_of(*operands.form) +
                   ": no wgmma_fence since its accumulators were last ordinary registers");
    for (int i = 0; i < set.n / 2; ++i) {
      if (operands.accumulate) set.at(row_of(thread, i), column_of(thread, i)) = d[i];
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
                .cta = cta_.number,
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
  WarpState& state = group.warps[static_cast<u32>(self.warp->index) % 4];
  const std::uint64_t end = end_of_group(group, state, pending);
  if (group.executed < end) {
    group.waiters.push_back({&self, end});
    engine_.block(Wait(group, end));
  }
  engine_.emit({.kind = EventKind::wgmma_wait,
                .thread = self.index,
                .cta = cta_.number,
                .detail = static_cast<std::uint64_t>(pending)});
  check_registers(state, end, self.lane);
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

void TensorCore::form_sums(const Multiplication& next, Accumulators& set) {
  if (!next.operands.accumulate) std::fill(set.matrix.begin(), set.matrix.end(), 0.0f);
  const Emulation::Arithmetic arithmetic = cta_.cluster->grid->job->arithmetic;
  if (arithmetic == Emulation::Arithmetic::none) return;
  const WgmmaForm& form = *next.operands.form;
  u8 from_shared[kRows * kStepBytes], b[256 * kStepBytes];
  if (next.a) next.a->gather(cta_.shared.data(), from_shared);
  const u8* a = next.a ? from_shared : next.a_rows.data();
  next.b.gather(cta_.shared.data(), b);
  const bool e4m3 = form.a == WgmmaType::e4m3 && form.b == WgmmaType::e4m3;
  if (arithmetic == Emulation::Arithmetic::fast && e4m3) {
    add_plain_dots(set.matrix.data(), kRows, set.n, a, b);
    return;
  }
  const DecodedColumns::Entry& columns =
      engine_.decoded_columns().get(form.b, next.b.start, b, form.n);
  for (int row = 0; row < kRows; ++row)
    columns.multiply_row(form, set.matrix.data() + row * set.n, a + row * kStepBytes);
}

void TensorCore::advance(u32 warpgroup) {
  Warpgroup& group = warpgroups_[warpgroup];
  const Multiplication& next = group.queue.front();
  Accumulators& set = group.accumulators[next.accumulators];
  form_sums(next, set);
  engine_.emit({.kind = EventKind::wgmma_execute,
                .cta = cta_.number,
                .offset = next.a ? next.a->start - kSharedBase : 0,
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
