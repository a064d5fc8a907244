#include "tests/mutants/automatic.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <random>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/mutants/tokens.hpp"

namespace kiln::test {
namespace {

/// What both sides of a binary operator are told apart by blanks for; the others need none.
const std::map<std::string_view, std::string_view> kOther = {
    {"+", "-"},        {"-", "+"},       {"*", "/"},   {"/", "*"},   {"%", "/"},   {"<<", ">>"},
    {">>", "<<"},      {"<", "<="},      {"<=", "<"},  {">", ">="},  {">=", ">"},  {"==", "!="},
    {"!=", "=="},      {"&&", "||"},     {"||", "&&"}, {"&", "|"},   {"|", "&"},   {"++", "--"},
    {"--", "++"},      {"+=", "-="},     {"-=", "+="}, {"|=", "&="}, {"^=", "|="}, {"*=", "/="},
    {"true", "false"}, {"false", "true"}};

bool needs_blanks(std::string_view operation) {
  return operation != "++" && operation != "--" && operation != "true" && operation != "false";
}

/// The value of an integer literal without a suffix.
std::optional<long> integer(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x")) base = 16;
  if (text.starts_with("0b")) base = 2;
  if (base != 10) text.remove_prefix(2);
  long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

class Mutator {
 public:
  Mutator(const std::string& file, const std::string& text)
      : file_(file), text_(text), tokens_(tokens_of(text)) {
    exclude();
    int depth = 0;
    for (const Token& token : tokens_) {
      if (token.text == ")") --depth;
      depth_.push_back(depth);
      if (token.text == "(") ++depth;
    }
  }

  std::vector<Mutant> make() {
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      if (!tokens_[i].mutable_) continue;
      change_operation(i);
      change_number(i);
      negate_condition(i);
      delete_call(i);
    }
    return std::move(mutants_);
  }

 private:
  bool is(std::size_t i, std::string_view text) const {
    return i < tokens_.size() && tokens_[i].text == text;
  }
  void freeze(std::size_t first, std::size_t last) {
    for (std::size_t i = first; i <= last && i < tokens_.size(); ++i) tokens_[i].mutable_ = false;
  }

  void exclude() {
    if (file_.ends_with(".hpp")) exclude_all_but_device_functions();
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const std::string_view text = tokens_[i].text;
      if (text == "static_assert" || text == "alignas") freeze(i, closing(tokens_, i + 1));
      if (text == "template" && is(i + 1, "<")) freeze(i, closing(tokens_, i + 1));
      // The size of an array that a reference parameter names is part of a type.
      if (text == "[" && i > 2 && is(i - 1, ")") && is(i - 3, "&")) freeze(i, closing(tokens_, i));
      if (text == "concept") {
        std::size_t body = i;
        while (!is(body, "{")) ++body;
        freeze(i, closing(tokens_, body));
      }
    }
  }

  void exclude_all_but_device_functions() {
    std::size_t i = 0;
    while (i < tokens_.size()) {
      if (!is(i, "DEV")) {
        tokens_[i++].mutable_ = false;
        continue;
      }
      while (i < tokens_.size() && !is(i, "{")) tokens_[i++].mutable_ = false;
      if (i < tokens_.size()) i = closing(tokens_, i) + 1;
    }
  }

  void change_operation(std::size_t i) {
    const Token& token = tokens_[i];
    const auto other = kOther.find(token.text);
    if (other != kOther.end() && (token.spaced || !needs_blanks(token.text)))
      add(token.at, token.text.size(), std::string(other->second));
    if (token.text == "^" && token.spaced) {
      const std::size_t last = is(i + 1, "(") ? closing(tokens_, i + 1) : end_of_operand(i + 1);
      const std::size_t end = tokens_[last].at + tokens_[last].text.size();
      add(token.at - 1, end - (token.at - 1), "");
    }
  }

  /// A name, a number, or names joined by dots.
  std::size_t end_of_operand(std::size_t i) const {
    while (is(i + 1, ".") || is(i + 1, "::")) i += 2;
    return i;
  }

  void change_number(std::size_t i) {
    const Token& token = tokens_[i];
    if (token.kind != Token::Kind::number) return;
    const std::optional<long> value = integer(token.text);
    if (!value) return;
    std::set<long> others = {*value + 1, *value - 1, 0};
    others.erase(*value);
    for (const long other : others) add(token.at, token.text.size(), std::to_string(other));
  }

