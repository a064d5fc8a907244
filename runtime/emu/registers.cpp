#include "runtime/emu/registers.hpp"

#include <algorithm>
#include <string>

#include "runtime/emu/engine.hpp"

namespace kiln::emu {
namespace {

constexpr int kRegistersOfSm = 65536;
constexpr int kUnit = 8;  // registers of a thread
constexpr int kMost = 256, kLeast = 24;

std::string call(Instruction instruction, int registers) {
  return std::string(to_string(instruction)) + "<" + std::to_string(registers) + ">";
}

}  // namespace

class RegisterPool::Wait final : public Waiting {
 public:
  Wait(const RegisterPool& pool, const Warp& warp) : pool_(pool), warp_(warp) {}
  std::string text() const override {
    return "register_alloc: the warp waits for " + std::to_string(warp_.registers_wanted) +
           " registers a lane and owns " + std::to_string(warp_.registers) +
           "; the CTA's pool has " + std::to_string(pool_.free_) + " for all its lanes";
  }

 private:
  const RegisterPool& pool_;
  const Warp& warp_;
};

void RegisterPool::reset() {
  int share = std::min(kRegistersOfSm / cta_.thread_count / kUnit * kUnit, kMost);
  if (cta_.cluster->grid->job->registers != 0)
    share = std::min(share, cta_.cluster->grid->job->registers);
  free_ = 0;
  asking_.clear();
  waiters_.clear();
  requests_.assign(static_cast<std::size_t>(cta_.warps.size() + 3) / 4, {});
  made_.assign(cta_.warps.size(), 0);
  for (Warp& warp : cta_.warps) {
    warp.registers = warp.registers_wanted = share;
  }
}

void RegisterPool::check(const Warp& warp, Instruction instruction, int registers) {
  const std::string name = call(instruction, registers);
  if (registers < kLeast || registers > kMost || registers % kUnit != 0)
    engine_.fail(name + ": wanted a multiple of 8 from 24 to 256");
  // The same instruction must be executed by all warps of the warpgroup.
  auto& requests = requests_[static_cast<std::size_t>(warp.index) / 4];
  const std::size_t mine = made_[static_cast<std::size_t>(warp.index)]++;
  if (mine == requests.size()) {
    requests.push_back({instruction, registers});
  } else if (requests[mine].instruction != instruction || requests[mine].registers != registers) {
    engine_.fail(name + ": another warp of the warpgroup executes " +
                 call(requests[mine].instruction, requests[mine].registers));
  }
  const bool wrong_way = instruction == Instruction::register_alloc ? warp.registers > registers
                                                                    : warp.registers < registers;
  if (wrong_way)
    engine_.fail(name + ": the warp owns " + std::to_string(warp.registers) +
                 " registers a lane, and the instruction can only " +
                 (instruction == Instruction::register_alloc ? "raise" : "lower") +
                 " that number (PTX 9.7.19.5)");
}

void RegisterPool::change(Warp& warp, Instruction instruction) {
  const int registers = warp.operands_of<RegisterOperands>(0).registers;
  check(warp, instruction, registers);
  engine_.emit({.kind = EventKind::registers,
                .thread = engine_.current()->index,
                .cta = cta_.number,
                .detail = static_cast<std::uint64_t>(registers)});
  warp.registers_wanted = registers;
  if (instruction == Instruction::register_alloc) {
    asking_.push_back(&warp);
  } else {
    free_ += (warp.registers - registers) * 32;
    warp.registers = registers;
  }
  grant();
}

void RegisterPool::grant() {
  const std::size_t before = asking_.size();
  std::erase_if(asking_, [this](Warp* warp) {
    const int more = (warp->registers_wanted - warp->registers) * 32;
    if (more > free_) return false;
    free_ -= more;
    warp->registers = warp->registers_wanted;
    return true;
  });
  if (asking_.size() != before) engine_.wake_all(waiters_);
}

void RegisterPool::wait(const Warp& warp) {
  while (warp.registers != warp.registers_wanted) {
    waiters_.push_back(engine_.current());
    engine_.block(Wait(*this, warp));
  }
}

void RegisterPool::check_exit() const {
  for (std::size_t warp = 0; warp < made_.size(); ++warp) {
    const auto& requests = requests_[warp / 4];
    if (made_[warp] < requests.size())
      engine_.fail("is the last of its CTA to exit, and warp " + std::to_string(warp) +
                   " has not executed the " +
                   call(requests[made_[warp]].instruction, requests[made_[warp]].registers) +
                   " of its warpgroup");
  }
}

}  // namespace kiln::emu
