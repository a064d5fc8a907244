// Launches: what they refuse, that they survive faults of kernels, what a seed fixes, host threads.
#include <cfenv>
#include <set>
#include <thread>

#include "tests/emu/engine_support.hpp"

namespace kiln::emu {
namespace {

// ---- faults
// ----------------------------------------------------------------------------------------

TEST(EngineFaults, PastTheEndOfSharedMemory) {
  expect_fails(
      {.declarations = "struct S { int v[1024]; };",
       .body = "if (thread_idx() == 9) reinterpret_cast<volatile int*>(&shared<S>())[1024] = 1;"},
      {"CTA 0 warp 0 lane 9", "accesses smem+4096", "4096 bytes of shared memory"});
}

TEST(EngineFaults, JustOutsideSharedMemoryIsSeenAtTheEnd) {
  const Source below{.declarations = "struct S { char v[1000]; };",
                     .body = "if (thread_idx() == 9) (&shared<S>())->v[-3] = 1;"};
  const Source above{.declarations = "struct S { char v[1000]; };",
                     .body = "if (thread_idx() == 9) (&shared<S>())->v[1002] = 1;"};
  expect_fails(below, {"smem-3, outside the CTA's 1000 bytes"}, {.smem_bytes = 1000});
  expect_fails(above, {"smem+1002, outside the CTA's 1000 bytes"}, {.smem_bytes = 1000});
}

TEST(EngineFaults, NullPointersStacksAndDivisions) {
  expect_fails(
      {.body = "if (thread_idx() == 1) *reinterpret_cast<volatile int*>(16 * thread_idx()) = 1;"},
      {"lane 1", "accesses address 0x10"});
  expect_fails({.declarations = "__attribute__((noinline)) int deep(volatile int* x) { volatile "
                                "int y[64]; y[1] = x[0]; return deep(y) + y[2]; }",
                .body = "volatile int x[64] = {}; if (thread_idx() == 1) deep(x);"},
               {"lane 1", "overflows its stack"});
  expect_fails({.body = "volatile int zero = 0; if (thread_idx() == 2) zero = 5 / zero;"},
               {"lane 2", "divides an integer by zero"});
  int out = 0;  // the next launch is well
  run({.params = "int* out;", .body = "if (elect_one()) *p.out = 7;"}, &out);
  EXPECT_EQ(out, 7);
}

/// What a GPU refuses and this CPU would do: a misaligned pair of scales went unseen until an H200.
TEST(EngineFaults, MisalignedAccesses) {
  expect_fails({.declarations = "struct alignas(8) Pair { float x, y; }; struct S { float v[8]; };",
                .body = "auto* pair = reinterpret_cast<const Pair*>(shared<S>().v + thread_idx());"
                        "volatile float sum = pair->x + pair->y;"},
               {"lane 1", "an address that is not a multiple of what its type is aligned to"});
}

/// On a GPU it would be another register or another's shared memory. Mutants had survived so.
TEST(EngineFaults, IndicesBeyondAnArray) {
  expect_fails({.declarations = "struct S { int v[8]; int after[32]; };",
                .body = "if (thread_idx() < 9) shared<S>().v[thread_idx()] = 1;"},
               {"lane 8", "an element that its array does not have"});
  EXPECT_NO_THROW(run({.declarations = "struct S { int v[8]; int after[32]; };",
                       .body = "if (thread_idx() < 8) shared<S>().v[thread_idx()] = 1;"}));
}

// ---- launches
// --------------------------------------------------------------------------------------

TEST(EngineLaunch, RefusesWhatAMachineWould) {
  const Source source{.threads = 64,
                      .declarations = "struct S { char v[2000]; };",
                      .body = "shared<S>().v[0] = 1;"};
  EXPECT_NO_THROW(run(source, {.smem_bytes = 2000}));
  expect_error(source, {.smem_bytes = 1999}, ErrorCode::internal,
               {"uses 2000 bytes", "gives 1999"});
  expect_error(source, {.smem_bytes = 232449}, ErrorCode::internal, {"232448"});
  expect_error(source, {.ctas = 3, .cluster = 2}, ErrorCode::internal,
               {"multiple of the cluster's 2"});
  expect_error(source, {.ctas = 17, .cluster = 17}, ErrorCode::internal, {"1 to 16"});
  expect_error(source, u64{0}, {}, ErrorCode::internal, {"wanted 4 bytes of parameters, got 8"});
  EXPECT_NO_THROW(run(source, {.ctas = 0}));
  const auto image = emu_backend().compile(source.text());
  EXPECT_THROW(emu_backend().load(image, {.threads = 32}), Error);
  std::vector<std::byte> broken(image.begin(), image.begin() + 100);
  EXPECT_THROW(emu_backend().load(broken, {.threads = 64}), Error);
}

TEST(EngineLaunch, RefusesKernelsOfAnotherSeam) {
  const auto load = [](const std::string& text) -> std::string {
    try {
      emu_backend().load(emu_backend().compile(text), {.threads = 32});
    } catch (const Error& error) {
      return error.what();
    }
    return "loaded";
  };
  // Whatever seam it is, ordinary accesses need their hooks.
  const std::string hooks = "#include \"device/ptx/emu/hooks.hpp\"\n";
  const std::string exported = "extern \"C\" __attribute__((visibility(\"default\"))) ";
  EXPECT_NE(load(hooks + exported +
                 "__attribute__((no_sanitize(\"thread\"))) "
                 "unsigned kiln_emu_bind(const void*, unsigned* info) { *info = 999; return 0; }" +
                 exported + "void kernel(const void*) {}")
                .find("version 999"),
            std::string::npos);
  EXPECT_NE(load(hooks + exported + "void kernel(const void*) {}").find("no symbol kiln_emu_bind"),
            std::string::npos);
}

TEST(EngineLaunch, TheLatestImageIsLoadedWhateverWasBefore) {
  // The loader remembers objects by name, and these all come from the same file descriptor.
  for (int i = 0; i < 5; ++i) {
    int out = -1;
    run({.params = "int* out;", .body = "p.out[0] = " + std::to_string(i) + ";"}, &out);
    EXPECT_EQ(out, i);
  }
}

TEST(EngineLaunch, KernelsHaveNoUndefinedSymbolsOfKiln) {
  // -z defs would have refused them; that the flag is there is what this asserts.
  EXPECT_THROW(emu_backend().compile(Source{.declarations = "namespace kiln { void missing(); }",
                                            .body = "missing();"}
                                         .text()),
               Error);
}

TEST(EngineLaunch, CountsGridDependencies) {
  const Statistics statistics =
      run({.threads = 64,
           .body = "grid_dependency_wait(); grid_dependency_launch(); grid_dependency_launch();"},
          {.ctas = 2});
  EXPECT_EQ(statistics.grid_dependency_waits, 128u);
  EXPECT_EQ(statistics.grid_dependency_launches, 256u);
}

const Source kOrder{.threads = 64, .params = "int* out; int* next;", .body = R"(
    for (int i = 0; i < 4; ++i) { elect_one(); p.out[(*p.next)++] = thread_idx(); }
    cta_sync();)"};
struct OrderParams {
  int* out;
  int* next;
};

std::vector<int> order(std::uint64_t seed, std::uint64_t* trace = nullptr) {
  std::vector<int> out(256);
  int next = 0;
  const Statistics statistics = run(kOrder, OrderParams{out.data(), &next}, {}, {.seed = seed});
  if (trace != nullptr) *trace = statistics.trace;
  return out;
}

TEST(EngineSeeds, ReplayARunAndDifferFromEachOther) {
  std::set<std::vector<int>> orders;
  std::set<std::uint64_t> traces;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    std::uint64_t trace = 0, again = 0;
    orders.insert(order(seed, &trace));
    ASSERT_EQ(order(seed, &again), order(seed));
    ASSERT_EQ(trace, again);
    traces.insert(trace);
  }
  EXPECT_EQ(orders.size(), 20u);
  EXPECT_EQ(traces.size(), 20u);
}

TEST(EngineSeeds, AClustersScheduleDoesNotDependOnTheWorker) {
  const Source source{.threads = 64, .body = "for (int i = 0; i < 20; ++i) elect_one();"};
  std::set<std::uint64_t> traces;
  for (int workers : {1, 2, 3, 8})
    traces.insert(run(source, {.ctas = 12, .cluster = 2}, {.workers = workers}).trace);
  EXPECT_EQ(traces.size(), 1u);
}

TEST(EngineLaunch, HostThreadsLaunchAtOnce) {
  std::vector<std::uint64_t> traces(4);
  const Source source{.threads = 128, .body = "for (int i = 0; i < 50; ++i) cta_sync();"};
  const Kernel& kernel = compile(source.text(), {128, 1, 4096});
  std::vector<std::thread> threads;
  for (auto& trace : traces)
    threads.emplace_back([&] {
      const int unused = 0;
      trace = launch(kernel, 4, &unused, sizeof unused).trace;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(std::set<std::uint64_t>(traces.begin(), traces.end()).size(), 1u);
}

TEST(EngineLaunch, AnObserverHearsEveryEventAndMayEndTheRun) {
  struct Counter : Observer {
    int exits = 0, limit = 1000;
    void on(const Event& event) override {
      exits += event.kind == EventKind::thread_exit;
      if (exits > limit) throw Error(ErrorCode::internal, "seen enough");
    }
  } counter;
  const Source source{.threads = 64, .body = "warp_sync();"};
  const Statistics statistics = run(source, {.ctas = 3}, {.observer = &counter});
  EXPECT_EQ(counter.exits, 192);
  EXPECT_GT(statistics.events, 192u);
  counter.limit = 200;
  EXPECT_THROW(run(source, {.ctas = 3}, {.observer = &counter}), Error);
}

TEST(EngineLaunch, ArithmeticIgnoresTheCallersModes) {
  const Source source{
      .params = "float a, b; float* out;",
      .body =
          "if (thread_idx() == 0) { p.out[0] = mul_rn(p.a, p.b); p.out[1] = add_rn(p.a, p.b); }"};
  struct Params {
    float a, b;
    float* out;
  };
  float out[2];
  std::fesetround(FE_UPWARD);
#if defined(__x86_64__)
  const unsigned saved = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(saved | 0x8040);  // flush to zero, denormals are zero
#endif
  run(source, Params{0x1p-100f, 0x1.8p-40f, out});
#if defined(__x86_64__)
  EXPECT_EQ(__builtin_ia32_stmxcsr() & 0x8040, 0x8040u) << "the caller's modes are the caller's";
  __builtin_ia32_ldmxcsr(saved);
#endif
  EXPECT_EQ(std::fegetround(), FE_UPWARD);
  std::fesetround(FE_TONEAREST);
  EXPECT_EQ(out[0], 0x1.8p-140f);
  EXPECT_EQ(out[1], 0x1.8p-40f);
}

}  // namespace
}  // namespace kiln::emu
