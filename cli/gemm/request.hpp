// What `kiln gemm` was asked for, and what it says about itself.
#pragma once

#include <string>
#include <vector>

#include "cli/json.hpp"
#include "kiln/options.hpp"
#include "ops/gemm/config.hpp"

namespace kiln::cli {

enum class CheckWish {
  automatic,  // full where that takes seconds, else sample
  full,       // every element
  sample,     // rows spread over all of D
  none
};

struct GemmRequest {
  std::string a_path, b_path, d_path;
  bool auto_device = true;
  Device device;  // where not auto_device
  BScales b_scales = BScales::block_128x128;
  OutType d = OutType::bf16;
  bool b_kn = false;   // B is [K,N] in its file
  int sms = 0;         // 0: all
  std::string config;  // fields of a GemmConfig; empty: the planner's choice
  std::uint64_t seed = 1;
  CheckWish check = CheckWish::automatic;
  bool json = false;
};

/// Lines on stdout as soon as they are known, or one JSON object at the end.
class GemmReport {
 public:
  explicit GemmReport(bool as_json) : as_json_(as_json) {}

  void line(const char* name, const std::string& text) const;
  /// The first of them on stderr, in one line; all of them in the JSON.
  void warnings(const std::vector<std::string>& texts);
  Json& json() { return json_; }
  void finish() const;

 private:
  bool as_json_;
  Json json_;
};

}  // namespace kiln::cli
