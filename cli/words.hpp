// The words of the command line that several commands and operations share: shapes, types, recipes,
// devices, architectures. A word that means nothing is a CLI::ParseError that says what was wanted.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

#include "kiln/options.hpp"
#include "ops/gemm/cases.hpp"
#include "ops/gemm/plan.hpp"

namespace kiln::cli {

/// Ends parsing: "--out: wanted bf16 or fp32, got fp64".
[[noreturn]] void refuse_word(const std::string& option, const std::string& wanted,
                              const std::string& got);

/// "a", "a or b", "a, b or c".
std::string listed(const std::vector<std::string>& words);

/// An option whose value is one of a few words.
template <class T>
CLI::Option* add_choice(CLI::App& app, const std::string& option, T& value,
                        const std::vector<std::pair<std::string, T>>& choices,
                        const std::string& help) {
  const auto set = [&value, choices, option](const std::string& word) {
    std::vector<std::string> words;
    for (const auto& [name, meaning] : choices) {
      words.push_back(name);
      if (name != word) continue;
      value = meaning;
      return;
    }
    refuse_word(option, listed(words), word);
  };
  std::string names;
  for (const auto& [name, meaning] : choices) names += (names.empty() ? "" : "|") + name;
  return app.add_option_function<std::string>(option, set, help)->type_name(names);
}

/// An option that is a whole number of at least `least`.
CLI::Option* add_count(CLI::App& app, const std::string& option, int& value, int least,
                       const std::string& help);

/// "4096x7168x2048": M, N and K, each 0 or more.
GemmShape parse_gemm_shape(const std::string& option, const std::string& word);
std::string shape_text(const GemmShape& shape);

/// What a GEMM is besides its shape.
struct GemmTypes {
  BScales b_scales = BScales::block_128x128;
  OutType d = OutType::bf16;
  Addend c = Addend::none;
  bool padded_rows = false;
  int sms = 0;
};

void add_recipe_option(CLI::App& app, BScales& b_scales);
void add_out_option(CLI::App& app, OutType& d);
void add_sms_option(CLI::App& app, int& sms);
/// All of them, for commands that know shapes and no matrices.
void add_type_options(CLI::App& app, GemmTypes& types);

/// The problem of row-major matrices, aligned, whose rows follow each other or are padded.
GemmProblem problem_of(const GemmShape& shape, const GemmTypes& types);

std::string recipe_text(BScales b_scales);
const char* word_of(OutType type);
const char* word_of(Addend type);
ScaleRecipe recipe_of(BScales b_scales);
DType dtype_of(OutType type);

struct NamedArch {
  std::string name, description;
  Arch arch;
};
/// The machines to plan for without having them; the first is the default.
const std::vector<NamedArch>& named_archs();
enum class ArchWish { any, gpu };
void add_arch_option(CLI::App& app, NamedArch& arch, ArchWish wish);

}  // namespace kiln::cli
