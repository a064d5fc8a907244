#include "arguments.hpp"

#include <fmt/format.h>
#include <tvm/ffi/extra/c_env_api.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace kiln::python {
namespace {

constexpr std::int64_t kLeastInt = std::numeric_limits<int>::min();
constexpr std::int64_t kMostInt = std::numeric_limits<int>::max();
constexpr std::int64_t kMostInt64 = std::numeric_limits<std::int64_t>::max();

bool is_cuda(const DLTensor& t) {
  return t.device.device_type == kDLCUDA || t.device.device_type == kDLCUDAManaged;
}
bool is_host(const DLTensor& t) {
  return t.device.device_type == kDLCPU || t.device.device_type == kDLCUDAHost;
}

constexpr int dtype_key(int code, int bits) { return code << 8 | bits; }

/// NumPy knows neither E4M3 nor BF16: an array of bytes is one of E4M3 values, an array of 16-bit
/// numbers one of BF16.
std::optional<DType> dtype_of(const DLDataType& type) {
  if (type.lanes != 1) return {};
  switch (dtype_key(type.code, type.bits)) {
    case dtype_key(kDLFloat8_e4m3fn, 8):
    case dtype_key(kDLUInt, 8):
      return DType::e4m3;
    case dtype_key(kDLBfloat, 16):
    case dtype_key(kDLUInt, 16):
      return DType::bf16;
    case dtype_key(kDLFloat, 32):
      return DType::fp32;
    case dtype_key(kDLInt, 32):
      return DType::int32;
    case dtype_key(kDLInt, 64):
      return DType::int64;
    default:
      return {};
  }
}

/// Kiln's name for it, or else DLPack's.
std::string dtype_text(const DLDataType& type) {
  if (const auto known = dtype_of(type)) return to_string(*known);
  static constexpr std::array<const char*, 7> kNames = {"int",    "uint",    "float", "opaque",
                                                        "bfloat", "complex", "bool"};
  static constexpr std::array<const char*, 11> kSmallFloats = {
      "float8_e3m4",     "float8_e4m3",   "float8_e4m3b11fnuz", "float8_e4m3fn",
      "float8_e4m3fnuz", "float8_e5m2",   "float8_e5m2fnuz",    "float8_e8m0fnu",
      "float6_e2m3fn",   "float6_e3m2fn", "float4_e2m1fn"};
  std::string text = "unknown";
  if (type.code < kNames.size())
    text = fmt::format("{}{}", kNames[type.code], type.bits);
  else if (type.code < kNames.size() + kSmallFloats.size())
    text = kSmallFloats[type.code - kNames.size()];
  return type.lanes == 1 ? text : fmt::format("{}x{}", text, type.lanes);
}

const char* type_text(const TVMFFIAny& value) {
  switch (value.type_index) {
    case kTVMFFINone:
      return "None";
    case kTVMFFIInt:
      return "an int";
    case kTVMFFIBool:
      return "a bool";
    case kTVMFFIFloat:
      return "a float";
    case kTVMFFITensor:
    case kTVMFFIDLTensorPtr:
      return "a tensor";
    case kTVMFFIRawStr:
    case kTVMFFISmallStr:
    case kTVMFFIStr:
      return "a str";
    case kTVMFFIArray:
      return "a list or tuple";
    default:
      return "an object that is no tensor (it has no __dlpack__)";
  }
}

/// Null where it is none.
const DLTensor* tensor_of(const TVMFFIAny& value) {
  if (value.type_index == kTVMFFITensor) return TVMFFITensorGetDLTensorPtr(value.v_obj);
  if (value.type_index == kTVMFFIDLTensorPtr) return static_cast<const DLTensor*>(value.v_ptr);
  return nullptr;
}

/// Fills an untouched view of a tensor of one to three dimensions.
void view_of(TensorView& view, const DLTensor& t) {
  view.data = static_cast<char*>(t.data) + t.byte_offset;
  const bool batch = t.ndim == 3, vector = t.ndim == 1;
  const std::int64_t* shape = t.shape + batch;
  if (batch) view.batch = t.shape[0];
  view.shape = {shape[0], vector ? 1 : shape[1]};
  // Without strides matrices, rows and columns lie densely one after another. Those of an empty
  // tensor address nothing, and NumPy's are 0.
  if (t.strides == nullptr || view.shape[0] == 0 || view.shape[1] == 0 || view.batch == 0) {
    view.stride = {std::max<std::int64_t>(view.shape[1], 1), 1};
    if (batch) view.batch_stride = view.stride[0] * std::max<std::int64_t>(view.shape[0], 1);
  } else {
    const std::int64_t* stride = t.strides + batch;
    view.stride = {stride[0], vector ? 1 : stride[1]};
    if (batch) view.batch_stride = t.strides[0];
  }
}

std::string place_text(bool cuda, int ordinal) {
  return cuda ? fmt::format("the memory of cuda:{}", ordinal) : "host memory";
}

const char* to_text(Device::Kind kind) {
  return kind == Device::Kind::cuda ? "cuda" : kind == Device::Kind::emu ? "emu" : "cpu";
}

}  // namespace

