#pragma once

#include "cli/bench/grouped_flow.hpp"

namespace kiln::bench {

/// `kiln bench grouped` on a GPU. Throws Error for whatever stops it, and at the end if a result
/// was wrong.
void run_grouped_command(const GroupedRequest& request);

}  // namespace kiln::bench
