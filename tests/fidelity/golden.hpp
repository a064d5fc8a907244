// The golden file: what a machine answered to every probe, with the machine's name.
//
//   {"device": "NVIDIA H200", "driver": ..., "compiler": ..., "date": ..., "commit": ...,
//    "probes": {"wgmma/e4m3/fragments/n16":
//       {"asks": ..., "inputs": "<SHA-256>", "bytes": 8192, "sha256": ...,
//        "lines": ["<32 bytes in hex> x3", ...]        all bytes, if they are few
//        "blocks": ["<8 digits>", ...], "begins": ...  else a digest of each 1/64, and a sample
//       }}}
//
// A line stands for 32 bytes, with "x3" for three in a row that are alike.
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
  std::vector<std::string> lines;   // empty if there would be more than kMostLines
  std::vector<std::string> blocks;  // 32 bits of SHA-256 of each block_bytes()
  std::string begins;               // the first 32 bytes

  bool operator==(const Recording&) const = default;
};

inline constexpr std::size_t kMostLines = 140;

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

/// tests/fidelity/golden_h200.json as it was when this program was built.
const Golden& golden_h200();

}  // namespace kiln::test
