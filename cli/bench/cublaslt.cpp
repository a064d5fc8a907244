// https://docs.nvidia.com/cuda/cublas/#using-the-cublaslt-api
#include <fmt/format.h>

#include <algorithm>

#include "cli/bench/baseline.hpp"
#include "cli/bench/cupti.hpp"
#include "kiln/error.hpp"
#include "runtime/dynamic_library.hpp"

#if defined(KILN_HAS_CUBLASLT)
#include <cublasLt.h>
#endif

namespace kiln::bench {

const std::vector<std::string>& baseline_names() {
  static const std::vector<std::string> names = {"cublaslt", "cublaslt_block", "cublaslt_bf16"};
  return names;
}

#if defined(KILN_HAS_CUBLASLT)
namespace {

#define KILN_CUBLASLT_FUNCTIONS(F)        \
  F(cublasLtCreate)                       \
  F(cublasLtGetStatusString)              \
  F(cublasLtGetVersion)                   \
  F(cublasLtMatmul)                       \
  F(cublasLtMatmulAlgoGetHeuristic)       \
  F(cublasLtMatmulDescCreate)             \
  F(cublasLtMatmulDescDestroy)            \
  F(cublasLtMatmulDescSetAttribute)       \
  F(cublasLtMatmulPreferenceCreate)       \
  F(cublasLtMatmulPreferenceDestroy)      \
  F(cublasLtMatmulPreferenceSetAttribute) \
  F(cublasLtMatrixLayoutCreate)           \
  F(cublasLtMatrixLayoutDestroy)

/// The library, and a handle of it on the current context. Lives until the process ends.
struct CublasLt {
#define KILN_MEMBER(name) decltype(&::name) name = nullptr;
  KILN_CUBLASLT_FUNCTIONS(KILN_MEMBER)
#undef KILN_MEMBER
  cublasLtHandle_t handle = nullptr;
  std::string path;

  void check(cublasStatus_t status, const char* call) const {
    if (status != CUBLAS_STATUS_SUCCESS)
      throw Error(ErrorCode::driver,
                  fmt::format("{} failed: {}", call, cublasLtGetStatusString(status)));
  }
};

CublasLt open_library(const std::vector<std::string>& directories) {
  std::vector<std::string> failures;
  const std::vector<std::string> candidates =
      library_candidates({"libcublasLt.so.13", "libcublasLt.so.12"}, directories);
  const DynamicLibrary library = DynamicLibrary::open(candidates, failures);
  if (!library)
    throw Error(
        ErrorCode::unsupported,
        fmt::format("--baseline cublaslt: libcublasLt.so.13 was not found by the loader nor "
                    "in {} ({})",
                    fmt::join(directories, " "), failures.empty() ? "" : failures.front()));
  CublasLt lt;
  lt.path = library.path();
#define KILN_RESOLVE(name)                                              \
  lt.name = reinterpret_cast<decltype(lt.name)>(library.symbol(#name)); \
  if (!lt.name)                                                         \
    throw Error(ErrorCode::unsupported, "--baseline cublaslt: " + lt.path + " lacks " #name);
  KILN_CUBLASLT_FUNCTIONS(KILN_RESOLVE)
#undef KILN_RESOLVE
  lt.check(lt.cublasLtCreate(&lt.handle), "cublasLtCreate");
  return lt;
}

enum class Kind { per_tensor, block, bf16 };

/// Row-major D[m,n] = A * B^T is column-major D^T[n,m] = B * A^T to cuBLASLt: its A is our B,
/// transposed (k x n columns), its B is our A (k x m columns).
class CublasLtBaseline final : public Baseline {
 public:
  CublasLtBaseline(Kind kind, const CublasLt& lt, Backend& backend)
      : kind_(kind),
        name_(baseline_names()[static_cast<std::size_t>(kind)]),
        lt_(lt),
        backend_(backend) {}
  ~CublasLtBaseline() override { forget(); }

  const std::string& name() const override { return name_; }
  bool reads_bf16() const override { return kind_ == Kind::bf16; }
  bool same_product() const override { return kind_ == Kind::block; }
  std::string describe() const override {
    return fmt::format("{}, version {}", lt_.path, lt_.cublasLtGetVersion());
  }

  std::optional<Subject> prepare(const BaselineOperands& operands, std::string& why_not) override {
    forget();
    operands_ = operands;
    try {
      if (!describe_matmul(why_not) || !choose_algorithm(why_not)) return {};
      run();
    } catch (const Error& error) {
      // A status of cuBLASLt's: nothing else is called above.
      why_not = error.what();
      return {};
    }
    backend_.synchronize();
    return Subject{name_, [this] { run(); }};
  }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    lt_.check(lt_.cublasLtMatmulDescSetAttribute(matmul_, attribute, &value, sizeof value),
              "cublasLtMatmulDescSetAttribute");
  }
  void layout(cublasLtMatrixLayout_t& made, cudaDataType type, i64 rows, i64 columns) {
    lt_.check(lt_.cublasLtMatrixLayoutCreate(&made, type, static_cast<std::uint64_t>(rows),
                                             static_cast<std::uint64_t>(columns), rows),
              "cublasLtMatrixLayoutCreate");
  }

  bool describe_matmul(std::string& why_not) {
    const GemmSpec& spec = operands_.spec;
    lt_.check(lt_.cublasLtMatmulDescCreate(&matmul_, CUBLAS_COMPUTE_32F, CUDA_R_32F),
              "cublasLtMatmulDescCreate");
    set(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<std::int32_t>(CUBLAS_OP_T));
    set(CUBLASLT_MATMUL_DESC_TRANSB, static_cast<std::int32_t>(CUBLAS_OP_N));
    if (kind_ != Kind::bf16) set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, std::int8_t{0});
    if (kind_ == Kind::per_tensor) {
      set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, operands_.one);
      set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, operands_.one);
    }
    if (kind_ == Kind::block && !describe_scales(why_not)) return false;
    const cudaDataType in = kind_ == Kind::bf16 ? CUDA_R_16BF : CUDA_R_8F_E4M3;
    layout(a_, in, spec.k, spec.n);
    layout(b_, in, spec.k, spec.m);
    layout(d_, spec.out == OutType::bf16 ? CUDA_R_16BF : CUDA_R_32F, spec.n, spec.m);
    return true;
  }

