// Entries of a table from files of results that are already there (`kiln tune --from`): of `kiln
// tune`, or of `kiln bench gemm --candidates`.
#pragma once

#include <string>
#include <vector>

#include "ops/gemm/tuned.hpp"

namespace kiln::tune {

struct FromResults {
  std::vector<TunedEntry>
      entries;                     // by N, K and M; of a shape that two files have the later file's
  std::vector<std::string> notes;  // shapes from which nothing follows, and why
  int shapes = 0;
};

/// The model's choice is today's: a shape whose times do not include it gives no entry, as nothing
/// says what is gained. Throws Error{io} naming the file.
FromResults entries_from_results(const std::vector<std::string>& files, double min_gain,
                                 bool only_better);

}  // namespace kiln::tune
