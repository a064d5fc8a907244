// C++ as clang-format leaves it, cut into tokens, as far as mutating it needs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kiln::test {

struct Token {
  enum class Kind { word, number, operation };
  Kind kind;
  std::string_view text;
  std::size_t at;        // offset in the source
  bool spaced = false;   // blanks on both sides: binary, in formatted code
  bool mutable_ = true;  // false where no mutant is made
};

/// Comments, directives and literals of text are no tokens.
std::vector<Token> tokens_of(std::string_view source);

/// The token that closes the bracket which token `open` opens, or the number of tokens.
std::size_t closing(const std::vector<Token>& tokens, std::size_t open);

}  // namespace kiln::test
