// Whether kernels compile for sm_90a without spills, stack or serialised wgmmas.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <vector>

#include "arith/parallel.hpp"
#include "kiln/error.hpp"
#include "runtime/cubin_compiler.hpp"

namespace kiln {

/// NVRTC, or a skipped test where there is none.
#define KILN_NEED_COMPILER()      \
  try {                           \
    cubin_compiler().toolchain(); \
  } catch (const Error& error) {  \
    GTEST_SKIP() << error.what(); \
  }

/// What is wrong with a kernel, or nothing. `registers` is the most that a thread may have.
inline std::string complaint(const std::string& source, int registers) {
  const ResourceReport report = cubin_compiler().report(source);
  std::string text;
  if (report.spill_store_bytes || report.spill_load_bytes || report.stack_bytes)
    text += fmt::format(" {} bytes of stack, {}/{} of spills", report.stack_bytes,
                        report.spill_store_bytes, report.spill_load_bytes);
  if (report.registers == 0 || report.registers > registers)
    text += fmt::format(" {} registers, limit {}", report.registers, registers);
  for (const std::string& warning : report.warnings) text += " " + warning;
  return text;
}

/// Compiles them on all cores. A thread of a CTA may have 65536 / threads registers.
template <class Config>
void expect_clean(const std::vector<Config>& configs) {
  std::mutex mutex;
  parallel_for(static_cast<i64>(configs.size()), 0, [&](i64 i) {
    const Config& config = configs[static_cast<std::size_t>(i)];
    std::string text;
    try {
      text = complaint(source_of(config), threads(config) > 256 ? 168 : 255);
    } catch (const Error& error) {
      text = error.what();
    }
    const std::lock_guard lock(mutex);
    if (!text.empty()) ADD_FAILURE() << to_string(config) << ":" << text;
  });
}

}  // namespace kiln