void Arguments::refuse(const std::string& message) const {
  throw Error(ErrorCode::invalid_argument, fmt::format("{}: {}", operation_, message));
}

void Arguments::refuse_type(const std::string& message) const {
  throw WrongType(fmt::format("{}: {}", operation_, message));
}

const TVMFFIAny* Arguments::peek() const {
  const TVMFFIAny* value = index_ < count_ ? &values_[index_] : nullptr;
  return value && value->type_index != kTVMFFINone ? value : nullptr;
}

const TVMFFIAny* Arguments::next() {
  const TVMFFIAny* value = peek();
  ++index_;
  return value;
}

const DLTensor* Arguments::next_tensor(const char* name) {
  const TVMFFIAny* value = next();
  if (!value) return nullptr;
  const DLTensor* tensor = tensor_of(*value);
  if (!tensor) refuse_type(fmt::format("{} is {}, wanted a tensor", name, type_text(*value)));
  place(name, *tensor);
  return tensor;
}

void Arguments::place(const char* name, const DLTensor& t) {
  const bool cuda = is_cuda(t);
  if (!cuda && !is_host(t))
    refuse(fmt::format("{} is in the memory of DLPack's device type {}, wanted CUDA's or the CPU's",
                       name, static_cast<int>(t.device.device_type)));
  const Memory memory = cuda ? Memory::cuda : Memory::host;
  const int ordinal = cuda ? t.device.device_id : 0;
  if (memory_ == Memory::unknown) {
    memory_ = memory;
    ordinal_ = ordinal;
    placed_by_ = name;
  } else if (memory != memory_ || ordinal != ordinal_) {
    refuse(fmt::format("{} is in {}, wanted {} as {}", name, place_text(cuda, ordinal),
                       place_text(memory_ == Memory::cuda, ordinal_), placed_by_));
  }
}

bool Arguments::read(TensorView& view, const char* name, int rank,
                     std::initializer_list<DType> dtypes) {
  const DLTensor* t = next_tensor(name);
  if (!t) return false;
  const std::optional<DType> dtype = dtype_of(t->dtype);
  if (!dtype || std::find(dtypes.begin(), dtypes.end(), *dtype) == dtypes.end()) {
    std::string wanted;
    for (const DType type : dtypes) wanted.append(wanted.empty() ? "" : " or ") += to_string(type);
    refuse_type(fmt::format("{} has dtype {}, wanted {}", name, dtype_text(t->dtype), wanted));
  }
  if (t->ndim != rank) refuse(fmt::format("{} has {} dimensions, wanted {}", name, t->ndim, rank));
  view.dtype = *dtype;
  view_of(view, *t);
  return true;
}

