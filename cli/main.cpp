// kiln: the program. Parses the command line and runs one command.
//
//   exit code   0 done   1 failed: one line "kiln: error: ..."   2 the command line makes no sense
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <new>
#include <string>
#include <vector>

#include "cli/commands.hpp"
#include "cli/interrupt.hpp"
#include "cli/text.hpp"
#include "kiln/version.hpp"
#include "runtime/files.hpp"

namespace {

using namespace kiln;

constexpr const char* kExamples = R"(Examples:
  kiln env                                        what this machine has, and what is missing
  kiln gemm a.npy b.npy -o d.npy                  A [M,K] times B [N,K] transposed, checked
  kiln gemm x.npy w.npy -o y.npy --b-kn           the same with W [K,N]
  kiln quantize x.npy -o codes.npy --scales s.npy
  kiln explain gemm 4096 7168 2048                the kernel that a shape gets, and why
  kiln compile gemm --shape 4096x7168x2048 --check-spills
  kiln emu gemm --seeds 200                       the kernels under many schedules, without a GPU
  kiln cache stats
"kiln COMMAND --help" tells more.)";

/// What stdout could not take is lost, and that is a failure: a full disk, a closed pipe.
int finish(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  std::fputs(cli::error_line("cannot write to standard output: " + errno_text(errno)).c_str(),
             stderr);
  return code == 0 ? 1 : code;
}

int fail(int code, const std::string& message) {
  std::fflush(stdout);
  std::fputs(cli::error_line(message).c_str(), stderr);
  return code;
}

/// The innermost command that was named: "gemm", "compile gemm", or "".
std::string named_command(const CLI::App& app) {
  for (const CLI::App* command : app.get_subcommands())
    return command->get_name() + (command->get_subcommands().empty() ? "" : " ") +
           named_command(*command);
  return "";
}

int run(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return finish(0);
  } catch (const CLI::CallForHelp& help) {
    return finish(app.exit(help));
  } catch (const CLI::CallForAllHelp& help) {
    return finish(app.exit(help));
  } catch (const CLI::CallForVersion& version) {
    return finish(app.exit(version));
  } catch (const CLI::ParseError& error) {
    const std::string command = named_command(app);
    // An argument that nobody took says more than one that is missing because of it.
    const std::vector<std::string> unknown = app.remaining(true);
    const std::string what = unknown.empty() || !(dynamic_cast<const CLI::RequiredError*>(&error) ||
                                                  dynamic_cast<const CLI::ExtrasError*>(&error))
                                 ? error.what()
                                 : "unknown argument " + unknown.front();
    return fail(2, command.empty()
                       ? what + " (see kiln --help)"
                       : fmt::format("{}: {} (see kiln {} --help)", command, what, command));
  } catch (const std::bad_alloc&) {
    return fail(1, "not enough memory");
  } catch (const std::exception& error) {
    return fail(1, error.what());
  }
}

int program(int argc, char** argv) {
  const cli::Interrupts interrupts;
  CLI::App app(
      "Tensor-core kernels for large language models, compiled at run time, exact to the bit",
      "kiln");
  app.set_version_flag("--version", std::string("kiln ") + version());
  app.require_subcommand(1);
  cli::add_gemm_command(app);
  cli::add_quantize_command(app);
  cli::add_swiglu_command(app);
  cli::add_permute_command(app);
  cli::add_explain_command(app);
  cli::add_compile_command(app);
  cli::add_emu_command(app);
  cli::add_bench_command(app);
  cli::add_tune_command(app);
  cli::add_env_command(app);
  cli::add_cache_command(app);
  app.footer(kExamples);  // after the commands, which would inherit it
  return run(app, argc, argv);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return program(argc, argv);
  } catch (...) {
    std::fputs("kiln: error: no memory or no thread could be had\n", stderr);
    return 1;
  }
}
