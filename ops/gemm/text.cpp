#include "ops/gemm/text.hpp"

#include <fmt/format.h>

#include "ops/config_text.hpp"

namespace kiln {

std::string source_of(const GemmConfig& config) {
  return source_text(config, "ops/gemm/kernel.cuh", "Gemm", "GemmConfig");
}

std::string to_string(const GemmConfig& config) { return config_text(config); }

std::string short_name(const GemmConfig& c) {
  std::string text =
      fmt::format("{}x{} {}wg {}st", c.tile_m, c.tile_n, c.math_warpgroups, c.stages);
  if (c.store == CopyPath::tma) text += fmt::format(" {}strips", c.store_strips);
  if (c.products > 1) text += fmt::format(" {}products", c.products);
  if (c.multicast != Multicast::none) text += fmt::format(" share-{}", word_of(c.multicast));
  if (c.b_scales == BScales::row_1x128) text += " b-rows";
  if (c.c != Addend::none) text += fmt::format(" +c-{}", word_of(c.c));
  if (c.d != OutType::bf16) text += fmt::format(" {}", word_of(c.d));
  if (c.load == CopyPath::plain) text += " plain-load";
  if (c.store == CopyPath::plain) text += " plain-store";
  if (c.scales == ScaleCopy::tma_k) text += " k-scales";
  if (c.scales == ScaleCopy::plain) text += " plain-scales";
  return text;
}

GemmConfig parse_gemm_config(std::string_view text, const GemmConfig& base) {
  return parse_config(text, base, "gemm");
}

}  // namespace kiln
