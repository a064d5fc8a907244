// The emulator's tensor core and scalar operations answer as the model does: the same questions
// that tests/gpu asks of the hardware.
#include "tests/support/tensor_core_check.hpp"

namespace kiln::test {
namespace {

TEST(EmuTensorCore, StepsEqualTheModel) { check_steps(emu_backend(), 4); }
TEST(EmuTensorCore, ScalarOperationsAreIeee) { check_scalars(emu_backend(), 1 << 14); }

}  // namespace
}  // namespace kiln::test
