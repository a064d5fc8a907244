// The commands of the `kiln` program. Each add_ function describes a command and its options to the
// parser and gives it a callback, which does the work while the command line is parsed.
//
// What goes wrong is thrown: CLI::ParseError for a command line that makes no sense (exit code 2),
// kiln::Error for everything else, a failed check included (exit code 1). Results go to stdout,
// progress and errors to stderr.
#pragma once

#include <CLI/CLI.hpp>

namespace kiln::cli {

void add_gemm_command(CLI::App& program);
void add_quantize_command(CLI::App& program);
void add_swiglu_command(CLI::App& program);
void add_permute_command(CLI::App& program);
void add_emu_command(CLI::App& program);
void add_env_command(CLI::App& program);
void add_explain_command(CLI::App& program);
void add_explain_grouped_command(CLI::App& explain);  // kiln explain grouped
void add_compile_command(CLI::App& program);
void add_cache_command(CLI::App& program);
void add_tune_command(CLI::App& program);   // cli/tune
void add_bench_command(CLI::App& program);  // cli/bench

}  // namespace kiln::cli
