#include "tests/fidelity/probe.hpp"

#include <cstring>

#include "kiln/error.hpp"
#include "runtime/jit.hpp"
#include "runtime/sha256.hpp"

namespace kiln::test {
namespace {

struct ProbeParams {
  TensorMap map;
  const void* in;
  void* out;
  int args[kProbeArgs];
};

/// Memory of a backend for as long as this object lives.
class Buffer {
 public:
  Buffer(Backend& backend, std::size_t bytes)
      : backend_(backend), data_(static_cast<u8*>(backend.allocate(bytes))) {}
  ~Buffer() { backend_.free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  u8* data() const { return data_; }

 private:
  Backend& backend_;
  u8* data_;
};

TensorMap encode(Backend& backend, const ProbeMap& map, u8* input, u8* output) {
  if (map.buffer == ProbeBuffer::none) return {};
  TensorMapSpec spec = map.spec;
  spec.base = (map.buffer == ProbeBuffer::input ? input : output) + map.offset;
  if (const auto rule = broken_rule(spec))
    throw Error(ErrorCode::invalid_argument, "probe: the tensor map: " + *rule);
  return backend.encode(spec);
}

}  // namespace

std::string probe_source(int threads, const std::string& declarations, const std::string& body) {
  return "#include \"device/ptx.hpp\"\n"
         "using namespace kiln;\n"
         "using namespace kiln::ptx;\n"
         "struct Params { TensorMap map; const u8* in; u8* out; int args[16]; };\n"
         "constexpr int kThreadCount = " +
         std::to_string(threads) + ";\n" + declarations +
         "\nstruct K {\n"
         "  using Params = ::Params;\n"
         "  static constexpr int kThreads = kThreadCount;\n"
         "  DEV static void run(const Params& p) {\n" +
         body + "\n  }\n};\nKILN_KERNEL(K)\n";
}

std::vector<u8> run_probe(Backend& backend, const Probe& probe, std::uint64_t seed) {
  const LoadedKernel* kernel = jit(backend, probe.source, probe.shape);
  const Buffer input(backend, probe.input.size()), output(backend, probe.output_bytes);
  if (!probe.input.empty()) backend.copy_in(input.data(), probe.input.data(), probe.input.size());
  std::vector<u8> answer(probe.output_bytes * probe.launches.size());
  for (std::size_t i = 0; i < probe.launches.size(); ++i) {
    const ProbeLaunch& launch = probe.launches[i];
    ProbeParams params = {
        encode(backend, launch.map, input.data(), output.data()), input.data(), output.data(), {}};
    std::memcpy(params.args, launch.args.data(), sizeof params.args);
    backend.fill(output.data(), kUnwritten, probe.output_bytes);
    backend.launch(kernel, probe.ctas, &params, sizeof params, {.emulation = {.seed = seed}});
    backend.synchronize();
    backend.copy_out(answer.data() + i * probe.output_bytes, output.data(), probe.output_bytes);
  }
  return answer;
}

std::string digest_of_inputs(const Probe& probe) {
  std::vector<u8> bytes;
  append(bytes,
         std::array{probe.shape.threads, probe.shape.cluster, probe.shape.smem_bytes, probe.ctas});
  append(bytes, u64{probe.output_bytes});
  for (const ProbeLaunch& launch : probe.launches) {
    append(bytes, launch.args);
    append(bytes, static_cast<u32>(launch.map.buffer));
    if (launch.map.buffer == ProbeBuffer::none) continue;
    append(bytes, u64{launch.map.offset});
    const TensorMapSpec& spec = launch.map.spec;
    append(bytes,
           std::array{static_cast<int>(spec.element), static_cast<int>(spec.swizzle), spec.rank});
    for (std::size_t i = 0; i < static_cast<std::size_t>(spec.rank); ++i) {
      append(bytes, std::array{u64{spec.extent[i]}, u64{spec.box[i]}, u64{spec.element_stride[i]}});
      if (i > 0) append(bytes, u64{spec.stride[i - 1]});
    }
  }
  bytes.insert(bytes.end(), probe.input.begin(), probe.input.end());
  return to_hex(sha256(std::as_bytes(std::span(bytes))));
}

const std::vector<Probe>& all_probes() {
  static const std::vector<Probe> probes = [] {
    std::vector<Probe> all;
    for (auto family : {scalar_probes, thread_probes, warp_probes, cluster_probes, copy_probes,
                        bulk_probes, wgmma_layout_probes, wgmma_sum_probes})
      for (Probe& probe : family()) all.push_back(std::move(probe));
    return all;
  }();
  return probes;
}

}  // namespace kiln::test
