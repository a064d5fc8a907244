// The operations beside the GEMMs (quantise, ...) as rows of `kiln bench companions`: each moves
// memory and little else, so what it is worth is its share of a copy's bandwidth.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "kiln/options.hpp"
#include "runtime/backend.hpp"

namespace kiln::bench {

/// One operation on operands of one size, in device memory of its own.
class Companion {
 public:
  virtual ~Companion() = default;
  virtual void prepare() = 0;  // compiles what start() needs
  virtual void start() = 0;
  /// Bytes read and written, each once.
  virtual double bytes() const = 0;
  /// M, N and K of the row: rows, what is beside them if anything, and columns.
  virtual std::array<i64, 3> shape() const = 0;
  /// Makes the outputs what nobody would write.
  virtual void poison() = 0;
  /// Where they differ from what the operation means, looking at some of them; empty if nowhere.
  virtual std::string difference() = 0;
};

struct CompanionKind {
  std::string name;  // "quantize_1x128"
  std::string about;
  std::unique_ptr<Companion> (*make)(Backend& backend, const Options& options, i64 bytes);
};

/// All of them. `make` takes the size of the largest operand.
const std::vector<CompanionKind>& companion_kinds();

/// Copies `bytes` bytes (a multiple of 16), 16 at a time.
class CopyKernel {
 public:
  explicit CopyKernel(Backend& backend);
  void start(void* to, const void* from, i64 bytes) const;

 private:
  Backend& backend_;
  const LoadedKernel* kernel_;
};

/// The source of that kernel, for the compile tests.
std::string copy_source();

}  // namespace kiln::bench
