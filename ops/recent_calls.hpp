// Calls that a thread made lately, ready to be launched again: a server's layers call with the same
// weights, and with activations where its allocator put them the last time. A kernel's parameter
// follows from the call's arguments alone, so a call that equals an earlier one in all of them
// needs no checks, no plan and no tensor maps.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>

#include "kiln/options.hpp"
#include "kiln/tensor.hpp"
#include "runtime/backend.hpp"
#include "runtime/memo.hpp"

namespace kiln {

/// What differs between two values: 0 if nothing does. Bits are collected without a branch, since a
/// call has fifty fields and they are nearly always equal. The names of a struct's fields are bound
/// so that one that is added to it cannot be forgotten here.
constexpr std::uint64_t difference(std::int64_t x, std::int64_t y) {
  return static_cast<std::uint64_t>(x) ^ static_cast<std::uint64_t>(y);
}
inline std::uint64_t difference(const void* x, const void* y) {
  return reinterpret_cast<std::uintptr_t>(x) ^ reinterpret_cast<std::uintptr_t>(y);
}
template <class Enum>
requires std::is_enum_v<Enum>
constexpr std::uint64_t difference(Enum x, Enum y) {
  return difference(static_cast<std::int64_t>(x), static_cast<std::int64_t>(y));
}
inline std::uint64_t difference(const TensorView& x, const TensorView& y) {
  const auto& [data, dtype, shape, stride, batch, batch_stride] = x;
  return difference(data, y.data) | difference(dtype, y.dtype) | difference(shape[0], y.shape[0]) |
         difference(shape[1], y.shape[1]) | difference(stride[0], y.stride[0]) |
         difference(stride[1], y.stride[1]) | difference(batch, y.batch) |
         difference(batch_stride, y.batch_stride);
}
inline std::uint64_t difference(const std::optional<TensorView>& x,
                                const std::optional<TensorView>& y) {
  if (x && y) return difference(*x, *y);
  return x.has_value() == y.has_value() ? 0 : 1;
}
inline std::uint64_t difference(const ScaledTensor& x, const ScaledTensor& y) {
  const auto& [values, scales, recipe] = x;
  return difference(values, y.values) | difference(scales, y.scales) | difference(recipe, y.recipe);
}
/// Of all that is checked, planned with or told to the kernel. Not of how it is launched: the
/// stream, the overlap with the kernel before, and the schedule and checker of the emulator.
inline std::uint64_t difference(const Options& x, const Options& y) {
  const auto& [device, stream, sm_budget, pdl, invariance, workspace, bytes, report, emulation] = x;
  const auto& [seed, policy, check, arithmetic, threads] = emulation;
  return difference(device.kind, y.device.kind) | difference(device.index, y.device.index) |
         difference(sm_budget, y.sm_budget) | difference(invariance, y.invariance) |
         difference(workspace, y.workspace) | difference(bytes, y.workspace_bytes) |
         difference(report, y.index_report) | difference(policy, y.emulation.policy) |
         difference(arithmetic, y.emulation.arithmetic) | difference(threads, y.emulation.threads);
}

/// What a call launches.
template <class Params>
struct ReadyCall {
  Backend* backend;  // one that lives until the process ends
  const LoadedKernel* kernel;
  int ctas;
  Params params;

  void launch(const Options& options) const {
    backend->launch(kernel, ctas, &params, sizeof params,
                    {.stream = options.stream, .pdl = options.pdl, .emulation = options.emulation});
  }
};

/// Up to kCalls calls of one operation, of one thread. `Operation` has Args (with operands a, b and
/// d), Params, and `difference(const Args&, const Args&)`.
template <class Operation, int kCalls>
class RecentCalls {
 public:
  using Args = typename Operation::Args;
  using Ready = ReadyCall<typename Operation::Params>;

  /// What the thread launched for the same arguments and options, or null.
  static const Ready* find(const Args& args, const Options& options) {
    const Table* table = own().get();
    if (table == nullptr) return nullptr;
    const std::uint64_t hash = hash_of(args);
    const int set = set_of(hash);
    for (int i = set; i < set + kWays; ++i) {
      if (table->hash[i] != hash) continue;
      const Entry& entry = *table->entry(i);
      if ((Operation::difference(entry.args, args) | difference(entry.options, options)) == 0)
        return &entry.ready;
    }
    return nullptr;
  }

  /// Of arguments that were checked. The oldest call of its set is forgotten.
  static const Ready& keep(const Args& args, const Options& options, const Ready& ready) {
    std::unique_ptr<Table>& table = own();
    if (!table) table = std::make_unique_for_overwrite<Table>();
    const std::uint64_t hash = hash_of(args);
    const int set = set_of(hash);
    const int i = set + table->next[set / kWays];
    table->next[set / kWays] = (table->next[set / kWays] + 1) % kWays;
    std::construct_at(table->entry(i), Entry{args, options, ready});
    table->hash[i] = hash;
    return table->entry(i)->ready;
  }

 private:
  struct Entry {
    Args args;
    Options options;
    Ready ready;
  };
  static_assert(std::is_trivially_copyable_v<Entry> && std::is_trivially_destructible_v<Entry>);

  static constexpr int kWays = 2, kSets = kCalls / kWays;
  static_assert(kCalls % kWays == 0);

  /// Entries are not initialised, so that a thread of few calls touches little of its table.
  struct Table {
    std::array<std::uint64_t, kCalls> hash = {};  // 0: nothing there
    std::array<std::uint8_t, kSets> next = {};    // of each set the way that is written next
    alignas(Entry) std::array<std::byte, kCalls * sizeof(Entry)> bytes;

    Table() {}  // NOLINT(*-member-init): see above
    Entry* entry(int i) { return reinterpret_cast<Entry*>(&bytes[i * sizeof(Entry)]); }
    const Entry* entry(int i) const {
      return reinterpret_cast<const Entry*>(&bytes[i * sizeof(Entry)]);
    }
  };

  static std::unique_ptr<Table>& own() {
    thread_local std::unique_ptr<Table> table;
    return table;
  }
  /// Of what usually tells calls apart; never 0.
  static std::uint64_t hash_of(const Args& args) {
    return mix_hash({reinterpret_cast<std::uintptr_t>(args.a.values.data),
                     reinterpret_cast<std::uintptr_t>(args.b.values.data),
                     reinterpret_cast<std::uintptr_t>(args.d.data),
                     static_cast<std::uint64_t>(args.d.shape[0])}) |
           1;
  }
  static int set_of(std::uint64_t hash) { return static_cast<int>((hash >> 1) % kSets) * kWays; }
};

}  // namespace kiln
