#include "ops/gemm/tuned.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "kiln/error.hpp"
#include "ops/config_text.hpp"
#include "ops/gemm/text.hpp"
#include "ops/view_params.hpp"

namespace kiln {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kOperation = "gemm";
constexpr const char* kLastOfKey = "sm_budget";
constexpr std::size_t kMostProblems = 8;  // of a table that are told one by one

/// Calls f for each line that is not empty, with its number from 1.
template <class F>
void for_each_line(std::string_view text, F&& f) {
  for (int number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.find_first_not_of(" \t\r") != line.npos) f(number, line);
  }
}

/// What of an object is missing or of another kind; the first such field.
class Reader {
 public:
  explicit Reader(const Json& json) : json_(json) {}

  void text(const char* name, std::string& value) {
    const auto found = json_.find(name);
    if (found == json_.end() || !found->is_string()) return refuse(name, "a text");
    value = found->get<std::string>();
  }
  template <class Integer>
  void integer(const char* name, Integer& value, i64 least, i64 most) {
    const auto found = json_.find(name);
    if (found == json_.end() || !found->is_number_integer()) return refuse(name, "a whole number");
    // A number beyond 63 bits is unsigned, and beyond `most` in any case.
    const i64 number = found->is_number_unsigned() && found->get<u64>() > static_cast<u64>(most)
                           ? -1
                           : found->get<i64>();
    if (number < least || number > most) return refuse(name, fmt::format("{} to {}", least, most));
    value = static_cast<Integer>(number);
  }
  void time(const char* name, double& value) {
    const auto found = json_.find(name);
    if (found == json_.end() || !found->is_number()) return refuse(name, "a time");
    value = found->get<double>();
    if (!std::isfinite(value) || value <= 0) refuse(name, "a time");
  }
  template <class E>
  void word(const char* name, E& value) {
    std::string word;
    text(name, word);
    if (problem_.empty() && !parse_word(word, value)) refuse(name, "a word of that field");
  }

  const std::string& problem() const { return problem_; }

 private:
  void refuse(const char* name, const std::string& wanted) {
    if (problem_.empty()) problem_ = fmt::format("'{}' is not {}", name, wanted);
  }
  const Json& json_;
  std::string problem_;
};

void read_problem(Reader& reader, GemmProblem& p) {
  constexpr i64 kMost = i64{1} << 40;
  reader.integer("m", p.m, 1, kMost);
  reader.integer("n", p.n, 1, kMost);
  reader.integer("k", p.k, 0, kMost);
  reader.word("b_scales", p.b_scales);
  reader.word("c", p.c);
  reader.word("d", p.d);
  reader.word("load", p.load);
  reader.word("store", p.store);
  reader.word("scales", p.scales);
  reader.integer(kLastOfKey, p.sm_budget, 0, 1 << 20);
}

/// Why the kernel cannot be the problem's, or "".
std::string objection(const TunedEntry& entry) {
  const GemmConfig& c = entry.config;
  if (const char* reason = refusal(c)) return reason;
  if (!fits(c, entry.problem)) return "it does not fit the problem's types and copies";
  return refused_by_problem(c, entry.problem,
                            available_sms(entry.problem.sm_budget, {.sm_count = entry.sms}));
}

Json parse(std::string_view line) {
  return Json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
}

/// Whether a line is about the same operation, machine and problem as an entry, usable or not.
bool same_key(const Json& line, const Json& entry) {
  for (const auto& [name, value] : entry.items()) {
    if (!line.contains(name) || line[name] != value) return false;
    if (name == kLastOfKey) break;
  }
  return true;
}

