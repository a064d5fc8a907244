#include "ops/gemm/case_run.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <new>
#include <random>

#include "arith/host_matrix.hpp"
#include "arith/quantize.hpp"
#include "ops/gemm/api.hpp"
#include "ops/gemm/check.hpp"
#include "ops/gemm/reference.hpp"
#include "ops/gemm/text.hpp"

namespace kiln {
namespace {

DType dtype_of(OutType type) { return type == OutType::bf16 ? DType::bf16 : DType::fp32; }
DType dtype_of(Addend type) { return type == Addend::bf16 ? DType::bf16 : DType::fp32; }

template <class Make>
void fill(const TensorView& view, Make make) {
  for (i64 i = 0; i < view.shape[0]; ++i)
    for (i64 j = 0; j < view.shape[1]; ++j) write_element(view, i, j, make());
}

void fill_quantised(const ScaledTensor& operand, std::mt19937& random) {
  // Normals from a table: drawing one a value would take longer than the GEMM on large cases.
  std::normal_distribution<float> normal;
  std::vector<float> table(1 << 16);
  for (float& value : table) value = normal(random);
  const i64 rows = operand.values.shape[0], columns = operand.values.shape[1];
  std::vector<float> x(static_cast<std::size_t>(rows * columns));
  for (float& value : x) value = table[random() >> 16];
  quantize(TensorView::row_major(x.data(), DType::fp32, rows, columns), operand);
}

float wild_float(std::mt19937& random, float usual, unsigned rare) {
  constexpr u32 kSpecial[] = {0x00000000, 0x80000000, 0x00000001, 0x80000100, 0x00800000,
                              0x7F800000, 0xFF800000, 0x7FC00001, 0xFF812345, 0x7F7FFFFF,
                              0x60000000, 0xE5000000, 0x1A000000, 0x7A000000, 0xFA000000};
  if (random() % rare == 0) return std::bit_cast<float>(kSpecial[random() % std::size(kSpecial)]);
  return usual * (1 + static_cast<float>(random() % 4096) / 1024);
}

void fill_wild(const ScaledTensor& operand, std::mt19937& random) {
  const unsigned kind = random() % 4, rare = random() % 2 ? 300 : 100000;
  for (i64 i = 0; i < operand.values.shape[0]; ++i)
    for (i64 j = 0; j < operand.values.shape[1]; ++j) {
      u8 code = static_cast<u8>(random());
      if (kind == 1) code = (code & 0x87) | 0x40;   // one exponent: sums that cancel
      if (kind == 2 && random() % 3) code &= 0x87;  // subnormals
      if (kind == 3 && random() % 8) code &= 0x80;  // zeros of both signs
      if (is_nan_e4m3(code) && random() % rare) code ^= 1;
      *element_address(operand.values, i, j) = code;
    }
  constexpr float kUsual[] = {0.01F, 1e18F, 1e-20F, -1};
  const float usual = kUsual[random() % 4];
  fill(operand.scales, [&] { return wild_float(random, usual, rare); });
}

}  // namespace

void fill_operand(const ScaledTensor& operand, GemmValues values, std::mt19937& random) {
  values == GemmValues::wild ? fill_wild(operand, random) : fill_quantised(operand, random);
}

void fill_addend(const TensorView& c, GemmValues values, std::mt19937& random) {
  std::normal_distribution<float> normal;
  const unsigned rare = values == GemmValues::wild ? 50 : 1u << 30;
  fill(c, [&] { return wild_float(random, 8 * normal(random), rare); });
}

GuardedMatrix::GuardedMatrix(DType dtype, i64 rows, i64 columns, const GemmLayout& layout) {
  view_.dtype = dtype;
  view_.shape = {rows, columns};
  if (layout.column_major) {
    view_.stride = {1, rows + layout.padding};
  } else {
    view_.stride = {columns + layout.padding, 1};
  }
  if (view_.stride[0] == 0) view_.stride[0] = 1;
  if (view_.stride[1] == 0) view_.stride[1] = 1;
  first_ = kGuard + layout.offset * size_of(dtype);
  const i64 span = (layout.column_major ? columns * view_.stride[1] : rows * view_.stride[0]);
  image_.assign(static_cast<std::size_t>(first_ + span * size_of(dtype) + kGuard), 0xFF);
}

i64 GuardedMatrix::used_bytes() const {
  if (view_.shape[0] == 0 || view_.shape[1] == 0) return first_;
  const i64 last = (view_.shape[0] - 1) * view_.stride[0] + (view_.shape[1] - 1) * view_.stride[1];
  return first_ + (last + 1) * size_of(view_.dtype);
}

TensorView GuardedMatrix::view() { return view_at(image_.data()); }

TensorView GuardedMatrix::view_at(void* device_image) const {
  TensorView view = view_;
  view.data = static_cast<std::uint8_t*>(device_image) + first_;
  return view;
}

std::optional<std::string> GuardedMatrix::difference(
    const std::vector<std::uint8_t>& actual) const {
  const auto at = std::mismatch(image_.begin(), image_.end(), actual.begin());
  if (at.first == image_.end()) return {};
  const i64 byte = at.first - image_.begin(), size = size_of(view_.dtype);
  const i64 element = (byte - first_) / size;
  std::string where = "outside the matrix";
  if (byte >= first_) {
    const bool column_major = view_.stride[0] == 1 && view_.stride[1] != 1;
    const i64 major = element / view_.stride[column_major ? 1 : 0];
    const i64 minor = element % view_.stride[column_major ? 1 : 0];
    const i64 i = column_major ? minor : major, j = column_major ? major : minor;
    where =
        fmt::format("{}[{}, {}]", i < view_.shape[0] && j < view_.shape[1] ? "" : "padding ", i, j);
  }
  const i64 first = byte >= first_ ? first_ + element * size : byte;
  auto hex = [&](const std::vector<std::uint8_t>& bytes) {
    std::string text;
    for (i64 b = std::min<i64>(first + size, bytes.size()) - 1; b >= first; --b)
      text += fmt::format("{:02x}", bytes[b]);
    return text;
  };
  i64 count = 0;
  for (std::size_t b = 0; b < image_.size(); ++b) count += image_[b] != actual[b];
  return fmt::format("{} is {}, wanted {} ({} bytes differ)", where, hex(actual), hex(image_),
                     count);
}

GemmCaseRun::GemmCaseRun(const GemmCase& t)
    : test_(t),
      a_(DType::e4m3, t.m, t.k, t.a),
      a_scales_(DType::fp32, t.m, (t.k + 127) / 128, t.a_scales),
      b_(DType::e4m3, t.n, t.k, t.b),
      b_scales_(DType::fp32, t.b_recipe == ScaleRecipe::row_1x128 ? t.n : (t.n + 127) / 128,
                (t.k + 127) / 128, t.b_scales),
      c_(dtype_of(t.c), t.m, t.n, t.c_layout),
      d_(dtype_of(t.d), t.m, t.n, t.d_layout),
      expected_(d_) {
  std::mt19937 random(t.seed * 2654435761u + 17);
  const GemmArgs args = host_args();
  for (const ScaledTensor& operand : {args.a, args.b}) fill_operand(operand, t.values, random);
  if (args.c) fill_addend(*args.c, t.values, random);
  compute_expected();
}

void GemmCaseRun::compute_expected() {
  expected_.image() = d_.image();
  GemmArgs model = host_args();
  model.d = expected_.view();
  if (test_.c_is_d) model.c = model.d;
  gemm_model(model);
}

void GemmCaseRun::scale_a_by(GemmCaseRun& producer) {
  const TensorView from = producer.expected_.view(), to = a_scales_.view();
  for (i64 i = 0; i < to.shape[0]; ++i)
    for (i64 j = 0; j < to.shape[1]; ++j)
      std::memcpy(element_address(to, i, j), element_address(from, i, j), sizeof(float));
  compute_expected();
}

GemmArgs GemmCaseRun::host_args() {
  GemmArgs args{.a = {a_.view(), a_scales_.view(), ScaleRecipe::row_1x128},
                .b = {b_.view(), b_scales_.view(), test_.b_recipe},
                .d = d_.view(),
                .c = {}};
  if (test_.c != Addend::none) args.c = test_.c_is_d ? args.d : c_.view();
  return args;
}

GemmConfig GemmCaseRun::base_config() const {
  return {.b_scales = test_.b_recipe == ScaleRecipe::row_1x128 ? BScales::row_1x128
                                                               : BScales::block_128x128,
          .c = test_.c,
          .d = test_.d};
}

void GemmCaseRun::call(const GemmArgs& args, const Options& options) const {
  if (test_.config.empty()) return gemm(args, options);
  gemm_with_config(args, parse_gemm_config(test_.config, base_config()), options);
}

/// Elements that may be so are made what is expected; what differs then is wrong.
std::optional<std::string> GemmCaseRun::difference_of_d(std::vector<std::uint8_t> image,
                                                        Emulation::Arithmetic how) {
  if (how == Emulation::Arithmetic::fast)
    std::call_once(asked_oracle_, [this] {
      const GemmArgs args = host_args();
      oracle_ = gemm_oracle(args, whole(args), 1);
    });
  if (how != Emulation::Arithmetic::exact) {
    const TensorView got = expected_.view_at(image.data()), wanted = expected_.view();
    const auto size = static_cast<std::size_t>(size_of(got.dtype));
    auto value = oracle_.begin();
    for (i64 i = 0; i < got.shape[0]; ++i)
      for (i64 j = 0; j < got.shape[1]; ++j)
        if (how == Emulation::Arithmetic::none || agrees(read_element(got, i, j), *value++))
          std::memcpy(element_address(got, i, j), element_address(wanted, i, j), size);
  }
  return expected_.difference(image);
}

// ---- memory -------------------------------------------------------------------------------------

GemmCaseRun::Memory::Memory(GemmCaseRun& run) { take(run); }

void GemmCaseRun::Memory::take(GemmCaseRun& run) {
  run_ = &run;
  matrices_ = {&run.a_, &run.a_scales_, &run.b_, &run.b_scales_, &run.c_, &run.d_};
}

GemmArgs GemmCaseRun::Memory::args() {
  GemmArgs args = run_->host_args();
  args.a.values = matrix(0).view_at(images_[0]);
  args.a.scales = matrix(1).view_at(images_[1]);
  args.b.values = matrix(2).view_at(images_[2]);
  args.b.scales = matrix(3).view_at(images_[3]);
  args.d = matrix(kD).view_at(images_[kD]);
  if (args.c) args.c = run_->test_.c_is_d ? args.d : matrix(4).view_at(images_[4]);
  return args;
}

void GemmCaseRun::Memory::hold(GemmCaseRun& run) {
  settle();
  take(run);
  for (std::size_t i = 0; i < kTensors; ++i) write(i);
  settle();
}

void GemmCaseRun::Memory::poison() {
  settle();
  write(kD);
  settle();
}

std::optional<std::string> GemmCaseRun::Memory::compare_d(Emulation::Arithmetic how) {
  settle();
  if (const auto wrong = run_->difference_of_d(fetch(kD), how)) return "d: " + *wrong;
  return {};
}

std::optional<std::string> GemmCaseRun::Memory::compare(Emulation::Arithmetic how) {
  if (auto wrong = compare_d(how)) return wrong;
  constexpr const char* kNames[] = {"a", "a.scales", "b", "b.scales", "c"};
  for (std::size_t i = 0; i < kD; ++i)
    if (const auto wrong = matrix(i).difference(fetch(i)))
      return fmt::format("input {} was changed: {}", kNames[i], *wrong);
  return {};
}

class GemmCaseRun::DeviceMemory : public Memory {
 public:
  DeviceMemory(GemmCaseRun& run, Backend& backend) : Memory(run), backend_(backend) {
    for (std::size_t i = 0; i < kTensors; ++i) {
      images_[i] = backend_.allocate(matrix(i).image().size());
      write(i);
    }
    settle();
  }
  ~DeviceMemory() override {
    for (void* image : images_) backend_.free(image);
  }

