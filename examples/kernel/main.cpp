// Runs product.cuh in the emulator under many schedules, with the checker, and compares with plain
// loops. docs/emulator.md explains it.
//
//   kiln_example_kernel                              5 policies x 20 seeds
//   kiln_example_kernel --seeds 200                  more
//   kiln_example_kernel --without fence_proxy_async  the kernel without the line that has this word
//   kiln_example_kernel --no-check                   what values alone show
//   kiln_example_kernel --gpu                        once, on CUDA device 0
//   kiln_example_kernel --ptxas                      compiles for sm_90a: registers and spills
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "kiln/error.hpp"
#include "runtime/backend.hpp"
#include "runtime/cubin_compiler.hpp"

namespace {

using namespace kiln;

constexpr int kStages = 5, kSize = 64, kK = kStages * 64;
constexpr KernelShape kShape{.threads = 160, .cluster = 1, .smem_bytes = 49 * 1024};

/// As product.cuh has it; a launch compares the sizes.
struct Params {
  TensorMap a, b, d;
  int stages;
};

struct Request {
  int seeds = 20;
  bool check = true, gpu = false, ptxas = false;
  std::string without;
};

std::string kernel_text(const std::string& without) {
  std::ifstream file(KILN_EXAMPLE_KERNEL);
  if (!file) throw Error(ErrorCode::io, "cannot read " KILN_EXAMPLE_KERNEL);
  std::string text = "#line 1 \"product.cuh\"\n";  // what reports call it
  bool found = without.empty();
  for (std::string line; std::getline(file, line);) {
    const bool drop = !without.empty() && line.find(without) != std::string::npos;
    found |= drop;
    text += drop ? "\n" : line + "\n";
  }
  if (!found) throw Error(ErrorCode::invalid_argument, "no line of the kernel has " + without);
  return text;
}

/// Whole numbers from -3 to 3: exact in BF16, and so are their sums in any order.
int element(int row, int k, int salt) { return (row * 5 + k * 3 + row * k + salt) % 7 - 3; }

/// A matrix of `rows` rows in the memory of `machine`, its bytes `data`.
struct Matrix {
  Matrix(Backend& machine, std::size_t bytes) : machine(machine), data(machine.allocate(bytes)) {}
  ~Matrix() { machine.free(data); }
  Matrix(const Matrix&) = delete;
  Matrix& operator=(const Matrix&) = delete;

  Backend& machine;
  void* data;
};

TensorMap map_of(const Matrix& matrix, Element element, std::uint64_t columns, Swizzle swizzle) {
  TensorMapSpec spec;
  spec.base = matrix.data;
  spec.element = element;
  spec.extent = {columns, kSize};
  spec.stride = {columns * static_cast<std::uint64_t>(size_of(element))};
  spec.box = {64, kSize};
  spec.swizzle = swizzle;
  return matrix.machine.encode(spec);
}

/// The kernel with its operands on a machine.
class Product {
 public:
  Product(Backend& machine, const std::string& text)
      : machine_(machine),
        a_(machine, kSize * kK * 2),
        b_(machine, kSize * kK * 2),
        d_(machine, kSize * kSize * 4),
        kernel_(machine.load(machine.compile(text), kShape)),
        params_{map_of(a_, Element::bf16, kK, Swizzle::b128),
                map_of(b_, Element::bf16, kK, Swizzle::b128),
                map_of(d_, Element::fp32, kSize, Swizzle::none), kStages} {
    fill(a_, 1);
    fill(b_, 2);
    for (int i = 0; i < kSize; ++i)
      for (int j = 0; j < kSize; ++j) {
        int sum = 0;
        for (int k = 0; k < kK; ++k) sum += element(i, k, 1) * element(j, k, 2);
        want_.push_back(static_cast<float>(sum));
      }
  }

