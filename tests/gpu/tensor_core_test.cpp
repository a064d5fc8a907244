// What the tensor core does, asked of the hardware. A line here that fails is not a bug of a kernel
// but a wrong belief in arith/.
#include "tests/support/tensor_core_check.hpp"

namespace kiln::test {
namespace {

TEST(TensorCore, StepsEqualTheModel) { check_steps(cuda_backend(0), 256); }
TEST(TensorCore, ScalarOperationsAreIeee) { check_scalars(cuda_backend(0), 1 << 20); }

}  // namespace
}  // namespace kiln::test
