#include "runtime/backend.hpp"

#include "kiln/error.hpp"

namespace kiln {

Backend& backend_of(const Device& device) {
  if (device.kind == Device::Kind::cpu)
    throw Error(ErrorCode::internal, "the cpu device runs no kernels");
  return device.kind == Device::Kind::cuda ? cuda_backend(device.index) : emu_backend();
}

}  // namespace kiln
