// A probe: a small kernel that asks a machine how it does one thing, its inputs, and the bytes that
// it answers. One description serves both machines: the GPU, whose answers are recorded
// (golden.hpp), and the emulator, which must give the same.
//
//   kernel   struct Params { TensorMap map; const u8* in; u8* out; int args[16]; }
//   answer   `out` of every launch, one after another; kUnwritten where the kernel wrote nothing
//
// A kernel must answer the same whatever the schedule and wherever its memory lies: it writes no
// address, no time and not which lane was elected.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "device/types.hpp"
#include "runtime/backend.hpp"

namespace kiln::test {

/// Which buffer a launch's tensor map describes, from byte `offset` on.
enum class ProbeBuffer : u8 { none, input, output };

struct ProbeMap {
  ProbeBuffer buffer = ProbeBuffer::none;
  std::size_t offset = 0;
  TensorMapSpec spec;  // its base is filled in by run_probe
};

inline constexpr std::size_t kProbeArgs = 16;

/// What differs between the launches of a probe.
struct ProbeLaunch {
  std::string label = {};  // in reports
  std::array<int, kProbeArgs> args = {};
  ProbeMap map;
};

/// How a differing value is printed.
enum class ProbeValue : u8 { byte, u16, u32, fp32 };

constexpr std::size_t size_of(ProbeValue value) {
  return value == ProbeValue::byte ? 1 : value == ProbeValue::u16 ? 2 : 4;
}

struct Probe {
  std::string name;    // "tma/load/2d/u8_b128/edges": a path of lower-case words
  std::string asks;    // the question, in words
  std::string source;  // the kernel
  KernelShape shape;   // follows from the source: two shapes are two sources
  int ctas = 1;
  std::vector<u8> input;
  std::size_t output_bytes = 0;  // of one launch
  std::vector<ProbeLaunch> launches = {{}};
  ProbeValue value = ProbeValue::byte;
  /// What value `i` of a launch's output is, e.g. "thread 5 register 3"; may be empty.
  std::function<std::string(std::size_t i)> place = {};
};

inline constexpr u8 kUnwritten = 0xEE;

/// The text of a kernel of `threads` threads; `body` is run()'s, with `p` of the type above.
std::string probe_source(int threads, const std::string& declarations, const std::string& body);

/// Runs every launch of the probe on fresh output. `seed` is the emulator's. Throws what the
/// backend throws.
std::vector<u8> run_probe(Backend& backend, const Probe& probe, std::uint64_t seed = 1);

/// SHA-256 of everything that a probe feeds its kernel: an answer belongs to its inputs.
std::string digest_of_inputs(const Probe& probe);

/// Every probe, in the order of the golden file; names are unique.
const std::vector<Probe>& all_probes();

/// Bytes that follow from `seed` alone, on every machine.
class ProbeRandom {
 public:
  explicit ProbeRandom(u32 seed) : state_(seed * 2654435761u + 12345u) {}
  /// 32 bits; the generator is PCG's RXS-M-XS, which has no weak low bits.
  u32 next() {
    state_ = state_ * 747796405u + 2891336453u;
    const u32 word = (state_ >> ((state_ >> 28) + 4) ^ state_) * 277803737u;
    return word >> 22 ^ word;
  }
  u8 byte() { return static_cast<u8>(next()); }

 private:
  u32 state_;
};

/// Appends the bytes of a trivially copyable value.
template <class T>
void append(std::vector<u8>& bytes, const T& value) {
  const u8* first = reinterpret_cast<const u8*>(&value);
  bytes.insert(bytes.end(), first, first + sizeof value);
}

// The families, each in its file.
std::vector<Probe> scalar_probes();
std::vector<Probe> thread_probes();
std::vector<Probe> warp_probes();
std::vector<Probe> cluster_probes();
std::vector<Probe> copy_probes();
std::vector<Probe> bulk_probes();
std::vector<Probe> wgmma_layout_probes();
std::vector<Probe> wgmma_sum_probes();

}  // namespace kiln::test