std::optional<TensorView> Arguments::optional_tensor(const char* name, int rank,
                                                     std::initializer_list<DType> dtypes) {
  std::optional<TensorView> view(std::in_place);
  if (!read(*view, name, rank, dtypes)) view.reset();
  return view;
}

TensorView Arguments::tensor(const char* name, int rank, std::initializer_list<DType> dtypes) {
  TensorView view;
  if (!read(view, name, rank, dtypes))
    refuse_type(fmt::format("{} is None, wanted a tensor", name));
  return view;
}

ScaleRecipe inferred_recipe(const TensorView& values, const TensorView& scales, ScaleRecipe usual) {
  const std::int64_t rows = values.shape[0];
  const auto fits = [&](ScaleRecipe recipe) {
    return scales.shape[0] == (recipe == ScaleRecipe::row_1x128 ? rows : (rows + 127) / 128);
  };
  const ScaleRecipe other =
      usual == ScaleRecipe::row_1x128 ? ScaleRecipe::block_128x128 : ScaleRecipe::row_1x128;
  return fits(other) && !fits(usual) ? other : usual;
}

ScaledTensor Arguments::scaled(const char* name, const char* scales_name, int rank,
                               ScaleRecipe usual) {
  const TensorView values = tensor(name, rank, {DType::e4m3});
  const TensorView scales = tensor(scales_name, rank, {DType::fp32});
  return {values, scales, inferred_recipe(values, scales, usual)};
}

std::optional<ScaledTensor> Arguments::optional_scaled(const char* name, const char* scales_name,
                                                       int rank, ScaleRecipe usual) {
  if (peek()) return scaled(name, scales_name, rank, usual);
  next();
  if (next()) refuse(fmt::format("{} is given, wanted None as {}", scales_name, name));
  return {};
}

std::optional<TensorView> Arguments::optional_vectors(const char* name, int rank, DType dtype) {
  auto view = optional_tensor(name, rank, {dtype});
  if (view && rank == 2) {
    view->batch = view->shape[0];
    view->batch_stride = view->stride[0];
    view->shape = {view->shape[1], 1};
    view->stride = {view->stride[1], 1};
  }
  return view;
}

int Arguments::matrix_rank() const {
  const TVMFFIAny* value = peek();
  const DLTensor* t = value ? tensor_of(*value) : nullptr;
  return t && t->ndim == 3 ? 3 : 2;
}

std::int64_t Arguments::integer(const char* name, std::int64_t least, std::int64_t most,
                                std::int64_t otherwise) {
  const TVMFFIAny* value = next();
  if (!value) return otherwise;
  if (value->type_index != kTVMFFIInt)
    refuse_type(fmt::format("{} is {}, wanted an int", name, type_text(*value)));
  if (value->v_int64 < least || value->v_int64 > most)
    refuse(fmt::format("{} is {}, wanted {} to {}", name, value->v_int64, least, most));
  return value->v_int64;
}

bool Arguments::boolean(const char* name, bool otherwise) {
  const TVMFFIAny* value = next();
  if (!value) return otherwise;
  if (value->type_index != kTVMFFIBool && value->type_index != kTVMFFIInt)
    refuse_type(fmt::format("{} is {}, wanted a bool", name, type_text(*value)));
  return value->v_int64 != 0;
}

std::optional<float> Arguments::optional_number(const char* name) {
  const TVMFFIAny* value = next();
  if (!value) return {};
  if (value->type_index == kTVMFFIFloat) return static_cast<float>(value->v_float64);
  if (value->type_index == kTVMFFIInt) return static_cast<float>(value->v_int64);
  refuse_type(fmt::format("{} is {}, wanted a float", name, type_text(*value)));
}

void Arguments::recipe(ScaleRecipe& recipe) {
  recipe = static_cast<ScaleRecipe>(integer("recipe", 0, 1, static_cast<int>(recipe)));
}

