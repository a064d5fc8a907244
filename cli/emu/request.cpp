#include "cli/emu/request.hpp"

#include <fmt/format.h>

#include <charconv>

#include "cli/text.hpp"
#include "kiln/error.hpp"
#include "ops/gemm/text.hpp"

namespace kiln::cli {
namespace {

constexpr i64 kLargestM = 300, kLargestN = 400, kLargestK = 700;

GemmCase fuzz_case(std::uint64_t seed) {
  GemmCase test = random_gemm_case(static_cast<unsigned>(seed), kLargestM, kLargestN, kLargestK);
  test.name = kFuzzPrefix + std::to_string(seed);
  return test;
}

GemmCase given_case(const EmuRequest& request) {
  if (!request.m || !request.n || !request.k)
    throw CLI::ValidationError("--m", "wanted all of --m, --n and --k, or --cases");
  return {.name = kGivenCase,
          .b_recipe = recipe_of(request.types.b_scales),
          .c = request.types.c,
          .d = request.types.d};
}

std::uint64_t number_of(const std::string& word) {
  std::uint64_t number = 0;
  const char* end = word.data() + word.size();
  const auto [stop, error] = std::from_chars(word.data(), end, number);
  if (error != std::errc() || stop != end)
    refuse_word("--cases", "fuzz: and the number of a random case", kFuzzPrefix + word);
  return number;
}

/// The cases that a word names; none for a random one a seed.
std::vector<GemmCase> cases_of(const std::string& word) {
  const std::vector<GemmCase>& all = emulator_cases();
  if (word == "default") return all;
  if (word == "fuzz") return {};
  if (word.starts_with(kFuzzPrefix))
    return {fuzz_case(number_of(word.substr(std::string(kFuzzPrefix).size())))};
  std::vector<GemmCase> found;
  std::vector<std::string> names = {"default", "fuzz", "fuzz:N"};
  for (const GemmCase& test : all) {
    if (test.name == word) return {test};
    if (test.name.find(word) != std::string::npos) found.push_back(test);
    names.push_back(test.name);
  }
  if (found.empty()) refuse_word("--cases", listed(names) + ", or a part of such a name", word);
  return found;
}

}  // namespace

EmuRuns::EmuRuns(const EmuRequest& request) : request_(request) {
  const bool sizes = request.m || request.n || request.k;
  if (!request.config.empty()) try {
      parse_gemm_config(request.config);
    } catch (const Error& error) {
      throw CLI::ValidationError("--config", error.what());
    }
  if (request.cases.empty() && sizes) {
    cases_ = {changed(given_case(request))};
    return;
  }
  for (GemmCase& test : cases_of(request.cases.empty() ? "default" : request.cases))
    cases_.push_back(changed(std::move(test)));
}

GemmCase EmuRuns::changed(GemmCase test) const {
  test.m = request_.m.value_or(test.m);
  test.n = request_.n.value_or(test.n);
  test.k = request_.k.value_or(test.k);
  if (!request_.config.empty()) test.config = request_.config;
  return test;
}

i64 EmuRuns::count() const {
  const auto cases = static_cast<i64>(std::max<std::size_t>(cases_.size(), 1));
  return request_.seeds * static_cast<i64>(request_.policies.size()) * cases;
}

EmuRun EmuRuns::run(i64 number) const {
  const auto cases = static_cast<i64>(std::max<std::size_t>(cases_.size(), 1));
  const auto policies = static_cast<i64>(request_.policies.size());
  const std::uint64_t seed =
      request_.first_seed + static_cast<std::uint64_t>(number / cases / policies);
  return {.test = cases_.empty() ? changed(fuzz_case(seed))
                                 : cases_[static_cast<std::size_t>(number % cases)],
          .emulation = {.seed = seed,
                        .policy =
                            request_.policies[static_cast<std::size_t>(number / cases % policies)],
                        .check = request_.check,
                        .arithmetic = request_.arithmetic,
                        .threads = 1},
          .sms = request_.types.sms};
}

std::string EmuRuns::text() const {
  if (cases_.empty()) return "random cases";
  if (cases_.size() == 1) return "case " + cases_.front().name;
  return counted(static_cast<i64>(cases_.size()), "case");
}

}  // namespace kiln::cli
