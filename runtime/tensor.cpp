#include "kiln/tensor.hpp"

namespace kiln {

const char* to_string(DType type) noexcept {
  switch (type) {
    case DType::fp32:
      return "fp32";
    case DType::bf16:
      return "bf16";
    case DType::e4m3:
      return "e4m3";
    case DType::int32:
      return "int32";
    case DType::int64:
      return "int64";
  }
  return "an unknown dtype";
}

const char* to_string(ScaleRecipe recipe) noexcept {
  switch (recipe) {
    case ScaleRecipe::row_1x128:
      return "row_1x128";
    case ScaleRecipe::block_128x128:
      return "block_128x128";
  }
  return "an unknown recipe";
}

}  // namespace kiln