  /// Ordinary ifs: one that is constexpr selects what does not compile otherwise.
  void negate_condition(std::size_t i) {
    if (!is(i, "if") || !is(i + 1, "(")) return;
    const std::size_t first = tokens_[i + 1].at + 1, last = tokens_[closing(tokens_, i + 1)].at;
    add(first, last - first, "!(" + text_.substr(first, last - first) + ")");
  }

  bool starts_statement(std::size_t i) const {
    if (i == 0 || depth_[i] != 0) return false;
    const std::string_view before = tokens_[i - 1].text;
    return before == ";" || before == "{" || before == "}" || before == "else" || before == ")" ||
           before == "KILN_UNROLL";
  }

  void delete_call(std::size_t i) {
    if (tokens_[i].kind != Token::Kind::word || !starts_statement(i)) return;
    std::size_t at = i;
    for (;;) {
      if (is(at + 1, "<") && !tokens_[at + 1].spaced) at = closing(tokens_, at + 1);
      if (is(at + 1, "::") || is(at + 1, ".") || is(at + 1, "->")) {
        at += 2;
      } else if (is(at + 1, "[")) {
        at = closing(tokens_, at + 1);
      } else {
        break;
      }
    }
    if (!is(at + 1, "(")) return;
    const std::size_t close = closing(tokens_, at + 1);
    if (!is(close + 1, ";")) return;
    const std::size_t first = tokens_[i].at;
    add(first, tokens_[close].at + 1 - first, "");
  }

  void add(std::size_t at, std::size_t size, const std::string& with) {
    const std::string old = text_.substr(at, size);
    const std::size_t begin = text_.rfind('\n', at) + 1, end = text_.find('\n', at);
    std::string line = text_.substr(begin, end - begin);
    line.erase(0, line.find_first_not_of(' '));
    std::string id = fmt::format("{} | {} | {} -> {}", file_, line, one_line(old),
                                 with.empty() ? "nothing" : one_line(with));
    const int number = ++seen_[id];
    if (number > 1) id += fmt::format(" ({})", number);
    const auto row = std::count(text_.begin(), text_.begin() + static_cast<long>(at), '\n') + 1;
    std::string mutated = text_;
    mutated.replace(at, size, with);
    mutants_.push_back({std::move(id), fmt::format("{}:{}", file_, row), {{file_, mutated}}});
  }

  static std::string one_line(const std::string& text) {
    std::string line;
    for (const char c : text)
      if (c != '\n' && (c != ' ' || line.empty() || line.back() != ' ')) line += c;
    return line;
  }

  const std::string& file_;
  const std::string& text_;
  std::vector<Token> tokens_;
  std::vector<int> depth_;  // of parentheses around each token
  std::map<std::string, int> seen_;
  std::vector<Mutant> mutants_;
};

}  // namespace

std::vector<Mutant> automatic_mutants_of(const std::string& file, const std::string& text) {
  return Mutator(file, text).make();
}

namespace {

/// A file and all that it includes, directly or not.
std::set<std::string> included(const SourceTexts& sources, const std::string& kernel) {
  std::set<std::string> files;
  std::vector<std::string> next = {kernel};
  const std::regex include("#include \"([^\"]+)\"");
  while (!next.empty()) {
    const std::string file = next.back();
    next.pop_back();
    const auto source = sources.find(file);
    if (source == sources.end() || !files.insert(file).second) continue;
    const std::string& text = source->second;
    for (std::sregex_iterator at(text.begin(), text.end(), include), end; at != end; ++at)
      next.push_back((*at)[1]);
  }
  return files;
}

}  // namespace

std::vector<Mutant> automatic_mutants(const SourceTexts& sources, const std::string& kernel) {
  std::vector<Mutant> all;
  for (const std::string& file : included(sources, kernel)) {
    if (file.starts_with("device/ptx")) continue;  // the seam, another machine's on a GPU
    for (Mutant& mutant : automatic_mutants_of(file, sources.at(file)))
      all.push_back(std::move(mutant));
  }
  return all;
}

std::vector<Mutant> sample(std::vector<Mutant> mutants, std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  // Fisher and Yates, spelled out: std::shuffle differs between libraries.
  std::vector<std::size_t> order(mutants.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  order.resize(std::min(count, order.size()));
  std::sort(order.begin(), order.end());
  std::vector<Mutant> chosen;
  for (const std::size_t i : order) chosen.push_back(std::move(mutants[i]));
  return chosen;
}

}  // namespace kiln::test
