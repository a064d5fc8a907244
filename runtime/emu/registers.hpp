// The register file of a CTA and setmaxnreg.
// https://docs.nvidia.com/cuda/parallel-thread-execution/#miscellaneous-instructions-setmaxnreg
//
// A launch gives every thread the same share of the SM's 65,536 registers, in units of eight, but
// no more than the largest setmaxnreg of the kernel asks for (ptxas 13.0, "Used": 168 for 384
// threads and 232; 240 for 256 threads and 240; 200 for 256 threads and 200). A warp that gives
// registers back returns them to the CTA's pool; one that takes more waits until the pool has them.
#pragma once

#include <vector>

namespace kiln::emu {

class Engine;
struct Cta;
struct Thread;
struct Warp;
enum class Instruction : unsigned char;

struct RegisterOperands {
  int registers;
};

class RegisterPool {
 public:
  RegisterPool(Engine& engine, Cta& cta) : engine_(engine), cta_(cta) {}
  void reset();

  /// By the lane that acts for its warp.
  void change(Warp& warp, Instruction instruction);

  /// By every lane of a warp that asked for more: waits until it has them.
  void wait(const Warp& warp);

  /// All warps of a warpgroup have executed the same setmaxnregs.
  void check_exit() const;

 private:
  class Wait;
  struct Request {
    Instruction instruction;
    int registers;
  };

  void check(const Warp& warp, Instruction instruction, int registers);
  void grant();

  Engine& engine_;
  Cta& cta_;
  int free_ = 0;
  std::vector<Warp*> asking_;
  std::vector<Thread*> waiters_;                // lanes of warps that ask
  std::vector<std::vector<Request>> requests_;  // of each warpgroup, in order
  std::vector<std::size_t> made_;               // of each warp
};

}  // namespace kiln::emu
