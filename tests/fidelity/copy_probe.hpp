// What the probes of the copy engine share: one box that is loaded, stored or reduced.
#pragma once

#include "tests/fidelity/probe.hpp"

namespace kiln::test {

/// The tensor of the copy probes: rows of about 100 bytes, which end inside 16 bytes, 144 bytes
/// apart; 21 rows, 3 planes, 2, 2.
inline constexpr int kProbeRow = 144, kProbeRows = 21, kProbePlane = (kProbeRows + 1) * kProbeRow;
inline constexpr int kProbePlanes = 3;

using Place = std::array<int, 5>;

/// A map of the tensor with a box of one swizzle span (48 bytes without a swizzle) by some rows.
TensorMapSpec probe_map(Element element, Swizzle swizzle, int rank);

/// Bytes from the first element of the tensor to the end of the last row.
std::size_t tensor_bytes(int rank);

/// Elements in 16 bytes: what the innermost coordinate of a copy is a multiple of.
constexpr int unit_of(Element element) { return 16 / size_of(element); }

/// Inside the tensor, at its corners, across and beyond its ends, and at the ends of 32 bits.
std::vector<Place> edges_of(const TensorMapSpec& spec);
/// Those of them that a copy to global memory may begin at: none is before the tensor.
std::vector<Place> stored_edges_of(const TensorMapSpec& spec);

/// Bytes that are neither 0 nor kUnwritten, ascending.
std::vector<u8> ramp(std::size_t bytes);

/// Shared memory after loads of the box at each of `places`, from a tensor that is a ramp.
Probe load_probe(const std::string& name, const std::string& asks, const TensorMapSpec& spec,
                 const std::vector<Place>& places);

/// The tensor after stores of the box at each of `places`; shared memory is a ramp.
Probe store_probe(const std::string& name, const std::string& asks, const TensorMapSpec& spec,
                  const std::vector<Place>& places);

/// The tensor, which is `initial`, after a reduction (`op` as in kiln::Reduction) of `source`, as
/// long as the box, at each of `places`.
Probe reduce_probe(const std::string& name, const std::string& asks, const TensorMapSpec& spec,
                   const std::string& op, const std::vector<u8>& initial,
                   const std::vector<u8>& source, const std::vector<Place>& places);

}  // namespace kiln::test
