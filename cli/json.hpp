// JSON on stdout. Keys keep the order in which they were written.
#pragma once

#include <cstdio>
#include <nlohmann/json.hpp>

namespace kiln::cli {

using Json = nlohmann::ordered_json;

/// Bytes of a name that are no UTF-8 are replaced rather than refused; NaN and infinity are null.
inline void print_json(const Json& json) {
  std::fputs((json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n").c_str(), stdout);
}

}  // namespace kiln::cli