  bool describe_scales([[maybe_unused]] std::string& why_not) {
#if CUBLAS_VERSION >= 120900
    // Documented, but not left to the heuristic to refuse.
    if (operands_.spec.m % 4 != 0 || operands_.spec.n % 4 != 0) {
      why_not = "cuBLASLt's block-scaled FP8 wants M and N in multiples of 4";
      return false;
    }
    const bool by_block = operands_.spec.b_recipe == ScaleRecipe::block_128x128;
    set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE,
        static_cast<std::int32_t>(by_block ? CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F
                                           : CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F));
    set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE,
        static_cast<std::int32_t>(CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F));
    set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, operands_.b_scales);
    set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, operands_.a_scales);
    return true;
#else
    why_not = "kiln was built with a cublasLt.h older than 12.9, which has no block scales";
    return false;
#endif
  }

  bool choose_algorithm(std::string& why_not) {
    cublasLtMatmulPreference_t preference = nullptr;
    lt_.check(lt_.cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
    const std::size_t workspace = kBaselineWorkspace;
    cublasStatus_t status = lt_.cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
    cublasLtMatmulHeuristicResult_t best = {};
    int found = 0;
    if (status == CUBLAS_STATUS_SUCCESS)
      status = lt_.cublasLtMatmulAlgoGetHeuristic(lt_.handle, matmul_, a_, b_, d_, d_, preference,
                                                  1, &best, &found);
    lt_.cublasLtMatmulPreferenceDestroy(preference);
    if (status == CUBLAS_STATUS_SUCCESS && found > 0) status = best.state;
    if (status != CUBLAS_STATUS_SUCCESS || found == 0) {
      why_not =
          fmt::format("cuBLASLt has no algorithm for it ({})", lt_.cublasLtGetStatusString(status));
      return false;
    }
    algorithm_ = best.algo;
    return true;
  }

  void run() {
    const float alpha = 1, beta = operands_.spec.c == Addend::none ? 0 : 1;
    lt_.check(lt_.cublasLtMatmul(lt_.handle, matmul_, &alpha, operands_.b, a_, operands_.a, b_,
                                 &beta, operands_.d, d_, operands_.d, d_, &algorithm_,
                                 operands_.workspace, kBaselineWorkspace, nullptr),
              "cublasLtMatmul");
  }

  void forget() {
    if (matmul_) lt_.cublasLtMatmulDescDestroy(matmul_);
    for (cublasLtMatrixLayout_t* made : {&a_, &b_, &d_}) {
      if (*made) lt_.cublasLtMatrixLayoutDestroy(*made);
      *made = nullptr;
    }
    matmul_ = nullptr;
  }

  const Kind kind_;
  const std::string name_;
  const CublasLt lt_;
  Backend& backend_;
  BaselineOperands operands_;
  cublasLtMatmulDesc_t matmul_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, d_ = nullptr;
  cublasLtMatmulAlgo_t algorithm_ = {};
};

}  // namespace

std::vector<std::unique_ptr<Baseline>> open_baselines(const std::vector<std::string>& names,
                                                      Backend& backend,
                                                      const std::vector<std::string>& directories) {
  std::vector<Kind> kinds;
  for (const std::string& name : names) {
    const auto& known = baseline_names();
    const auto found = std::find(known.begin(), known.end(), name);
    if (found == known.end())
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("--baseline is '{}', wanted {}", name, fmt::join(known, ", ")));
    kinds.push_back(static_cast<Kind>(found - known.begin()));
    if (kinds.back() == Kind::per_tensor) kinds.push_back(Kind::block);
  }
  std::sort(kinds.begin(), kinds.end());
  kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());
  std::vector<std::unique_ptr<Baseline>> baselines;
  if (kinds.empty()) return baselines;
  const CublasLt lt = open_library(directories);
  for (const Kind kind : kinds)
    baselines.push_back(std::make_unique<CublasLtBaseline>(kind, lt, backend));
  return baselines;
}

#else

std::vector<std::unique_ptr<Baseline>> open_baselines(const std::vector<std::string>& names,
                                                      Backend&, const std::vector<std::string>&) {
  if (names.empty()) return {};
  throw Error(
      ErrorCode::unsupported,
      "--baseline cublaslt: this kiln was built without cuBLASLt's header (the CUDA toolkit)");
}

#endif

}  // namespace kiln::bench