 private:
  void write(std::size_t i) override {
    const auto& image = matrix(i).image();
    backend_.copy_in(images_[i], image.data(), image.size());
  }
  std::vector<std::uint8_t> fetch(std::size_t i) override {
    std::vector<std::uint8_t> bytes(matrix(i).image().size());
    backend_.copy_out(bytes.data(), images_[i], bytes.size());
    return bytes;
  }
  // A stream of a test's own does not wait for copies, which are the default stream's.
  void settle() override { backend_.synchronize(); }

  Backend& backend_;
};

/// Host memory whose last page, right after each tensor, cannot be touched.
class GemmCaseRun::GuardPageMemory : public Memory {
 public:
  explicit GuardPageMemory(GemmCaseRun& run) : Memory(run) {
    for (std::size_t i = 0; i < kTensors; ++i) {
      const std::size_t pages = (kept(i) + kPage - 1) / kPage * kPage;
      mapped_[i] = pages + kPage;
      start_[i] = static_cast<std::uint8_t*>(
          mmap(nullptr, mapped_[i], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      if (start_[i] == MAP_FAILED) throw std::bad_alloc();
      mprotect(start_[i] + pages, kPage, PROT_NONE);
      images_[i] = start_[i] + pages - kept(i);
      write(i);
    }
  }
  ~GuardPageMemory() override {
    for (std::size_t i = 0; i < kTensors; ++i) munmap(start_[i], mapped_[i]);
  }

 private:
  static constexpr std::size_t kPage = 4096;
  /// A multiple of 16, so that addresses keep their alignment up to that.
  std::size_t kept(std::size_t i) {
    return static_cast<std::size_t>((matrix(i).used_bytes() + 15) / 16 * 16);
  }
  void write(std::size_t i) override { std::memcpy(images_[i], matrix(i).image().data(), kept(i)); }
  std::vector<std::uint8_t> fetch(std::size_t i) override {
    std::vector<std::uint8_t> bytes = matrix(i).image();  // what is not held is as it was
    std::memcpy(bytes.data(), images_[i], kept(i));
    return bytes;
  }

  std::array<std::uint8_t*, kTensors> start_ = {};
  std::array<std::size_t, kTensors> mapped_ = {};
};

// ---- runs ---------------------------------------------------------------------------------------

GemmConfig GemmCaseRun::config_on(Backend& backend, const Options& options) {
  if (!test_.config.empty()) return parse_gemm_config(test_.config, base_config());
  DeviceMemory memory(*this, backend);
  return plan_gemm(check_gemm(memory.args(), options), backend.arch()).config;
}

std::unique_ptr<GemmCaseRun::Memory> GemmCaseRun::place(const Device& device) {
  return std::make_unique<DeviceMemory>(*this, backend_of(device));
}

std::unique_ptr<GemmCaseRun::Memory> GemmCaseRun::place_before_guard_pages() {
  return std::make_unique<GuardPageMemory>(*this);
}

std::optional<std::string> GemmCaseRun::run(const Device& device, Options options) {
  DeviceMemory memory(*this, backend_of(device));
  options.device = device;
  call(memory.args(), options);
  return memory.compare(device.kind == Device::Kind::emu ? options.emulation.arithmetic
                                                         : Emulation::Arithmetic::exact);
}

std::optional<std::string> GemmCaseRun::run_on(Backend& emulator, const GemmConfig& config,
                                               Options options) {
  DeviceMemory memory(*this, emulator);
  options.device = {Device::Kind::emu};
  gemm_on(emulator, memory.args(), config, options);
  return memory.compare(options.emulation.arithmetic);
}

std::optional<std::string> GemmCaseRun::run_before_guard_pages(Options options) {
  GuardPageMemory memory(*this);
  options.device = {Device::Kind::emu};
  call(memory.args(), options);
  return memory.compare(options.emulation.arithmetic);
}

std::optional<std::string> GemmCaseRun::repeat(const Device& device, int times) {
  DeviceMemory memory(*this, backend_of(device));
  for (int i = 0; i < times; ++i) {
    memory.poison();
    call(memory.args(), {.device = device});
    if (const auto wrong = memory.compare_d()) return fmt::format("run {}: {}", i, *wrong);
  }
  return {};
}

}  // namespace kiln
