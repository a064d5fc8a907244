// Replaces operator new of the test program by one that counts, for tests of paths that must not
// allocate.
#include "runtime_allocation_count.hpp"

#include <cstdlib>
#include <new>

namespace kiln {
namespace {
thread_local std::uint64_t count = 0;
}  // namespace
std::uint64_t allocation_count() { return count; }
}  // namespace kiln

// The nothrow form as well, since it ends in the same delete. That of the C++ library calls the
// other new; that of AddressSanitizer does not, and what it returns must not reach std::free.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  ++kiln::count;
  return std::malloc(bytes ? bytes : 1);
}
void* operator new(std::size_t bytes) {
  if (void* data = ::operator new(bytes, std::nothrow)) return data;
  throw std::bad_alloc();
}
void operator delete(void* data) noexcept { std::free(data); }
void operator delete(void* data, const std::nothrow_t&) noexcept { std::free(data); }
void operator delete(void* data, std::size_t) noexcept { std::free(data); }