Json json_of(const TunedEntry& e) {
  // A new field of a problem does not compile here: it belongs to the key, here and in
  // read_problem.
  const auto& [m, n, k, b_scales, c, d, load, store, scales, sm_budget] = e.problem;
  return {{"op", kOperation},
          {"device", e.device},
          {"arch", e.arch},
          {"sms", e.sms},
          {"m", m},
          {"n", n},
          {"k", k},
          {"b_scales", word_of(b_scales)},
          {"c", word_of(c)},
          {"d", word_of(d)},
          {"load", word_of(load)},
          {"store", word_of(store)},
          {"scales", word_of(scales)},
          {kLastOfKey, sm_budget},
          {"config", to_string(e.config)},
          {"us", e.us},
          {"model", e.model},
          {"model_us", e.model_us},
          {"runs", e.runs},
          {"flush", e.flush},
          {"timer", e.timer},
          {"date", e.date},
          {"kiln", e.version},
          {"sources", e.sources}};
}

std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

bool TunedEntry::same_key(const TunedEntry& other) const {
  return problem == other.problem && device == other.device && arch == other.arch &&
         sms == other.sms;
}

bool TunedEntry::is_for(const GemmProblem& p, const Arch& machine) const {
  return problem == p && device == machine.device && arch == machine.name &&
         sms == machine.sm_count;
}

std::string line_of(const TunedEntry& entry) { return text_of(json_of(entry)); }

std::variant<TunedEntry, std::string> parse_tuned_line(std::string_view line) {
  const Json json = parse(line);
  if (!json.is_object()) return "it is no JSON object";
  TunedEntry e;
  Reader reader(json);
  std::string op, config;
  reader.text("op", op);
  if (reader.problem().empty() && op != kOperation)
    return fmt::format("it is about another operation than {}", kOperation);
  reader.text("device", e.device);
  reader.text("arch", e.arch);
  reader.integer("sms", e.sms, 1, 1 << 20);
  read_problem(reader, e.problem);
  reader.text("config", config);
  reader.time("us", e.us);
  reader.text("model", e.model);
  reader.time("model_us", e.model_us);
  reader.integer("runs", e.runs, 1, 1 << 30);
  reader.text("flush", e.flush);
  reader.text("timer", e.timer);
  reader.text("date", e.date);
  reader.text("kiln", e.version);
  reader.text("sources", e.sources);
  if (!reader.problem().empty()) return reader.problem();
  if (e.device.empty()) return std::string("'device' is empty");
  try {
    e.config = parse_gemm_config(config);
  } catch (const Error& error) {
    return std::string(error.what());
  }
  if (const std::string why = objection(e); !why.empty())
    return fmt::format("its config cannot run this problem: {}", why);
  return e;
}

TunedTable::TunedTable(std::string name, std::string_view text) : name_(std::move(name)) {
  std::size_t ignored = 0;
  for_each_line(text, [&](int number, std::string_view line) {
    auto parsed = parse_tuned_line(line);
    if (auto* entry = std::get_if<TunedEntry>(&parsed)) {
      entries_.push_back(std::move(*entry));
    } else if (++ignored <= kMostProblems) {
      problems_.push_back(
          fmt::format("{}, line {}, is ignored: {}", name_, number, std::get<std::string>(parsed)));
    }
  });
  if (ignored > kMostProblems)
    problems_.push_back(
        fmt::format("{}: {} more lines are ignored", name_, ignored - kMostProblems));
}

const TunedEntry* TunedTable::find(const GemmProblem& problem, const Arch& arch) const {
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry)
    if (entry->is_for(problem, arch)) return &*entry;
  return nullptr;
}

std::string merge_tuned(std::string_view text, std::span<const TunedEntry> entries) {
  std::vector<Json> fresh;
  for (const TunedEntry& entry : entries) fresh.push_back(json_of(entry));
  std::string result;
  for_each_line(text, [&](int, std::string_view line) {
    const Json json = parse(line);
    if (!json.is_object()) return;
    for (const Json& entry : fresh)
      if (same_key(json, entry)) return;
    result.append(line).append(1, '\n');
  });
  for (const Json& entry : fresh) result += text_of(entry) + "\n";
  return result;
}

}  // namespace kiln
