#include "tests/mutants/tokens.hpp"

#include <algorithm>
#include <cctype>

namespace kiln::test {
namespace {

constexpr std::string_view kOperators[] = {
    "<<=", ">>=", "...", "->", "++", "--", "<<", "<=", ">=", "==", "!=",
    "&&",  "||",  "+=",  "-=", "*=", "/=", "%=", "^=", "|=", "&=", "::"};

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool is_blank(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

class Scanner {
 public:
  explicit Scanner(std::string_view source) : source_(source) {}

  std::vector<Token> scan() {
    while (at_ < source_.size())
      if (!skip()) take();
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return source_.substr(at_); }
  bool starts_line() const {
    const std::size_t line = source_.rfind('\n', at_ == 0 ? 0 : at_ - 1);
    const std::string_view before =
        at_ == 0 ? "" : source_.substr(line == source_.npos ? 0 : line, at_ - line);
    return std::all_of(before.begin(), before.end(), is_blank);
  }
  void skip_to(std::string_view end) {
    const std::size_t found = source_.find(end, at_ + 1);
    at_ = found == source_.npos ? source_.size() : found + end.size();
  }

  /// Blanks, comments, directives, literals of text.
  bool skip() {
    const char c = source_[at_];
    if (is_blank(c)) {
      ++at_;
    } else if (rest().starts_with("//")) {
      skip_to("\n");
    } else if (rest().starts_with("/*")) {
      skip_to("*/");
    } else if (c == '#' && starts_line()) {
      do {
        skip_to("\n");
      } while (at_ >= 2 && source_[at_ - 2] == '\\' && at_ < source_.size());
    } else if (c == '"' || c == '\'') {
      skip_to(std::string(1, c));
    } else {
      return false;
    }
    return true;
  }

  void take() {
    std::size_t size = 1;
    Token::Kind kind = Token::Kind::operation;
    if (is_word(source_[at_])) {
      kind = is_digit(source_[at_]) ? Token::Kind::number : Token::Kind::word;
      while (at_ + size < source_.size() &&
             (is_word(source_[at_ + size]) ||
              (kind == Token::Kind::number && source_[at_ + size] == '.')))
        ++size;
    } else {
      for (const std::string_view candidate : kOperators)
        if (rest().starts_with(candidate)) size = std::max(size, candidate.size());
    }
    const std::size_t end = at_ + size;
    const bool spaced =
        at_ > 0 && is_blank(source_[at_ - 1]) && end < source_.size() && is_blank(source_[end]);
    tokens_.push_back({kind, source_.substr(at_, size), at_, spaced});
    at_ = end;
  }

  std::string_view source_;
  std::size_t at_ = 0;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokens_of(std::string_view source) { return Scanner(source).scan(); }

std::size_t closing(const std::vector<Token>& tokens, std::size_t open) {
  const std::string_view opens = tokens[open].text;
  const std::string_view closes = opens == "("   ? ")"
                                  : opens == "[" ? "]"
                                  : opens == "{" ? "}"
                                                 : ">";
  int depth = 0;
  for (std::size_t i = open; i < tokens.size(); ++i) {
    if (tokens[i].text == opens) ++depth;
    if (tokens[i].text == closes && --depth == 0) return i;
  }
  return tokens.size();
}

}  // namespace kiln::test
