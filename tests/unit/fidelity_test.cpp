// The recordings' own machinery: what a golden file keeps, that a flipped bit anywhere is found and
// said in words, and that a probe which hangs or breaks loses only its own answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <deque>
#include <map>
#include <set>

#include "kiln/error.hpp"
#include "tests/fidelity/golden.hpp"
#include "tests/fidelity/isolated.hpp"

namespace kiln::test {
namespace {

using testing::HasSubstr;

/// Answers the probe's input, launch after launch, and does what a probe's name says.
class EchoBackend final : public Backend {
 public:
  const Arch& arch() const override { return arch_; }
  const Toolchain& toolchain() override { return toolchain_; }
  std::vector<std::byte> compile(const std::string& source) override {
    return {reinterpret_cast<const std::byte*>(source.data()),
            reinterpret_cast<const std::byte*>(source.data()) + source.size()};
  }
  ResourceReport report(const std::string&) override { return {}; }
  const LoadedKernel* load(std::span<const std::byte> image, const KernelShape& shape) override {
    kernels_.push_back({{shape}, {reinterpret_cast<const char*>(image.data()), image.size()}});
    return &kernels_.back();
  }
  TensorMap encode(const TensorMapSpec& spec) override {
    TensorMap map = {};
    map.opaque[0] = reinterpret_cast<u64>(spec.base);
    return map;
  }
  void launch(const LoadedKernel* kernel, int, const void* params, std::size_t,
              const LaunchOptions& options) override {
    struct Params {
      TensorMap map;
      const u8* in;
      u8* out;
      int args[kProbeArgs];
    };
    const Params& p = *static_cast<const Params*>(params);
    const std::string& source = static_cast<const Kernel*>(kernel)->source;
    const auto told = [&](const char* deed) { return source.find(deed) != std::string::npos; };
    if (told("throw")) throw Error(ErrorCode::internal, "as told");
    if (told("die")) raise(SIGKILL);
    if (told("hang")) pause();
    for (int i = 0; i < p.args[0]; ++i) p.out[i] = p.in[p.args[1] + i];
    if (told("waver")) p.out[0] = static_cast<u8>(options.emulation.seed);
  }
  void* allocate(std::size_t bytes) override { return ::operator new(bytes); }
  void free(void* data) noexcept override { ::operator delete(data); }
  void copy_in(void* to, const void* from, std::size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  void copy_out(void* to, const void* from, std::size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  void fill(void* data, std::uint8_t value, std::size_t bytes) override {
    std::memset(data, value, bytes);
  }
  void synchronize() override {}

 private:
  struct Kernel : LoadedKernel {
    std::string source;
  };
  Arch arch_ = {"echo", 1, 0, 0};
  Toolchain toolchain_ = {"echo", "1", "none", {}};
  std::deque<Kernel> kernels_;
};

Backend& echo() {
  static EchoBackend backend;
  return backend;
}

/// Two launches that answer `bytes` each, of which the last eight stay unwritten.
Probe probe_of(std::size_t bytes, const std::string& deed = "answer") {
  Probe probe;
  probe.name = "echo/" + deed;
  probe.asks = "what went in";
  probe.source = "// " + deed + " " + std::to_string(bytes);
  ProbeRandom random(static_cast<u32>(bytes));
  for (std::size_t i = 0; i < bytes + 5; ++i) probe.input.push_back(random.byte());
  probe.output_bytes = bytes;
  const int written = static_cast<int>(bytes) - 8;
  probe.launches = {{.label = "first", .args = {written, 0}},
                    {.label = "second", .args = {written, 5}}};
  probe.value = ProbeValue::u16;
  probe.place = [](std::size_t i) { return "item " + std::to_string(i); };
  return probe;
}

Recording recorded(const Probe& probe) { return record(probe, run_probe(echo(), probe)); }

TEST(Fidelity, RunsEveryLaunchOnFreshOutput) {
  const Probe probe = probe_of(100);
  const std::vector<u8> answer = run_probe(echo(), probe);
  ASSERT_EQ(answer.size(), 200u);
  for (std::size_t launch : {0, 1})
    for (std::size_t i = 0; i < 100; ++i)
      ASSERT_EQ(answer[launch * 100 + i], i < 92 ? probe.input[launch * 5 + i] : kUnwritten);
}

TEST(Fidelity, AGoldenFileKeepsEverythingThatWasRecorded) {
  Golden golden = {"a GPU", "1.2", "nvrtc 13", "today", "abc", "def", {}};
  for (const std::size_t bytes : {40, 1000, 9000}) {
    Probe probe = probe_of(bytes);
    golden.probes[std::to_string(bytes)] = recorded(probe);
  }
  EXPECT_FALSE(golden.probes["1000"].lines.empty());
  EXPECT_TRUE(golden.probes["1000"].blocks.empty());
  EXPECT_TRUE(golden.probes["9000"].lines.empty());
  EXPECT_EQ(golden.probes["9000"].blocks.size(), 18u);
  const std::string text = to_text(golden);
  const Golden read = parse_golden(text);
  EXPECT_EQ(read.probes, golden.probes);
  EXPECT_EQ(to_text(read), text);
  EXPECT_THROW(parse_golden("{\"device\": 1}"), Error);
  EXPECT_THROW(parse_golden(text.substr(0, text.size() / 2)), Error);
}

/// All bytes are in the file: the first that differs is named, its place and both values.
TEST(Fidelity, EveryFlippedBitOfASmallAnswerIsFound) {
  const Probe probe = probe_of(100);
  const Recording recording = recorded(probe);
  const std::vector<u8> answer = run_probe(echo(), probe);
  EXPECT_EQ(difference(probe, recording, answer), std::nullopt);
  for (std::size_t i = 0; i < answer.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::vector<u8> wrong = answer;
      wrong[i] ^= static_cast<u8>(1 << bit);
      const auto text = difference(probe, recording, wrong);
      ASSERT_TRUE(text.has_value());
      const std::string item = "item " + std::to_string(i % 100 / 2) + ",";
      ASSERT_THAT(*text, HasSubstr(item));
      ASSERT_THAT(*text, HasSubstr(i < 100 ? "(first)" : "(second)"));
      ASSERT_THAT(*text, HasSubstr("recorded"));
    }
}

/// Only digests are in the file: the block that differs is named.
TEST(Fidelity, EveryFlippedByteOfALargeAnswerIsFound) {
  const Probe probe = probe_of(9000);
  const Recording recording = recorded(probe);
  const std::vector<u8> answer = run_probe(echo(), probe);
  EXPECT_TRUE(recording.lines.empty());
  EXPECT_EQ(difference(probe, recording, answer), std::nullopt);
  for (std::size_t i = 0; i < answer.size(); i += 97) {
    std::vector<u8> wrong = answer;
    wrong[i] ^= 0x10;
    const auto text = difference(probe, recording, wrong);
    ASSERT_TRUE(text.has_value());
    const std::size_t block = i / 1024 * 1024;
    ASSERT_THAT(*text, HasSubstr("1 of 18 blocks"));
    ASSERT_THAT(*text, HasSubstr("byte " + std::to_string(block % 9000) + ","));
  }
}

/// Runs of values by equal steps, up, down and across the ends of their type, come back as they
/// were.
TEST(Fidelity, LinesKeepRunsOfValues) {
  for (const ProbeValue value : {ProbeValue::byte, ProbeValue::u16, ProbeValue::u32}) {
    Probe probe = probe_of(4000);
    probe.value = value;
    std::vector<u8> answer;
    const auto put = [&](u32 number) {
      for (std::size_t i = 0; i < size_of(value); ++i)
        answer.push_back(static_cast<u8>(number >> 8 * i));
    };
    ProbeRandom random(9);
    for (u32 run = 0; run < 60; ++run) {
      const u32 first = random.next(), length = 1 + random.next() % 9;
      const u32 step = random.next() % 5 - 2;
      for (u32 i = 0; i < length; ++i) put(first + i * step);
    }
    for (int i = 0; i < 300; ++i) put(0);
    const Recording recording = record(probe, answer);
    ASSERT_FALSE(recording.lines.empty());
    for (std::size_t i = 0; i < answer.size(); ++i) {
      std::vector<u8> wrong = answer;
      wrong[i] ^= 1;
      const std::string text = difference(probe, recording, wrong).value_or("");
      ASSERT_THAT(text,
                  HasSubstr("byte " + std::to_string(i / size_of(value) * size_of(value)) + ","));
    }
  }
}

TEST(Fidelity, LinesThatMakeNoSenseAreRefused) {
  const Probe probe = probe_of(40);
  std::vector<u8> wrong = run_probe(echo(), probe);
  wrong[0] ^= 1;
  for (const char* line : {"xyz", "10+2", "10*2x3", "10+x3", "10+2xq"}) {
    Recording recording = recorded(probe);
    recording.lines = {line};
    EXPECT_THROW(difference(probe, recording, wrong), Error) << line;
  }
  // A file that someone edited by hand.
  Recording recording = recorded(probe);
  recording.lines = {"0+0x40"};
  recording.sha256[0] = recording.sha256[0] == '0' ? '1' : '0';
  EXPECT_THAT(difference(probe, recording, std::vector<u8>(80)).value_or(""),
              HasSubstr("contradict each other"));
}

TEST(Fidelity, AnswersBelongToTheirInputs) {
  const Probe probe = probe_of(100);
  const Recording recording = recorded(probe);
  const std::vector<u8> answer = run_probe(echo(), probe);
  const auto expect_refused = [&](const Probe& other) {
    const auto text = difference(other, recording, answer);
    EXPECT_THAT(text.value_or(""), HasSubstr("inputs are not those of the recording"));
  };
  Probe other = probe;
  other.input[17] ^= 1;
  expect_refused(other);
  other = probe;
  other.launches[1].args[7] = 1;
  expect_refused(other);
  other = probe;
  other.launches[0].map = {.buffer = ProbeBuffer::input, .offset = 0, .spec = {}};
  expect_refused(other);
  other = probe;
  other.shape.threads = 64;
  expect_refused(other);
}

TEST(Fidelity, AProbeThatFailsLosesOnlyItsOwnAnswer) {
  const std::vector<Probe> probes = {
      probe_of(100),         probe_of(100, "throw"), probe_of(104), probe_of(100, "die"),
      probe_of(100, "hang"), probe_of(100, "waver"), probe_of(108)};
  std::vector<std::string> done;
  const std::vector<Outcome> outcomes = run_isolated(
      probes, []() -> Backend& { return echo(); }, std::chrono::seconds(1),
      [&](const Probe& probe, const Outcome&) { done.push_back(probe.name); });
  ASSERT_EQ(outcomes.size(), probes.size());
  EXPECT_EQ(done.size(), probes.size());
  for (const std::size_t i : {0, 2, 6}) {
    EXPECT_EQ(outcomes[i].error, "");
    EXPECT_EQ(outcomes[i].answer, run_probe(echo(), probes[i]));
  }
  EXPECT_EQ(outcomes[1].error, "as told");
  EXPECT_EQ(outcomes[3].error, "its process ended by signal 9");
  EXPECT_EQ(outcomes[4].error, "no answer in 1 s");
  EXPECT_EQ(outcomes[5].error, "two runs give two answers");
}

TEST(Fidelity, ProbesHaveNamesOfTheirOwnAndSomethingToSay) {
  std::set<std::string> names, tests;
  for (const Probe& probe : all_probes()) {
    EXPECT_TRUE(names.insert(probe.name).second) << probe.name << " twice";
    EXPECT_THAT(probe.name, testing::MatchesRegex("[a-z0-9_/]+"));
    std::string test = probe.name;
    std::replace(test.begin(), test.end(), '/', '_');
    EXPECT_TRUE(tests.insert(test).second) << test << " twice";
    EXPECT_NE(probe.asks, "") << probe.name;
    EXPECT_GT(probe.output_bytes, 0u) << probe.name;
    EXPECT_FALSE(probe.launches.empty()) << probe.name;
  }
}

/// A source has one shape: the cache of kernels knows kernels by their source.
TEST(Fidelity, ProbesOfOneSourceHaveOneShape) {
  std::map<std::string, KernelShape> shapes;
  for (const Probe& probe : all_probes())
    EXPECT_EQ(shapes.emplace(probe.source, probe.shape).first->second, probe.shape) << probe.name;
}

}  // namespace
}  // namespace kiln::test
