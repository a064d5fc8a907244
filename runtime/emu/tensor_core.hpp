// The tensor core: wgmma m64nN of every type, operands in shared memory, A also in registers.
// "PTX #x" is https://docs.nvidia.com/cuda/parallel-thread-execution/#x, the PTX ISA manual.
// PTX #asynchronous-warpgroup-level-matrix-instructions
//
//   each warp issues                 the fourth warp to issue makes it ready
//   at its issue, a warp's accumulators go to the tensor core and its registers become NaN
//   ready, in order of issue         executed at any time: operands are read then, and not before
//   wgmma_wait(d)                    waits for groups; hands d back if only they write it
//
// An A in registers is read at the issue, and must be there unchanged when the wait ends.
//
// The warps of a warpgroup go at their own pace, and must issue the same instructions. The operands
// may be released by a warp that has waited itself, and by nobody else.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "arith/tensor_core.hpp"
#include "arith/tensor_core_wide.hpp"
#include "device/ptx/emu/abi.hpp"
#include "device/types.hpp"
#include "runtime/emu/operand_tile.hpp"

namespace kiln::emu {

class Engine;
struct Cta;
struct Thread;
struct Warp;

struct WgmmaOperands {
  float* d;
  const WgmmaForm* form;
  const u32* a_registers;  // four, or null
  u64 a, b;                // descriptors; a is 0 beside registers
  bool accumulate;
};

struct WgmmaWaitOperands {
  int pending;
};

/// The name of the wrapper: "wgmma_bf16", "wgmma_e4m3_e5m2_rs".
std::string name_of(const WgmmaForm& form);

/// B decoded once for as many multiplications as read the same bytes: the two math warpgroups of a
/// CTA, and each wave of rows. Recognised by content, so it is never stale.
class DecodedColumns {
 public:
  class Entry {
   public:
    /// c += A's row times the columns, both of the types of `form`.
    void multiply_row(const WgmmaForm& form, float* c, const u8* a) const;

   private:
    friend class DecodedColumns;
    WgmmaType type = WgmmaType::e4m3;
    std::vector<u8> bytes;
    Fp8Columns fp8;
    WideColumns wide;
  };
  const Entry& get(WgmmaType type, u32 address, const u8* bytes, int columns);

 private:
  std::array<Entry, 16> entries_;
};

class TensorCore {
 public:
  TensorCore(Engine& engine, Cta& cta) : engine_(engine), cta_(cta) {}
  void reset();

  // By the lane that acts for its warp.
  void fence(const Warp& warp);
  void issue(const Warp& warp);
  void commit(const Warp& warp);
  void begin_wait(const Warp& warp);

  /// By every lane, after begin_wait: waits for the groups, and takes `d` back.
  void wait(float* d, int registers, int pending);

  void check_exit(const Thread& thread) const;

  /// Executes the next multiplication of warpgroup `warpgroup`.
  void advance(u32 warpgroup);

 private:
  /// The accumulators of one register array while the tensor core has them.
  struct Accumulators {
    int n = 0;
    std::array<float*, 128> d = {};  // where each thread's registers are, null if it has them back
    int lent = 0;                    // threads whose registers are here
    std::array<std::uint64_t, 4> last_use = {};  // by each warp: the number of a multiplication
    std::vector<float> matrix;                   // 64 x n

    float& at(int row, int column) {
      const int place = row * n + column;
      return matrix[static_cast<std::size_t>(place)];
    }
  };
  struct Multiplication {
    WgmmaOperands operands;  // d and a_registers are the first warp's first lane's
    std::optional<OperandTile> a;
    OperandTile b;
    std::vector<u8> a_rows;  // out of registers
    std::uint64_t group;
    std::size_t accumulators;
    unsigned warps = 0;  // that have issued it
  };
  /// A warp's registers of A from its issue until its wait.
  struct HeldRegisters {
    std::uint64_t number;  // of the multiplication
    WgmmaForm form;
    std::array<const u32*, 32> at;
    std::array<std::array<u32, 4>, 32> value;
    u32 checked = 0;  // lanes that have waited
  };
  struct WarpState {
    bool fenced = false;
    std::uint64_t issued = 0;
    std::uint64_t committed = 0;  // groups
    std::vector<HeldRegisters> held;
  };
  struct Waiter {
    Thread* thread;
    std::uint64_t end;  // multiplications that must have been executed
  };
  struct Warpgroup {
    std::array<WarpState, 4> warps;
    std::deque<Multiplication> queue;       // issued by one warp at least, and not executed
    std::uint64_t executed = 0;             // multiplications; the number of queue.front()
    std::vector<std::uint64_t> group_ends;  // multiplications up to the end of each group
    std::vector<Accumulators> accumulators;
    std::vector<Waiter> waiters;
  };
  class Wait;

  Warpgroup& warpgroup_of(const Warp& warp);
  OperandTile checked_tile(const WgmmaForm& form, bool is_a, u64 descriptor) const;
  Multiplication new_multiplication(Warpgroup& group, const Warp& warp);
  void hold_registers(WarpState& state, Multiplication& multiplication, std::uint64_t number,
                      const Warp& warp);
  void check_registers(WarpState& state, std::uint64_t end, int lane) const;
  void lend(Warpgroup& group, const Multiplication& multiplication, const Warp& warp);
  std::size_t find_accumulators(Warpgroup& group, int thread, const float* d, int n);
  void check_overlap(const Warpgroup& group, int thread, const WgmmaOperands& operands) const;
  void form_sums(const Multiplication& next, Accumulators& set);
  std::uint64_t end_of_group(const Warpgroup& group, const WarpState& warp, int pending) const;

  Engine& engine_;
  Cta& cta_;
  std::vector<Warpgroup> warpgroups_;
};

}  // namespace kiln::emu
