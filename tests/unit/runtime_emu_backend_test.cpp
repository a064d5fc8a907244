// The emulator as a backend: what it does where the machine has no more memory or threads.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "runtime/emu/launch.hpp"
#include "tests/support/runtime_support.hpp"

namespace kiln {
namespace {

TEST(RuntimeEmuBackend, NoMemoryIsAnErrorWithTheSize) {
  for (const std::size_t bytes : {std::size_t{1} << 60, SIZE_MAX, SIZE_MAX - 255})
    expect_error(ErrorCode::unsupported, {"no memory for " + std::to_string(bytes) + " bytes"},
                 [&] { emu_backend().allocate(bytes); });
}

/// Kernels from a checkout have keys of their own, which change with every file that they may see.
TEST(RuntimeEmuBackend, ACheckoutIsPartOfTheToolchain) {
  const TemporaryDirectory checkout{testing::TempDir()};
  const auto flags_now = [&] { return emu_backend_from(checkout.path())->toolchain().flags; };
  expect_error(ErrorCode::io, {"no kernel sources in " + checkout.path()}, flags_now);
  std::filesystem::create_directories(checkout.path() + "/device/ptx");
  expect_error(ErrorCode::io, {"ops"}, flags_now);
  std::filesystem::create_directories(checkout.path() + "/ops/gemm");
  const auto none = flags_now();
  EXPECT_NE(none, emu_backend().toolchain().flags);
  write_text(checkout.path() + "/device/ptx/x.hpp", "#define ANSWER 42");
  const auto one = flags_now();
  EXPECT_NE(one, none);
  EXPECT_EQ(one, flags_now());
  write_text(checkout.path() + "/ops/gemm/README.md", "no source");
  EXPECT_EQ(one, flags_now());
  write_text(checkout.path() + "/ops/gemm/y.cuh", "");
  EXPECT_NE(one, flags_now());
  // The checkout's hooks are none: the linker wants one, which a kernel would get of its seam.
  const std::string source =
      "#include \"device/ptx/x.hpp\"\nstatic_assert(ANSWER == 42);\n"
      "extern \"C\" __attribute__((visibility(\"hidden\"))) void __tsan_init() {}\n";
  EXPECT_FALSE(emu_backend_from(checkout.path())->compile(source).empty());
  EXPECT_THROW(emu_backend().compile(source), Error);
}

/// An exit code: 0 if a launch of 10 CTAs ran all of them in a process that gets no more threads.
int launch_without_threads() noexcept {
  // The limit is not for root.
  if (::getuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return 3;
  const rlimit none{0, 0};
  if (::setrlimit(RLIMIT_NPROC, &none) != 0) return 4;
  try {
    std::thread([] {}).join();
    return 5;  // there are threads: the test would show nothing
  } catch (const std::system_error&) {
  }
  static std::atomic<int> threads{0};
  emu::Kernel kernel;
  kernel.shape = {.threads = 32, .cluster = 1, .smem_bytes = 0};
  kernel.function = [](const void*) { ++threads; };
  emu::launch(kernel, 10, nullptr, 0, {.workers = 8});
  return threads == 320 ? 0 : 6;
}

TEST(RuntimeEmuBackend, NoThreadsMakeALaunchSlowerOnly) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    ::_exit(launch_without_threads());
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace kiln