ScaleRounding Arguments::rounding() {
  return static_cast<ScaleRounding>(integer("scale_rounding", 0, 1, 0));
}

Device Arguments::device(std::int64_t kind, std::int64_t index) const {
  const bool in_cuda = memory_ == Memory::cuda;
  Device device;
  device.kind = kind >= 0 ? static_cast<Device::Kind>(kind)
                : in_cuda ? Device::Kind::cuda
                          : Device::Kind::cpu;
  const bool wants_cuda = device.kind == Device::Kind::cuda;
  if (wants_cuda != in_cuda)
    refuse(fmt::format("{} is in {}, wanted {} for device {}", placed_by_,
                       place_text(in_cuda, ordinal_),
                       wants_cuda ? "the memory of a GPU" : "host memory", to_text(device.kind)));
  if (wants_cuda && index >= 0 && index != ordinal_)
    refuse(fmt::format("{} is in {}, wanted {} for device cuda:{}", placed_by_,
                       place_text(true, ordinal_), place_text(true, static_cast<int>(index)),
                       index));
  device.index = wants_cuda ? ordinal_ : index >= 0 ? static_cast<int>(index) : 0;
  return device;
}

void* Arguments::stream(const Device& device) {
  const TVMFFIAny* value = next();
  if (!value)
    return device.kind == Device::Kind::cuda ? TVMFFIEnvGetStream(kDLCUDA, device.index) : nullptr;
  if (value->type_index != kTVMFFIInt && value->type_index != kTVMFFIOpaquePtr)
    refuse_type(fmt::format("stream is {}, wanted a stream", type_text(*value)));
  return value->v_ptr;
}

void Arguments::workspace(Options& options) {
  const DLTensor* t = next_tensor("workspace");
  if (!t) return;
  const bool contiguous = t->ndim == 1 && (t->shape[0] <= 1 || !t->strides || t->strides[0] == 1);
  if (!contiguous) refuse("workspace is not one contiguous dimension, wanted that");
  options.workspace = static_cast<char*>(t->data) + t->byte_offset;
  options.workspace_bytes = t->shape[0] * t->dtype.bits * t->dtype.lanes / 8;
}

void Arguments::index_report(Options& options) {
  const auto report = optional_tensor("index_report", 1, {DType::int32});
  if (!report) return;
  if (report->shape[0] != 4 || report->stride[0] != 1)
    refuse(fmt::format("index_report has {} elements of stride {}, wanted 4 of stride 1",
                       report->shape[0], report->stride[0]));
  options.index_report = static_cast<std::int32_t*>(report->data);
}

Emulation Arguments::emulation() {
  Emulation emulation;
  emulation.seed = static_cast<std::uint64_t>(integer("emulation.seed", 0, kMostInt64, 1));
  emulation.policy = static_cast<Emulation::Policy>(integer("emulation.policy", 0, 5, 0));
  emulation.check = boolean("emulation.check", false);
  emulation.arithmetic =
      static_cast<Emulation::Arithmetic>(integer("emulation.arithmetic", 0, 2, 0));
  emulation.threads = static_cast<int>(integer("emulation.threads", kLeastInt, kMostInt, 0));
  return emulation;
}

Options Arguments::options() {
  Options options;
  const std::int64_t kind = integer("device", 0, 2, -1);
  options.device = device(kind, integer("device's index", 0, kMostInt, -1));
  options.stream = stream(options.device);
  if (index_ >= count_) return options;  // the short form: no option but the defaults
  // The operation checks the ranges of the rest.
  options.sm_budget = static_cast<int>(integer("sm_budget", kLeastInt, kMostInt, 0));
  options.pdl = boolean("pdl", false);
  options.invariance = static_cast<Invariance>(integer("invariance", 0, 1, 0));
  workspace(options);
  index_report(options);
  options.emulation = emulation();
  return options;
}

}  // namespace kiln::python
