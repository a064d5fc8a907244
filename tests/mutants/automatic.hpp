// Mutants made by rule: one token of device code changed, or one call deleted.
//
//   + -  * /  % /  << >>  < <=  > >=  == !=  && ||  & |  ++ --  += -=     one for the other
//   x ^ y -> x        n -> n + 1, n - 1, 0        true false        if (c) -> if (!(c))
//   f(...); -> ;
//
// Comments, directives, strings, static_asserts, alignas and template headers are left alone, and
// so is what only the host executes: in the .hpp files that both share, only functions marked DEV
// are changed.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/mutants/mutant.hpp"

namespace kiln::test {

/// Every such mutant of a kernel's source and of what it includes, in the order of the files: the
/// trials run gemm's kernels, and say nothing of code that those do not have. An id is made of the
/// file, the line's text and the change, so it outlives changes elsewhere.
std::vector<Mutant> automatic_mutants(const SourceTexts& sources,
                                      const std::string& kernel = "ops/gemm/kernel.cuh");

/// Those of one text.
std::vector<Mutant> automatic_mutants_of(const std::string& file, const std::string& text);

/// `count` of them, in order; the same seed, the same ones.
std::vector<Mutant> sample(std::vector<Mutant> mutants, std::size_t count, std::uint64_t seed);

}  // namespace kiln::test
