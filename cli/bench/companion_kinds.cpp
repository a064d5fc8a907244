#include "cli/bench/companion_parts.hpp"

namespace kiln::bench {

const std::vector<CompanionKind>& companion_kinds() {
  static const std::vector<CompanionKind> kinds = [] {
    std::vector<CompanionKind> all;
    for (const auto& of_operation :
         {quantize_kinds(), permute_kinds(), unpermute_kinds(), swiglu_kinds()})
      all.insert(all.end(), of_operation.begin(), of_operation.end());
    return all;
  }();
  return kinds;
}

}  // namespace kiln::bench
