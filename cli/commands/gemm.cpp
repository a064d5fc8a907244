// kiln gemm: D = A * B^T from two files to a third, on the best device there is, checked.
#include <fmt/format.h>
#include <sys/stat.h>

#include <memory>

#include "cli/commands.hpp"
#include "cli/gemm/describe.hpp"
#include "cli/output_file.hpp"
#include "cli/words.hpp"
#include "kiln/error.hpp"
#include "ops/gemm/text.hpp"

namespace kiln::cli {
namespace {

constexpr const char* kNotes =
    R"(A is [M,K], B is [N,K] (or [K,N] with --b-kn): float32 or float16 .npy files, C or Fortran
order. Both are quantised to FP8 E4M3 with fine-grained scales, multiplied, and D is written as
float32 once it has passed its check:
  bits      D equals the bit model of the arithmetic, bit for bit
  oracle    |D - fp64 value of the quantised product| <= a rigorous bound
  to A*B^T  D against the product before quantisation, in fp64 (for information)
--check auto looks at every element where that takes seconds, else at rows spread over all of D.
--device auto takes a GPU, else the emulator for small products, else the CPU model.

Examples:
  kiln gemm a.npy b.npy -o d.npy
  kiln gemm x.npy w.npy -o y.npy --b-kn --out fp32 --device cpu
  kiln gemm a.npy b.npy -o d.npy --device emu --config tile_m=64,math_warpgroups=1 --seed 7)";

/// What can be known to fail before anything is computed: a place that cannot be written, the same
/// file as an input.
void check_output_path(const GemmRequest& request) {
  const std::string& path = request.d_path;
  struct stat out, in;
  const bool exists = ::stat(path.c_str(), &out) == 0;
  for (const std::string& input : {request.a_path, request.b_path})
    if (exists && ::stat(input.c_str(), &in) == 0 && in.st_dev == out.st_dev &&
        in.st_ino == out.st_ino)
      throw Error(
          ErrorCode::invalid_argument,
          fmt::format("gemm: the output {} is the input {}, wanted another file", path, input));
  // Created and removed: permissions say less than that. Not for a pipe, whose reader would see it.
  if (!exists || S_ISREG(out.st_mode) || S_ISDIR(out.st_mode)) {
    const OutputFile attempt(path);
  }
}

/// Words that the library would refuse later are refused as part of the command line.
void check_request(const GemmRequest& request) {
  if (request.config.empty()) return;
  if (!request.auto_device && request.device.kind == Device::Kind::cpu)
    throw CLI::ValidationError("--config", "the cpu device runs no kernel");
  try {
    parse_gemm_config(request.config);
  } catch (const Error& error) {
    throw CLI::ValidationError("--config", error.what());
  }
}

void run_gemm(const GemmRequest& request) {
  check_request(request);
  check_output_path(request);
  GemmReport report(request.json);
  const GemmOperands operands = read_operands(request, report);
  const ChosenDevice chosen =
      choose_device(request, static_cast<double>(operands.m) * static_cast<double>(operands.n) *
                                 static_cast<double>(operands.k));
  describe_request(report, request, operands, chosen);
  GemmRun run = multiply(request, operands, chosen.device);
  describe_run(report, request, operands, chosen, run);
  const GemmVerdict verdict =
      verify(request.check, operands, run.d, chosen.device.kind == Device::Kind::cpu);
  describe_verdict(report, operands, verdict);
  if (!verdict.passed()) {
    report.finish();
    throw Error(ErrorCode::internal, failure_text(verdict));
  }
  OutputFile file(request.d_path);
  write_npy_matrix(file, run.d.view());
  file.commit();
  report.line("wrote", fmt::format("{}  [{}, {}] float32", request.d_path, operands.m, operands.n));
  report.json()["d"] = request.d_path;
  report.finish();
}

}  // namespace

void add_gemm_command(CLI::App& program) {
  CLI::App& app = *program.add_subcommand("gemm", "Multiply two matrices from .npy files, checked");
  app.footer(kNotes);
  const auto request = std::make_shared<GemmRequest>();
  app.add_option("A", request->a_path, "A, [M,K]")->required()->type_name("A.npy");
  app.add_option("B", request->b_path, "B, [N,K]")->required()->type_name("B.npy");
  app.add_option("-o,--output", request->d_path, "D, [M,N]; replaced in one step")
      ->required()
      ->type_name("D.npy");
  app.add_option_function<std::string>(
         "--device",
         [request](const std::string& word) {
           const std::optional<Device> device = parse_device(word);
           request->auto_device = !device;
           request->device = device.value_or(Device{});
         },
         "where to run (default auto)")
      ->type_name("auto|cuda|cuda:N|emu|cpu");
  add_recipe_option(app, request->b_scales);
  add_out_option(app, request->d);
  app.add_flag("--b-kn", request->b_kn, "B is [K,N] in its file");
  add_choice<CheckWish>(app, "--check", request->check,
                        {{"auto", CheckWish::automatic},
                         {"full", CheckWish::full},
                         {"sample", CheckWish::sample},
                         {"none", CheckWish::none}},
                        "how much of D is checked (default auto)");
  add_sms_option(app, request->sms);
  app.add_option("--config", request->config,
                 "the kernel's config instead of the planner's, e.g. tile_m=128,tile_n=96,stages=3")
      ->type_name("FIELD=VALUE,...");
  app.add_option("--seed", request->seed, "the emulator's schedule; never changes the result")
      ->type_name("N");
  app.add_flag("--json", request->json, "one JSON object instead of lines");
  app.callback([request] { run_gemm(*request); });
}

}  // namespace kiln::cli
