#include "tests/fidelity/golden.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>

#include "kiln/error.hpp"
#include "runtime/sha256.hpp"

namespace kiln::test {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLine = 32, kBlocks = 64, kLeastBlock = 64;

std::string hex(std::span<const u8> bytes) { return to_hex(std::as_bytes(bytes)); }

std::string sha256_of(std::span<const u8> bytes) { return to_hex(sha256(std::as_bytes(bytes))); }

std::vector<std::string> lines_of(const std::vector<u8>& answer) {
  std::vector<std::string> lines;
  std::string last;
  int times = 0;
  const auto flush = [&] {
    if (times > 0) lines.push_back(times == 1 ? last : fmt::format("{} x{}", last, times));
  };
  for (std::size_t i = 0; i < answer.size(); i += kLine) {
    std::string line = hex({&answer[i], std::min(kLine, answer.size() - i)});
    if (line == last) {
      ++times;
      continue;
    }
    flush();
    last = std::move(line);
    times = 1;
  }
  flush();
  return lines;
}

u8 digit(char c) {
  const std::string_view digits = "0123456789abcdef";
  const std::size_t value = digits.find(c);
  if (value == std::string_view::npos)
    throw Error(ErrorCode::io, fmt::format("golden file: '{}' is not a hexadecimal digit", c));
  return static_cast<u8>(value);
}

std::vector<u8> bytes_of(const std::vector<std::string>& lines) {
  std::vector<u8> bytes;
  for (const std::string& line : lines) {
    const std::size_t end = std::min(line.find(' '), line.size());
    const int times = end == line.size() ? 1 : std::stoi(line.substr(end + 2));
    for (int t = 0; t < times; ++t)
      for (std::size_t i = 0; i + 1 < end; i += 2)
        bytes.push_back(static_cast<u8>(digit(line[i]) << 4 | digit(line[i + 1])));
  }
  return bytes;
}

std::size_t block_bytes(std::size_t bytes) {
  return std::max(kLeastBlock, std::bit_ceil((bytes + kBlocks - 1) / kBlocks));
}

std::vector<std::string> blocks_of(const std::vector<u8>& answer) {
  std::vector<std::string> blocks;
  const std::size_t size = block_bytes(answer.size());
  for (std::size_t i = 0; i < answer.size(); i += size)
    blocks.push_back(sha256_of({&answer[i], std::min(size, answer.size() - i)}).substr(0, 8));
  return blocks;
}

/// "launch 2 (rows): byte 12, thread 0 register 3".
std::string where(const Probe& probe, std::size_t byte) {
  const std::size_t launch = byte / probe.output_bytes, at = byte % probe.output_bytes;
  const std::string& label = probe.launches[launch].label;
  std::string text;
  if (probe.launches.size() > 1) text = fmt::format("launch {}", launch);
  if (!label.empty()) text += fmt::format("{}({})", text.empty() ? "" : " ", label);
  if (!text.empty()) text += ": ";
  text += fmt::format("byte {}", at);
  if (probe.place) text += ", " + probe.place(at / size_of(probe.value)) + ",";
  return text;
}

std::string value_text(const Probe& probe, const u8* bytes) {
  u32 word = 0;
  std::memcpy(&word, bytes, size_of(probe.value));
  switch (probe.value) {
    case ProbeValue::byte:
      return fmt::format("{:02x}", word);
    case ProbeValue::u16:
      return fmt::format("{} (0x{:x})", word, word);
    case ProbeValue::u32:
      return fmt::format("{} (0x{:x})", word, word);
    case ProbeValue::fp32:
      return fmt::format("{:08x} ({})", word, std::bit_cast<float>(word));
  }
  return "?";
}

std::string byte_difference(const Probe& probe, const std::vector<u8>& wanted,
                            const std::vector<u8>& answer) {
  const auto first = std::mismatch(wanted.begin(), wanted.end(), answer.begin()).first;
  const std::size_t size = size_of(probe.value);
  const std::size_t byte = static_cast<std::size_t>(first - wanted.begin()) / size * size;
  return fmt::format("{} is {}, recorded {}", where(probe, byte), value_text(probe, &answer[byte]),
                     value_text(probe, &wanted[byte]));
}

std::string block_difference(const Probe& probe, const Recording& recorded,
                             const std::vector<u8>& answer) {
  const std::vector<std::string> blocks = blocks_of(answer);
  const auto first =
      std::mismatch(blocks.begin(), blocks.end(), recorded.blocks.begin(), recorded.blocks.end());
  if (first.first == blocks.end()) return "its SHA-256 differs, none of its blocks does";
  const std::size_t size = block_bytes(answer.size());
  const std::size_t byte = static_cast<std::size_t>(first.first - blocks.begin()) * size;
  int differing = 0;
  for (std::size_t i = 0; i < std::min(blocks.size(), recorded.blocks.size()); ++i)
    differing += blocks[i] != recorded.blocks[i];
  std::string text =
      fmt::format("{} of {} blocks of {} bytes differ, the first at {} which begins {}", differing,
                  blocks.size(), size, where(probe, byte),
                  hex({&answer[byte], std::min<std::size_t>(16, answer.size() - byte)}));
  const std::string begins = hex({answer.data(), std::min(kLine, answer.size())});
  if (begins != recorded.begins)
    text += fmt::format("; it begins {}, recorded {}", begins, recorded.begins);
  return text;
}

}  // namespace

