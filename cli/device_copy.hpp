// Memory of a device, for as long as the object lives.
#pragma once

#include <algorithm>
#include <cstddef>

#include "kiln/tensor.hpp"
#include "runtime/backend.hpp"

namespace kiln::cli {

/// A copy of host memory on a device; of nothing, if `data` is null: so many bytes of anything.
class DeviceCopy {
 public:
  DeviceCopy(Backend& backend, const void* data, std::size_t bytes)
      : backend_(backend), data_(backend.allocate(std::max<std::size_t>(bytes, 1))) {
    if (data && bytes) backend.copy_in(data_, data, bytes);
  }
  ~DeviceCopy() { backend_.free(data_); }
  DeviceCopy(const DeviceCopy&) = delete;
  DeviceCopy& operator=(const DeviceCopy&) = delete;

  void* data() const { return data_; }
  TensorView view(TensorView host) const {
    host.data = data_;
    return host;
  }

 private:
  Backend& backend_;
  void* data_;
};

}  // namespace kiln::cli
