// How a function of the library looks to tvm-ffi: a C symbol of its name, and exceptions that cross
// the C ABI as errors which python/kiln/_errors.py knows.
#pragma once

#include <tvm/ffi/c_api.h>

#include <cstdint>
#include <new>
#include <string>

#include "arguments.hpp"

namespace kiln::python {

/// An operation's operands and its options, as they came.
template <class Args>
struct Call {
  Args args;
  Options options;
};

/// What went wrong, for tvm-ffi to raise: the kind is a name that python/kiln/_errors.py registers.
int raise(const std::string& kind, const char* message) noexcept;

template <class Body>
int guarded(Body&& body) noexcept {
  try {
    body();
    return 0;
  } catch (const WrongType& error) {
    return raise("kiln.wrong_type", error.what());
  } catch (const Error& error) {
    return raise(std::string("kiln.") + to_string(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return raise("MemoryError", "out of memory");
  } catch (const std::exception& error) {
    return raise("kiln.internal", error.what());
  }
}

inline void give(TVMFFIAny* result, std::int64_t value) {
  result->type_index = kTVMFFIInt;
  result->v_int64 = value;
}

}  // namespace kiln::python

#define KILN_FUNCTION(name)                                                  \
  extern "C" KILN_API int __tvm_ffi_##name(                                  \
      [[maybe_unused]] void* self, [[maybe_unused]] const TVMFFIAny* values, \
      [[maybe_unused]] std::int32_t count, [[maybe_unused]] TVMFFIAny* result)

/// The operation kiln::name, and what compiles its kernels; `read` makes a Call of the arguments.
#define KILN_OPERATION(name, read)                   \
  KILN_FUNCTION(name) {                              \
    return kiln::python::guarded([&] {               \
      const auto call = read(values, count);         \
      kiln::name(call.args, call.options);           \
    });                                              \
  }                                                  \
  KILN_FUNCTION(name##_prepare) {                    \
    return kiln::python::guarded([&] {               \
      const auto call = read(values, count);         \
      kiln::name##_prepare(call.args, call.options); \
    });                                              \
  }

/// The bytes of workspace that it needs.
#define KILN_WORKSPACE(name, read)                                                       \
  KILN_FUNCTION(name##_workspace_bytes) {                                                \
    return kiln::python::guarded([&] {                                                   \
      const auto call = read(values, count);                                             \
      kiln::python::give(result, kiln::name##_workspace_bytes(call.args, call.options)); \
    });                                                                                  \
  }
