#include "cli/words.hpp"

#include <fmt/format.h>

#include <charconv>

#include "ops/view_check.hpp"

namespace kiln::cli {

void refuse_word(const std::string& option, const std::string& wanted, const std::string& got) {
  // "-j,--jobs" is known by its long name.
  throw CLI::ValidationError(option.substr(option.find(',') + 1),
                             "wanted " + wanted + ", got " + (got.empty() ? "nothing" : got));
}

std::string listed(const std::vector<std::string>& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i)
    text += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + words[i];
  return text;
}

CLI::Option* add_count(CLI::App& app, const std::string& option, int& value, int least,
                       const std::string& help) {
  const auto set = [&value, least, option](const std::string& word) {
    int number = 0;
    const char* end = word.data() + word.size();
    const auto [stop, error] = std::from_chars(word.data(), end, number);
    if (error != std::errc() || stop != end || number < least)
      refuse_word(option, fmt::format("a whole number, {} or more", least), word);
    value = number;
  };
  return app.add_option_function<std::string>(option, set, help)->type_name("N");
}

GemmShape parse_gemm_shape(const std::string& option, const std::string& word) {
  const auto refuse = [&] { refuse_word(option, "a shape MxNxK such as 4096x7168x2048", word); };
  i64 sizes[3] = {};
  const char* at = word.data();
  const char* const end = word.data() + word.size();
  for (int i = 0; i < 3; ++i) {
    const auto [stop, error] = std::from_chars(at, end, sizes[i]);
    if (error != std::errc() || sizes[i] < 0) refuse();
    at = stop;
    if (i == 2) break;
    if (at == end || (*at != 'x' && *at != 'X')) refuse();
    ++at;
  }
  if (at != end) refuse();
  for (const i64 size : sizes)
    if (size > kLargestSize) refuse_word(option, fmt::format("sizes up to {}", kLargestSize), word);
  return {sizes[0], sizes[1], sizes[2]};
}

std::string shape_text(const GemmShape& shape) {
  return fmt::format("{}x{}x{}", shape.m, shape.n, shape.k);
}

void add_recipe_option(CLI::App& app, BScales& b_scales) {
  add_choice<BScales>(app, "--recipe", b_scales,
                      {{"weights", BScales::block_128x128},
                       {"gradients", BScales::row_1x128},
                       {"row_1x128,block_128x128", BScales::block_128x128},
                       {"row_1x128,row_1x128", BScales::row_1x128}},
                      "the scales of A and B: weights (row_1x128,block_128x128: activations times "
                      "weights; the default) or gradients (row_1x128,row_1x128)")
      ->type_name("weights|gradients|A,B");
}

void add_out_option(CLI::App& app, OutType& d) {
  add_choice<OutType>(app, "--out", d, {{"bf16", OutType::bf16}, {"fp32", OutType::fp32}},
                      "the type of D (default bf16)");
}

void add_sms_option(CLI::App& app, int& sms) {
  add_count(app, "--sms", sms, 1, "use at most N SMs (default: all)");
}

void add_type_options(CLI::App& app, GemmTypes& types) {
  add_recipe_option(app, types.b_scales);
  add_out_option(app, types.d);
  add_choice<Addend>(app, "--c", types.c,
                     {{"none", Addend::none}, {"bf16", Addend::bf16}, {"fp32", Addend::fp32}},
                     "the type of the addend C (default none)");
  app.add_flag(
      "--padded-rows", types.padded_rows,
      "rows of A and B start at multiples of 16 bytes, so that the copy engine can load them "
      "whatever K is (default: rows follow each other)");
  add_sms_option(app, types.sms);
}

GemmProblem problem_of(const GemmShape& shape, const GemmTypes& types) {
  const i64 d_row = shape.n * size_of(dtype_of(types.d));
  const bool load = types.padded_rows || shape.k % 16 == 0;
  const bool store = d_row % 16 == 0;  // the copy engine clips a store at whole 16-byte pieces
  // Those of blocks lie along K, those of rows along the rows.
  const bool scales = types.padded_rows ||
                      (types.b_scales == BScales::row_1x128 ? shape.m % 4 == 0 && shape.n % 4 == 0
                                                            : (shape.k + 127) / 128 % 4 == 0);
  return {.m = shape.m,
          .n = shape.n,
          .k = shape.k,
          .b_scales = types.b_scales,
          .c = types.c,
          .d = types.d,
          // Without a K there is nothing to load, and no tensor map of it either.
          .load = load && shape.k > 0 ? CopyPath::tma : CopyPath::plain,
          .store = store ? CopyPath::tma : CopyPath::plain,
          .scales = load && shape.k > 0 && scales ? ScaleCopy::tma_mn : ScaleCopy::plain,
          .sm_budget = types.sms};
}

std::string recipe_text(BScales b_scales) {
  return fmt::format("row_1x128,{}", to_string(recipe_of(b_scales)));
}

const char* word_of(OutType type) { return type == OutType::bf16 ? "bf16" : "fp32"; }

const char* word_of(Addend type) {
  return type == Addend::none ? "none" : type == Addend::bf16 ? "bf16" : "fp32";
}

ScaleRecipe recipe_of(BScales b_scales) {
  return b_scales == BScales::row_1x128 ? ScaleRecipe::row_1x128 : ScaleRecipe::block_128x128;
}

DType dtype_of(OutType type) { return type == OutType::bf16 ? DType::bf16 : DType::fp32; }

const std::vector<NamedArch>& named_archs() {
  constexpr int kSmem = 232448;  // of a CTA, on every sm_90
  static const std::vector<NamedArch> archs = {
      {"h200", "NVIDIA H200, H100 SXM: 132 SMs", h200()},
      {"h100-pcie",
       "NVIDIA H100 PCIe: 114 SMs",
       {"sm_90a", 114, kSmem, 50 << 20, "NVIDIA H100 PCIe"}},
      {"h20", "NVIDIA H20: 78 SMs", {"sm_90a", 78, kSmem, 60 << 20, "NVIDIA H20"}},
      {"emu", "the emulator: 4 SMs", {"emu", 4, kSmem, 60 << 20}}};
  return archs;
}

void add_arch_option(CLI::App& app, NamedArch& arch, ArchWish wish) {
  arch = named_archs().front();
  std::vector<std::pair<std::string, NamedArch>> choices;
  std::string help;
  for (const NamedArch& named : named_archs()) {
    if (wish == ArchWish::gpu && named.arch.name == "emu") continue;
    choices.emplace_back(named.name, named);
    help += (help.empty() ? "plan for " : "; ") + named.description;
  }
  add_choice<NamedArch>(app, "--arch", arch, choices, help + " (default h200)");
}

}  // namespace kiln::cli