Recording record(const Probe& probe, const std::vector<u8>& answer) {
  Recording recording;
  recording.asks = probe.asks;
  recording.inputs = digest_of_inputs(probe);
  recording.bytes = answer.size();
  recording.sha256 = sha256_of(answer);
  recording.lines = lines_of(answer);
  if (recording.lines.size() <= kMostLines) return recording;
  recording.lines.clear();
  recording.blocks = blocks_of(answer);
  recording.begins = hex({answer.data(), std::min(kLine, answer.size())});
  return recording;
}

std::string to_text(const Golden& golden) {
  Json json = {{"device", golden.device}, {"driver", golden.driver}, {"compiler", golden.compiler},
               {"date", golden.date},     {"commit", golden.commit}, {"sources", golden.sources}};
  Json& probes = json["probes"] = Json::object();
  for (const auto& [name, recording] : golden.probes) {
    Json& entry = probes[name] = {{"asks", recording.asks},
                                  {"inputs", recording.inputs},
                                  {"bytes", recording.bytes},
                                  {"sha256", recording.sha256}};
    if (!recording.lines.empty()) {
      entry["lines"] = recording.lines;
    } else {
      entry["blocks"] = recording.blocks;
      entry["begins"] = recording.begins;
    }
  }
  return json.dump(1) + "\n";
}

Golden parse_golden(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    Golden golden = {json.at("device"),
                     json.at("driver"),
                     json.at("compiler"),
                     json.at("date"),
                     json.at("commit"),
                     json.at("sources"),
                     {}};
    for (const auto& [name, entry] : json.at("probes").items()) {
      Recording& recording = golden.probes[name];
      recording = {entry.at("asks"), entry.at("inputs"), entry.at("bytes"), entry.at("sha256")};
      if (entry.contains("lines")) {
        recording.lines = entry.at("lines");
      } else {
        recording.blocks = entry.at("blocks");
        recording.begins = entry.at("begins");
      }
    }
    return golden;
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::io, fmt::format("golden file: {}", error.what()));
  }
}

std::optional<std::string> difference(const Probe& probe, const Recording& recorded,
                                      const std::vector<u8>& answer) {
  if (digest_of_inputs(probe) != recorded.inputs)
    return "the probe's inputs are not those of the recording: record it again";
  if (answer.size() != recorded.bytes)
    return fmt::format("it answers {} bytes, recorded {}", answer.size(), recorded.bytes);
  if (sha256_of(answer) == recorded.sha256) return std::nullopt;
  if (recorded.lines.empty()) return block_difference(probe, recorded, answer);
  const std::vector<u8> wanted = bytes_of(recorded.lines);
  if (wanted.size() != answer.size() || wanted == answer)
    return "the recording's lines and its SHA-256 contradict each other";
  return byte_difference(probe, wanted, answer);
}

}  // namespace kiln::test