  /// What is wrong after a launch, or "".
  std::string run(const Emulation& emulation) {
    std::vector<float> d(want_.size());
    machine_.fill(d_.data, 0xFF, d.size() * sizeof(float));
    try {
      machine_.launch(kernel_, 1, &params_, sizeof params_, {.emulation = emulation});
      machine_.synchronize();
    } catch (const Error& error) {
      return error.what();
    }
    machine_.copy_out(d.data(), d_.data, d.size() * sizeof(float));
    for (std::size_t i = 0; i < d.size(); ++i)
      if (!(d[i] == want_[i]))
        return "D[" + std::to_string(i / kSize) + "][" + std::to_string(i % kSize) + "] is " +
               std::to_string(d[i]) + ", wanted " + std::to_string(want_[i]);
    return "";
  }

 private:
  void fill(const Matrix& matrix, int salt) {
    std::vector<u16> bits;
    for (int row = 0; row < kSize; ++row)
      for (int k = 0; k < kK; ++k) {
        const float value = static_cast<float>(element(row, k, salt));
        bits.push_back(static_cast<u16>(__builtin_bit_cast(u32, value) >> 16));
      }
    machine_.copy_in(matrix.data, bits.data(), bits.size() * sizeof(u16));
  }

  Backend& machine_;
  Matrix a_, b_, d_;
  const LoadedKernel* kernel_;
  Params params_;
  std::vector<float> want_;
};

Request read(int argc, char** argv) {
  Request request;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--no-check")
      request.check = false;
    else if (word == "--gpu")
      request.gpu = true;
    else if (word == "--ptxas")
      request.ptxas = true;
    else if (word == "--seeds" && i + 1 < argc)
      request.seeds = std::atoi(argv[++i]);
    else if (word == "--without" && i + 1 < argc)
      request.without = argv[++i];
    else
      throw Error(ErrorCode::invalid_argument,
                  word + ": wanted --seeds N, --without WORD, --no-check, --gpu or --ptxas");
  }
  if (request.seeds < 1)
    throw Error(ErrorCode::invalid_argument, "--seeds: wanted a number from 1 on");
  return request;
}

int run_on_gpu(const std::string& text) {
  const std::string wrong = Product(cuda_backend(0), text).run({});
  std::printf("%s\n", wrong.empty() ? "GPU: all elements are right" : wrong.c_str());
  return wrong.empty() ? 0 : 1;
}

int compile_for_sm90a(const std::string& text) {
  const ResourceReport report = cubin_compiler().report(text);
  std::printf("sm_90a: %d registers, %d bytes of stack, %d bytes spilled\n", report.registers,
              report.stack_bytes, report.spill_store_bytes);
  for (const std::string& warning : report.warnings) std::printf("%s\n", warning.c_str());
  return 0;
}

int explore(const std::string& text, const Request& request) {
  using Policy = Emulation::Policy;
  constexpr std::pair<Policy, const char*> kPolicies[] = {
      {Policy::uniform, "uniform"},
      {Policy::starve_copies, "starve-copies"},
      {Policy::eager_copies, "eager-copies"},
      {Policy::starve_one_warp, "starve-one-warp"},
      {Policy::priority_change, "priority-change"}};
  Product product(emu_backend(), text);
  int runs = 0, failures = 0;
  const auto start = std::chrono::steady_clock::now();
  for (const auto& [policy, name] : kPolicies)
    for (int seed = 1; seed <= request.seeds; ++seed, ++runs) {
      const std::string wrong = product.run(
          {.seed = static_cast<std::uint64_t>(seed), .policy = policy, .check = request.check});
      if (!wrong.empty() && failures++ == 0)
        std::printf("%s, seed %d: %s\n\n", name, seed, wrong.c_str());
    }
  const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
  std::printf("%d of %d runs failed; %.2f ms a run, checker %s\n", failures, runs,
              time.count() / std::max(runs, 1), request.check ? "on" : "off");
  return failures == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
  const Request request = read(argc, argv);
  const std::string text = kernel_text(request.without);
  if (request.gpu) return run_on_gpu(text);
  if (request.ptxas) return compile_for_sm90a(text);
  return explore(text, request);
} catch (const std::exception& error) {
  std::fprintf(stderr, "kiln_example_kernel: %s\n", error.what());
  return 2;
}
