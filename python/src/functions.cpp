// The functions that the Python package calls, each a C symbol that tvm-ffi finds by its name.
// Arguments come in the order of python/kiln/_calls.py:
//
//   gemm          a, a.scales, b, b.scales, d, c, options...
//   grouped_gemm  the kind of grouping, a, a.scales, b, b.scales, d, groups.index, c, alignment,
//                 expected_rows, options...
//
// and of each the _prepare and the _workspace_bytes form.
#include <tvm/ffi/c_api.h>

#include <cstdint>
#include <new>
#include <string>
#include <string_view>

#include "arguments.hpp"

namespace kiln::python {
namespace {

struct GemmCall {
  GemmArgs args;
  Options options;
};

GemmCall gemm_call(const TVMFFIAny* values, int count) {
  Arguments in("gemm", values, count);
  GemmCall call;
  call.args.a = in.scaled("a", "a.scales", 2, ScaleRecipe::row_1x128);
  call.args.b = in.scaled("b", "b.scales", 2, ScaleRecipe::block_128x128);
  call.args.d = in.tensor("d", 2, {DType::bf16, DType::fp32});
  call.args.c = in.optional_tensor("c", 2, {DType::bf16, DType::fp32});
  call.options = in.options(call.args.a.recipe, call.args.b.recipe);
  return call;
}

struct GroupedCall {
  GroupedGemmArgs args;
  Options options;
};

GroupedCall grouped_call(const TVMFFIAny* values, int count) {
  Arguments in("grouped_gemm", values, count);
  GroupedCall call;
  GroupedGemmArgs& args = call.args;
  args.groups.kind = static_cast<Grouping::Kind>(in.integer("groups.kind", 0, 3, 0));
  const int rank = args.groups.kind == Grouping::Kind::masked ? 3 : 2;
  args.a = in.scaled("a", "a.scales", rank, ScaleRecipe::row_1x128);
  args.b = in.scaled("b", "b.scales", 3, ScaleRecipe::block_128x128);
  args.d = in.tensor("d", rank, {DType::bf16, DType::fp32});
  args.groups.index = in.tensor("groups.index", 1, {DType::int32});
  args.c = in.optional_tensor("c", rank, {DType::bf16, DType::fp32});
  args.groups.alignment = in.integer("groups.alignment", INT64_MIN, INT64_MAX, 128);
  args.groups.expected_rows = in.integer("groups.expected_rows", INT64_MIN, INT64_MAX, 0);
  call.options = in.options(args.a.recipe, args.b.recipe);
  return call;
}

TVMFFIByteArray bytes_of(std::string_view text) { return {text.data(), text.size()}; }

/// What went wrong, for tvm-ffi to raise: the kind is a name that python/kiln/_errors.py registers.
/// Without a backtrace: the frames in here would say nothing to a caller.
int raise(const std::string& kind, const char* message) noexcept {
  const TVMFFIByteArray parts[] = {bytes_of(kind), bytes_of(message), bytes_of("")};
  TVMFFIObjectHandle error = nullptr;
  if (TVMFFIErrorCreate(&parts[0], &parts[1], &parts[2], &error) == 0) {
    TVMFFIErrorSetRaised(error);
    TVMFFIObjectDecRef(error);
  }
  return -1;
}

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

void give(TVMFFIAny* result, std::int64_t value) {
  result->type_index = kTVMFFIInt;
  result->v_int64 = value;
}

}  // namespace
}  // namespace kiln::python

#define KILN_FUNCTION(name)                                                  \
  extern "C" KILN_API int __tvm_ffi_##name(                                  \
      [[maybe_unused]] void* self, [[maybe_unused]] const TVMFFIAny* values, \
      [[maybe_unused]] std::int32_t count, [[maybe_unused]] TVMFFIAny* result)

using namespace kiln::python;  // NOLINT: the names below are all this file has outside of it

KILN_FUNCTION(version) {
  return guarded([&] {
    const TVMFFIByteArray text = bytes_of(kiln::version());
    if (TVMFFIStringFromByteArray(&text, result) != 0) throw std::bad_alloc();
  });
}

KILN_FUNCTION(gemm) {
  return guarded([&] {
    const GemmCall call = gemm_call(values, count);
    kiln::gemm(call.args, call.options);
  });
}

KILN_FUNCTION(gemm_prepare) {
  return guarded([&] {
    const GemmCall call = gemm_call(values, count);
    kiln::gemm_prepare(call.args, call.options);
  });
}

KILN_FUNCTION(gemm_workspace_bytes) {
  return guarded([&] {
    const GemmCall call = gemm_call(values, count);
    give(result, kiln::gemm_workspace_bytes(call.args, call.options));
  });
}

KILN_FUNCTION(grouped_gemm) {
  return guarded([&] {
    const GroupedCall call = grouped_call(values, count);
    kiln::grouped_gemm(call.args, call.options);
  });
}

KILN_FUNCTION(grouped_gemm_prepare) {
  return guarded([&] {
    const GroupedCall call = grouped_call(values, count);
    kiln::grouped_gemm_prepare(call.args, call.options);
  });
}

KILN_FUNCTION(grouped_gemm_workspace_bytes) {
  return guarded([&] {
    const GroupedCall call = grouped_call(values, count);
    give(result, kiln::grouped_gemm_workspace_bytes(call.args, call.options));
  });
}
