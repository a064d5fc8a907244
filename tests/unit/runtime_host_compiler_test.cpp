// The host compiler and the processes it runs in.
#include "runtime/host_compiler.hpp"

#include <dlfcn.h>
#include <signal.h>

#include <thread>

#include "runtime/files.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln {
namespace {

Settings with_cxx(const std::string& cxx) {
  Settings s;
  s.path = {"/usr/local/bin", "/usr/bin", "/bin"};
  s.cxx = cxx;
  return s;
}

class RuntimeHostCompiler : public RuntimeTest {};
class RuntimeSubprocess : public RuntimeTest {};

TEST_F(RuntimeHostCompiler, CompilesASharedObjectAgainstTheEmbeddedSources) {
  const HostCompiler compiler(with_cxx(""));
  const std::string source =
      "#include \"device/types.hpp\"\n"
      "extern \"C\" __attribute__((visibility(\"default\"))) int answer() "
      "{ return kiln::ceil_div(KILN_X, 2); }\n";
  const auto image = compiler.compile(source, {"-DKILN_X=83"});
  EXPECT_EQ(image, compiler.compile(source, {"-DKILN_X=83"})) << "the same source, other bytes";
  write_text(path("kernel.so"),
             std::string(reinterpret_cast<const char*>(image.data()), image.size()));
  void* handle = ::dlopen(path("kernel.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(handle, nullptr) << ::dlerror();
  EXPECT_EQ(reinterpret_cast<int (*)()>(::dlsym(handle, "answer"))(), 42);
  ::dlclose(handle);
}

TEST_F(RuntimeHostCompiler, TakesOtherSources) {
  const HostCompiler compiler(with_cxx(""));
  const std::string source = "#include \"device/mine.hpp\"\nstatic_assert(kMine == 3);\n";
  EXPECT_FALSE(compiler.compile(source, {}, {{"device/mine.hpp", "const int kMine = 3;"}}).empty());
  expect_error(ErrorCode::compile_failed, {"device/mine.hpp"},
               [&] { compiler.compile(source, {}); });
}

TEST_F(RuntimeHostCompiler, ToolchainNamesNoPath) {
  const Toolchain toolchain = HostCompiler(with_cxx("")).toolchain({"-O1"});
  EXPECT_EQ(toolchain.kind, "host-c++");
  EXPECT_FALSE(toolchain.version.empty());
  EXPECT_THAT(toolchain.target, testing::HasSubstr("linux"));
  EXPECT_THAT(toolchain.flags, testing::Contains("-ffp-contract=off"));
  EXPECT_EQ(toolchain.flags.back(), "-O1");
  for (const std::string& flag : toolchain.flags) EXPECT_EQ(flag.find('/'), flag.npos) << flag;
  EXPECT_EQ(toolchain.version.find('/'), toolchain.version.npos);
}

TEST_F(RuntimeHostCompiler, ACompilerThatIsMissingIsNamedWithAdvice) {
  expect_error(ErrorCode::no_compiler, {"KILN_CXX=/nonexistent", "install g++", "Device::cpu"},
               [] { HostCompiler(with_cxx("/nonexistent")); });
  expect_error(ErrorCode::no_compiler, {"KILN_CXX=no-such-compiler", "is not on PATH"},
               [] { HostCompiler(with_cxx("no-such-compiler")); });
  Settings nothing;
  nothing.path = {directory()};
  expect_error(ErrorCode::no_compiler, {"looked for c++, g++ and clang++", directory()},
               [&] { HostCompiler{nothing}; });
  make_executable(path("c++"), "#!/bin/sh\nexit 3\n");
  expect_error(ErrorCode::no_compiler, {path("c++"), "--version", "exit code 3"},
               [&] { HostCompiler{nothing}; });
}

TEST_F(RuntimeHostCompiler, ARefusedKernelCarriesTheLog) {
  expect_error(ErrorCode::compile_failed, {"exit code 1", "kernel.cpp:2", "no_such_name"},
               [] { HostCompiler(with_cxx("")).compile("int x;\nint y = no_such_name;\n", {}); });
}

TEST_F(RuntimeHostCompiler, PathsMayHoldAnything) {
  const std::string odd = path("with 'space' $(touch canary); \"quotes\"\n");
  std::filesystem::create_directory(odd);
  make_executable(odd + "/c++", "#!/bin/sh\nexec /usr/bin/c++ \"$@\"\n");
  Settings s = with_cxx(odd + "/c++");
  s.tmpdir = odd;
  EXPECT_FALSE(HostCompiler(s).compile("int x;\n", {}).empty());
  EXPECT_EQ(names_in(odd), std::vector<std::string>{"c++"});
}

TEST_F(RuntimeHostCompiler, LeavesNothingBehind) {
  Settings s = with_cxx("");
  s.tmpdir = directory();
  const HostCompiler compiler(s);
  compiler.compile("int x;\n", {});
  EXPECT_THROW(compiler.compile("broken", {}), Error);
  EXPECT_TRUE(names_in(directory()).empty());
}

TEST_F(RuntimeSubprocess, EnvironmentIsCleaned) {
  ::setenv("CPATH", "/evil", 1);
  ::setenv("LD_PRELOAD_CANARY", "1", 1);
  const ProcessResult result =
      run_process({.arguments = {"/usr/bin/env"}, .directory = directory(), .path = {"/first"}});
  ::unsetenv("CPATH");
  ::unsetenv("LD_PRELOAD_CANARY");
  ASSERT_TRUE(result.ok()) << result.outcome();
  EXPECT_EQ(result.output, "PATH=/first:/usr/local/bin:/usr/bin:/bin\nTMPDIR=" + directory() +
                               "\nLC_ALL=C\nSOURCE_DATE_EPOCH=0\n");
}

TEST_F(RuntimeSubprocess, InheritsNoFileAndNoSignalMask) {
  const FileDescriptor open(::dup(0));  // without O_CLOEXEC
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  const ProcessResult result = run_process(
      {.arguments = {"/bin/sh", "-c", "ls /proc/self/fd | wc -l; grep SigBlk /proc/self/status"},
       .directory = directory()});
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  // 0, 1, 2 and the directory that ls reads.
  EXPECT_EQ(result.output, "4\nSigBlk:\t0000000000000000\n");
}

TEST_F(RuntimeSubprocess, OutcomesAreTold) {
  const auto run = [&](const std::vector<std::string>& arguments) {
    return run_process({.arguments = arguments, .directory = directory()}).outcome();
  };
  EXPECT_EQ(run({"/bin/sh", "-c", "exit 7"}), "exit code 7");
  EXPECT_EQ(run({"/bin/sh", "-c", "kill -9 $$"}), "ended by signal 9");
  EXPECT_THAT(run({"/nonexistent"}), testing::StartsWith("cannot be started"));
}

TEST_F(RuntimeSubprocess, TheTimeLimitKillsTheWholeGroup) {
  const auto start = std::chrono::steady_clock::now();
  const std::string script = "echo begun; (sleep 0.6; touch survivor) & sleep 30";
  const ProcessResult result = run_process({.arguments = {"/bin/sh", "-c", script},
                                            .directory = directory(),
                                            .limit = std::chrono::milliseconds(200)});
  EXPECT_TRUE(result.timed_out);
  EXPECT_FALSE(result.ok());
  EXPECT_EQ(result.output, "begun\n");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  std::this_thread::sleep_for(std::chrono::milliseconds(900));
  EXPECT_TRUE(names_in(directory()).empty());
}

TEST_F(RuntimeSubprocess, OutputIsCapped) {
  const ProcessResult result = run_process(
      {.arguments = {"/bin/sh", "-c", "head -c 3000000 /dev/zero"}, .directory = directory()});
  EXPECT_TRUE(result.ok());
  EXPECT_EQ(result.output.size(), std::size_t{1} << 20);
}

TEST_F(RuntimeSubprocess, AHostThatIgnoresItsChildrenIsNoProblem) {
  auto* before = ::signal(SIGCHLD, SIG_IGN);
  const auto image = HostCompiler(with_cxx("")).compile("int x;\n", {});
  EXPECT_THROW(HostCompiler(with_cxx("")).compile("broken", {}), Error);
  ::signal(SIGCHLD, before);
  EXPECT_FALSE(image.empty());
}

}  // namespace
}  // namespace kiln
