// Whether Kiln is built under AddressSanitizer. Kernels are then compiled under it too, in place of
// the hooks that tell a checker of their loads and stores.
#pragma once

namespace kiln::emu {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kUnderAsan = true;
#else
inline constexpr bool kUnderAsan = false;
#endif

}  // namespace kiln::emu
