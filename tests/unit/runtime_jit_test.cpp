// From source to loaded kernel, with a backend that counts.
#include "runtime/jit.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <forward_list>
#include <latch>
#include <mutex>
#include <thread>

#include "runtime/after_fork.hpp"
#include "runtime_cache_support.hpp"

namespace kiln {
namespace {

class FakeBackend : public Backend {
 public:
  const Arch& arch() const override { return arch_; }
  const Toolchain& toolchain() override { return toolchain_; }
  std::vector<std::byte> compile(const std::string& source) override {
    ++compiles;
    if (source == "refused") throw Error(ErrorCode::compile_failed, "refused");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return image_of(source);
  }
  ResourceReport report(const std::string&) override { return {}; }
  const LoadedKernel* load(std::span<const std::byte> image, const KernelShape& shape) override {
    ++loads;
    const std::lock_guard lock(mutex_);
    last_image.assign(image.begin(), image.end());
    return &kernels_.emplace_front(LoadedKernel{shape});
  }
  TensorMap encode(const TensorMapSpec&) override { return {}; }
  void launch(const LoadedKernel*, int, const void*, std::size_t, const LaunchOptions&) override {}
  void* allocate(std::size_t) override { return nullptr; }
  void free(void*) noexcept override {}
  void copy_in(void*, const void*, std::size_t) override {}
  void copy_out(void*, const void*, std::size_t) override {}
  void fill(void*, std::uint8_t, std::size_t) override {}
  void synchronize() override {}

  std::atomic<int> compiles = 0, loads = 0;
  std::vector<std::byte> last_image;

 private:
  Arch arch_;
  Toolchain toolchain_ = fake_toolchain();
  std::mutex mutex_;
  std::forward_list<LoadedKernel> kernels_;
};

class RuntimeJit : public CacheTest {
 protected:
  Cache cache{options_for(cache_directory)};
  Jit jit{cache};
  FakeBackend backend;
};

TEST_F(RuntimeJit, TheSameKernelIsLoadedOnce) {
  const LoadedKernel* a = jit.get(backend, "a", kShape);
  EXPECT_EQ(a->shape, kShape);
  EXPECT_EQ(backend.last_image, image_of("a"));
  EXPECT_EQ(jit.get(backend, "a", kShape), a);
  EXPECT_NE(jit.get(backend, "b", kShape), a);
  EXPECT_EQ(backend.compiles, 2);
  EXPECT_EQ(backend.loads, 2);
}

TEST_F(RuntimeJit, TwoBackendsAreTwoKernelsOfOneCompile) {
  FakeBackend other;
  EXPECT_NE(jit.get(backend, "a", kShape), jit.get(other, "a", kShape));
  EXPECT_EQ(backend.compiles + other.compiles, 1);
  EXPECT_EQ(backend.loads, 1);
  EXPECT_EQ(other.loads, 1);
}

TEST_F(RuntimeJit, AWarmDiskNeedsNoCompiler) {
  jit.get(backend, "a", kShape);
  Cache cold(options_for(cache_directory));
  FakeBackend other;
  Jit(cold).get(other, "a", kShape);
  EXPECT_EQ(other.compiles, 0);
  EXPECT_EQ(other.last_image, image_of("a"));
}

TEST_F(RuntimeJit, ThreadsShareOneCompileAndOneLoad) {
  constexpr int kThreads = 16;
  std::latch start(kThreads);
  std::vector<std::thread> threads;
  std::array<const LoadedKernel*, kThreads> kernels;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      kernels[static_cast<std::size_t>(i)] = jit.get(backend, "a", kShape);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(kernels, testing::Each(kernels[0]));
  EXPECT_EQ(backend.compiles, 1);
  EXPECT_EQ(backend.loads, 1);
}

TEST_F(RuntimeJit, ARefusalIsNotRemembered) {
  for (int i = 0; i < 2; ++i)
    expect_error(ErrorCode::compile_failed, {"refused"},
                 [&] { jit.get(backend, "refused", kShape); });
  EXPECT_EQ(backend.compiles, 2);
  EXPECT_EQ(backend.loads, 0);
}

TEST(RuntimeAfterFork, AChildStartsAnew) {
  static PerProcess<int> value;
  EXPECT_EQ(value.get([] { return new int(1); }), 1);
  EXPECT_EQ(value.get([] { return new int(2); }), 1);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool anew = value.get([] { return new int(3); }) == 3;
    ::_exit(anew && value.get([] { return new int(4); }) == 3 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(value.get([] { return new int(5); }), 1);
}

/// A compile is under way in another thread when the process forks: the child must not wait for it.
TEST(RuntimeAfterFork, AChildDoesNotWaitForTheParentsThreads) {
  static PerProcess<SingleFlight<int, int>> flights;
  const auto make = [] { return new SingleFlight<int, int>; };
  std::latch compiling(1), finish(1);
  std::thread thread([&] {
    flights.get(make).get(1, [&] {
      compiling.count_down();
      finish.wait();
      return 1;
    });
  });
  compiling.wait();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    ::_exit(flights.get(make).get(1, [] { return 2; }) == 2 ? 0 : 1);
  }
  finish.count_down();
  thread.join();
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace kiln
