// The tensors of a call between guards, for tests: run by the model on one copy of them and by a
// device on another, then every byte compared, what belongs to no element included.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ops/gemm/case_run.hpp"

namespace kiln {

/// Matrices below each other in one image, `padding` rows between two.
struct BatchLayout {
  i64 count = 1, padding = 0;
};

class GuardedCall {
 public:
  /// Views of all tensors in one memory, in the order in which they were added.
  using Views = std::vector<TensorView>;
  using Call = std::function<void(const Views&)>;

  /// A tensor of bytes 0xFF, which is NaN in every format.
  void add(std::string name, DType dtype, i64 rows, i64 columns, const GemmLayout& layout = {},
           const BatchLayout& batch = {});

  /// In this object's memory: to fill.
  Views views();

  /// Where the memory after `call` on a device differs from that after `model` on the host.
  std::optional<std::string> difference(const Device& device, const Call& model, const Call& call);

 private:
  struct Tensor {
    std::string name;
    GuardedMatrix matrix;
    i64 rows;
    BatchLayout batch;
  };
  TensorView view_of(const Tensor& tensor, void* image) const;

  std::vector<Tensor> tensors_;
};

/// Normals of many sizes; where `wild`, also zeros, subnormals, infinities and NaNs, now and then.
void fill_values(const TensorView& x, bool wild, std::mt19937& random);

}  // namespace kiln
