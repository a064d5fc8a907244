// How much a GEMM kernel does, as a function of its plan: under every schedule the same number of
// copies, multiplications, arrivals and waits. A kernel that computes a tile twice, or meets where
// nobody has to, has the right values; it is slower than it should be.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ops/gemm/api.hpp"
#include "runtime/emu/event.hpp"

namespace kiln::test {

/// Numbers of events by kind.
class Work {
 public:
  std::uint64_t& of(emu::EventKind kind) { return counts_[static_cast<std::size_t>(kind)]; }
  std::uint64_t of(emu::EventKind kind) const { return counts_[static_cast<std::size_t>(kind)]; }

  /// What a launch has to do.
  void add(const GemmLaunch& launch);

  /// The first kind of work of which `actual` has another number, in words.
  std::optional<std::string> difference(const Work& actual) const;

 private:
  std::array<std::uint64_t, 256> counts_ = {};
};

/// What a run does.
class WorkCounter final : public emu::Observer {
 public:
  void on(const emu::Event& event) override { ++work_.of(event.kind); }
  const Work& work() const { return work_; }

 private:
  Work work_;
};

}  // namespace kiln::test
