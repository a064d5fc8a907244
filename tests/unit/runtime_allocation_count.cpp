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

void* operator new(std::size_t bytes) {
  ++kiln::count;
  if (void* data = std::malloc(bytes ? bytes : 1)) return data;
  throw std::bad_alloc();
}
void operator delete(void* data) noexcept { std::free(data); }
void operator delete(void* data, std::size_t) noexcept { std::free(data); }
