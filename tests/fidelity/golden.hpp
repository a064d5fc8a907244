// The golden file: what a machine answered to every probe, with the machine's name.
//
//   {"device": "NVIDIA H100 80GB HBM3, ..", "driver": ..., "compiler": ..., "date": ..., "commit":
//   ...,
//    "probes": {"wgmma/e4m3/fragments/n16":
//       {"asks": ..., "inputs": "<SHA-256>", "bytes": 8192, "sha256": ...,
//        "lines": ["0+1x16 90 3f800000", ...]          all of it, if that is short
//        "blocks": ["<8 digits>", ...], "begins": ...  else a digest of each 1/32, and a sample
//       }}}
//
// Lines hold the values of the answer in hexadecimal, each of the probe's size; "10+2x8" stands for
// eight values from 0x10 by steps of 2.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fidelity/probe.hpp"

namespace kiln::test {

struct Recording {
  std::string asks;
  std::string inputs;  // digest_of_inputs()
  std::size_t bytes = 0;
  std::string sha256;
  std::vector<std::string> lines;   // empty if they would be longer than kMostText
  std::vector<std::string> blocks;  // 32 bits of SHA-256 of each block_bytes()
  std::string begins;               // the first 32 bytes

  bool operator==(const Recording&) const = default;
};

inline constexpr std::size_t kMostText = 9300;  // characters: 1024 random FP32 values fit

struct Golden {
  std::string device, driver, compiler, date, commit, sources;
  std::map<std::string, Recording> probes;
};

Recording record(const Probe& probe, const std::vector<u8>& answer);

/// Pretty JSON with a line break at its end, and back. Throws Error{io} on text that is no golden
/// file.
std::string to_text(const Golden& golden);
Golden parse_golden(std::string_view text);

/// What differs, as one line: "launch 1 (box at 3,4): byte 17, smem+17, is 4f, recorded 50";
/// nothing if every bit is as recorded.
std::optional<std::string> difference(const Probe& probe, const Recording& recorded,
                                      const std::vector<u8>& answer);

/// tests/fidelity/golden_sm90.json as it was when this program was built.
const Golden& golden_sm90();

}  // namespace kiln::test
