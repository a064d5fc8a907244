#include "tests/fidelity/golden.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <sstream>

#include "kiln/error.hpp"
#include "runtime/sha256.hpp"

namespace kiln::test {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLine = 96, kBlocks = 32, kLeastBlock = 64;  // characters; blocks; bytes
constexpr std::size_t kSample = 32;

std::string hex(std::span<const u8> bytes) { return to_hex(std::as_bytes(bytes)); }

std::string sha256_of(std::span<const u8> bytes) { return to_hex(sha256(std::as_bytes(bytes))); }

/// Appends words to lines that are not much longer than kLine.
void append_word(std::vector<std::string>& lines, const std::string& word) {
  if (lines.empty() || lines.back().size() + word.size() >= kLine)
    lines.push_back(word);
  else
    lines.back().append(" ").append(word);
}

/// The values that bytes hold, `size` bytes each.
std::vector<u32> values_of(const std::vector<u8>& bytes, std::size_t size) {
  std::vector<u32> values(bytes.size() / size);
  for (std::size_t i = 0; i < values.size(); ++i) std::memcpy(&values[i], &bytes[i * size], size);
  return values;
}

std::vector<std::string> lines_of(const std::vector<u8>& answer, std::size_t size) {
  const std::vector<u32> values = values_of(answer, size);
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < values.size();) {
    const u32 step = i + 1 < values.size() ? values[i + 1] - values[i] : 0;
    std::size_t end = i + 1;
    while (end < values.size() && values[end] - values[end - 1] == step) ++end;
    const std::size_t count = end - i;
    if (count < 3) {
      append_word(lines, fmt::format("{:x}", values[i++]));
      continue;
    }
    const bool falls = static_cast<int>(step) < 0;
    append_word(lines, fmt::format("{:x}{}{:x}x{}", values[i], falls ? '-' : '+',
                                   falls ? 0 - step : step, count));
    i = end;
  }
  return lines;
}

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::io, "golden file: " + what);
}

/// A number to the base of 16 or 10 at the start of `text`, which is shortened by it.
u32 take_number(std::string_view& text, int base) {
  u32 value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{}) fail(fmt::format("\"{}\" does not begin with a number", text));
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

/// Appends what a word of a line stands for: "3f", or "10+2x8" for eight values from 0x10 by 2.
void append_values(std::vector<u8>& bytes, std::string_view word, std::size_t size) {
  u32 value = take_number(word, 16), step = 0, count = 1;
  if (!word.empty()) {
    const char sign = word.front();
    if (sign != '+' && sign != '-') fail(fmt::format("a run goes on with \"{}\"", word));
    word.remove_prefix(1);
    step = take_number(word, 16);
    if (sign == '-') step = 0 - step;
    if (word.empty() || word.front() != 'x') fail("a run has no length");
    word.remove_prefix(1);
    count = take_number(word, 10);
  }
  for (u32 i = 0; i < count; ++i, value += step) {
    const std::size_t at = bytes.size();
    bytes.resize(at + size);
    std::memcpy(&bytes[at], &value, size);
  }
}

std::vector<u8> bytes_of(const std::vector<std::string>& lines, std::size_t size) {
  std::vector<u8> bytes;
  for (const std::string& line : lines) {
    std::istringstream words(line);
    for (std::string word; words >> word;) append_values(bytes, word, size);
  }
  return bytes;
}

std::size_t text_size(const std::vector<std::string>& lines) {
  std::size_t size = 0;
  for (const std::string& line : lines) size += line.size();
  return size;
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
  const std::string begins = hex({answer.data(), std::min(kSample, answer.size())});
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
  recording.lines = lines_of(answer, size_of(probe.value));
  if (text_size(recording.lines) <= kMostText) return recording;
  recording.lines.clear();
  recording.blocks = blocks_of(answer);
  recording.begins = hex({answer.data(), std::min(kSample, answer.size())});
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
  const std::vector<u8> wanted = bytes_of(recorded.lines, size_of(probe.value));
  if (wanted.size() != answer.size() || wanted == answer)
    return "the recording's lines and its SHA-256 contradict each other";
  return byte_difference(probe, wanted, answer);
}

}  // namespace kiln::test
