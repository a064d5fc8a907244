// The functions that the Python package calls, each a C symbol that tvm-ffi finds by its name.
// Arguments come in the order of python/kiln/_calls.py:
//
//   gemm          a, a.scales, b, b.scales, d, c, a's recipe, b's, options...
//   grouped_gemm  the kind of grouping, a, a.scales, b, b.scales, d, groups.index, c, alignment,
//                 expected_rows, a's recipe, b's, options...
//
// and of each the _prepare and the _workspace_bytes form. companions.cpp has the other operations.
#include "functions.hpp"

#include <cstdint>
#include <new>
#include <string>
#include <string_view>

namespace kiln::python {
namespace {

TVMFFIByteArray bytes_of(std::string_view text) { return {text.data(), text.size()}; }

Call<GemmArgs> gemm_call(const TVMFFIAny* values, int count) {
  Arguments in("gemm", values, count);
  Call<GemmArgs> call;
  call.args.a = in.scaled("a", "a.scales", 2, ScaleRecipe::row_1x128);
  call.args.b = in.scaled("b", "b.scales", 2, ScaleRecipe::block_128x128);
  call.args.d = in.tensor("d", 2, {DType::bf16, DType::fp32});
  call.args.c = in.optional_tensor("c", 2, {DType::bf16, DType::fp32});
  in.recipe(call.args.a.recipe);
  in.recipe(call.args.b.recipe);
  call.options = in.options();
  return call;
}

Call<GroupedGemmArgs> grouped_call(const TVMFFIAny* values, int count) {
  Arguments in("grouped_gemm", values, count);
  Call<GroupedGemmArgs> call;
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
  in.recipe(args.a.recipe);
  in.recipe(args.b.recipe);
  call.options = in.options();
  return call;
}

}  // namespace

// Without a backtrace: the frames in here would say nothing to a caller.
int raise(const std::string& kind, const char* message) noexcept {
  const TVMFFIByteArray parts[] = {bytes_of(kind), bytes_of(message), bytes_of("")};
  TVMFFIObjectHandle error = nullptr;
  if (TVMFFIErrorCreate(&parts[0], &parts[1], &parts[2], &error) == 0) {
    TVMFFIErrorSetRaised(error);
    TVMFFIObjectDecRef(error);
  }
  return -1;
}

}  // namespace kiln::python

using namespace kiln::python;  // NOLINT: the names below are all this file has outside of it

KILN_FUNCTION(version) {
  return guarded([&] {
    const TVMFFIByteArray text = bytes_of(kiln::version());
    if (TVMFFIStringFromByteArray(&text, result) != 0) throw std::bad_alloc();
  });
}

KILN_OPERATION(gemm, gemm_call)
KILN_WORKSPACE(gemm, gemm_call)
KILN_OPERATION(grouped_gemm, grouped_call)
KILN_WORKSPACE(grouped_gemm, grouped_call)
