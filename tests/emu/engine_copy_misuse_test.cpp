// What kernels can do wrong with the copy engine, and what they are told.
#include "tests/emu/engine_copy_support.hpp"

namespace kiln::emu {
namespace {

Source copy_source(const std::string& body) {
  Source source = load_source(2);
  source.body =
      "S& s = shared<S>(); if (thread_idx() == 0) mbarrier_init(&s.full, 1); cluster_sync();\n"
      "const bool one = thread_idx() == 0;\n" +
      body;
  return source;
}

void expect_copy_error(const std::string& body, const std::vector<std::string>& words,
                       ErrorCode code = ErrorCode::internal,
                       const Grid& grid = {.smem_bytes = kSmem}) {
  Tensor tensor(Element::u8);
  std::vector<u8> out;
  expect_error(copy_source(body), small_load(tensor, out), grid, code, words);
}

int count_copy_errors(const std::string& body, const std::string& words,
                      const Grid& grid = {.smem_bytes = kSmem}) {
  Tensor tensor(Element::u8);
  std::vector<u8> out;
  return count_errors(copy_source(body), small_load(tensor, out), grid, words);
}

TEST(EngineCopyMisuse, Addresses) {
  expect_copy_error("if (one) tma_load_2d(&p.map, &s.full, s.box + 64, 0, 0);",
                    {"tma_load_2d", "smem+64", "128 bytes"});
  expect_copy_error("if (one) tma_load_2d(&p.map, &s.full, s.box + 32768 + 1024 - 64, 0, 0);",
                    {"ends beyond"});
  expect_copy_error("u8 local[64]; if (one) tma_store_2d(&p.map, local, 0, 0);",
                    {"tma_store_2d", "not in the shared memory"});
  expect_copy_error(
      "if (one) tma_load_2d(&p.map, reinterpret_cast<Barrier*>(s.box), s.box + 1024, 0, 0);",
      {"before mbarrier_init"});
  expect_copy_error("if (one) tma_load_3d(&p.map, &s.full, s.box, 0, 0, 0);",
                    {"tma_load_3d", "2 dimensions, the instruction 3"});
  expect_copy_error("if (one) tma_prefetch_3d(&p.map, 0, 0, 0);",
                    {"tma_prefetch_3d", "2 dimensions, the instruction 3"});
  expect_copy_error("if (one) tma_reduce_1d<Reduction::add>(&p.map, s.box, 0);",
                    {"tma_reduce_1d", "2 dimensions, the instruction 1"});
  expect_copy_error("if (one) tma_load_5d_multicast(&p.map, &s.full, s.box, 0, 0, 0, 0, 0, 1);",
                    {"tma_load_5d_multicast", "2 dimensions, the instruction 5"});
  expect_copy_error("if (one) tma_store_4d(&p.map, s.box, 0, 0, 0, 0);",
                    {"tma_store_4d", "2 dimensions, the instruction 4"});
  expect_copy_error("TensorMap map = {}; if (one) tma_load_2d(&map, &s.full, s.box, 0, 0);",
                    {"not one that the emulator encoded"});
}

TEST(EngineCopyMisuse, InnermostCoordinatesAreMultiplesOfSixteenBytes) {
  // Of every instruction, elements of every size; the other coordinates are free.
  const std::pair<std::string, std::string> kCopies[] = {
      {"tma_load_2d", "(&p.map, &s.full, s.box, p.x, p.y);"},
      {"tma_load_2d_multicast", "(&p.map, &s.full, s.box, p.x, p.y, 1);"},
      {"tma_store_2d", "(&p.map, s.box, p.x, p.y); tma_store_commit(); tma_store_wait<0>();"},
      {"tma_reduce_2d<Reduction::add>",
       "(&p.map, s.box, p.x, p.y); tma_store_commit(); tma_store_wait<0>();"},
      {"tma_prefetch_2d", "(&p.map, p.x, p.y);"}};
  for (const auto& [name, arguments] : kCopies) {
    const bool loads = name.find("load") != std::string::npos;
    const bool reduces = name.find("reduce") != std::string::npos;
    const Source source = copy_source(
        (loads ? std::string("if (one) mbarrier_arrive_expect_tx(&s.full, p.bytes);\n") : "") +
        "if (one) { " + name + arguments + " }" + (loads ? "mbarrier_wait(&s.full, 0);" : ""));
    for (const Element element : {Element::u8, Element::bf16, Element::fp32, Element::fp64}) {
      if (reduces && element == Element::u8) continue;
      Tensor tensor(element);
      std::vector<u8> out;
      const int unit = 16 / tensor.size, far = 2147483647;
      Case c = {element, Swizzle::none, 2, {static_cast<std::uint32_t>(unit), 8, 1, 1, 1}, {}};
      for (const int y : {0, 1, -3, far, -far - 1})
        for (const int x : {0, unit, -unit, far - far % unit, -far - 1}) {
          c.at = {x, y};
          const bool writes = reduces || name.find("store") != std::string::npos;
          if (writes && (x < 0 || y < 0)) {
            expect_error(source, params_of(c, tensor, out), {.smem_bytes = kSmem},
                         ErrorCode::internal,
                         {name.substr(0, name.find('<')) +
                          (x < 0 ? ": coordinate 0 is " : ": coordinate 1 is ") +
                          std::to_string(x < 0 ? x : y)});
            continue;
          }
          EXPECT_NO_THROW(run(source, params_of(c, tensor, out), {.smem_bytes = kSmem}))
              << name << " " << c;
        }
      for (const int x : {1, -1, unit / 2, unit + 1, far}) {
        c.at = {x, 0};
        expect_error(source, params_of(c, tensor, out), {.smem_bytes = kSmem}, ErrorCode::internal,
                     {name.substr(0, name.find('<')) + ": the innermost coordinate " +
                          std::to_string(x) + ", of elements of " + std::to_string(tensor.size) +
                          " bytes, is no multiple of 16 bytes",
                      "docs/MEASURED.md"});
      }
    }
  }
}

TEST(EngineCopyMisuse, SwizzledBoxesAlignToTheirPeriod) {
  for (const auto& [swizzle, offset, wanted] : std::vector<std::tuple<Swizzle, int, std::string>>{
           {Swizzle::b32, 128, "256"}, {Swizzle::b64, 256, "512"}, {Swizzle::b128, 512, "1024"}}) {
    const Case c = {
        Element::u8, swizzle, 2, {static_cast<std::uint32_t>(span_of(swizzle)), 8, 1}, {}};
    Tensor tensor(Element::u8);
    std::vector<u8> out(32768);
    const Params params = {
        emu_backend().encode(tensor.spec(c)), out.data(), 0, 0, 0, span_of(swizzle) * 8};
    expect_error(load_source(2, offset), params, {.smem_bytes = kSmem}, ErrorCode::internal,
                 {"smem+" + std::to_string(offset), "not aligned to " + wanted});
    EXPECT_NO_THROW(run(load_source(2, 2 * offset), params, {.smem_bytes = kSmem}));
  }
}

TEST(EngineCopyMisuse, MapsThatBreakARuleAreRefused) {
  Tensor tensor(Element::u8);
  TensorMapSpec spec = tensor.spec({Element::u8, Swizzle::b128, 2, {64, 8, 1}, {}});
  EXPECT_NO_THROW(emu_backend().encode(spec));
  spec.interleave = Interleave::b16;
  try {
    emu_backend().encode(spec);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(to_string(error.code()), std::string(to_string(ErrorCode::unsupported)));
    EXPECT_NE(std::string(error.what()).find("the interleave is 16 bytes"), std::string::npos);
  }
}

TEST(EngineCopyMisuse, Bytes) {
  expect_copy_error(
      "if (one) { mbarrier_arrive_expect_tx(&s.full, 144); tma_load_2d(&p.map, &s.full, s.box, 0, "
      "0); } mbarrier_wait(&s.full, 0);",
      {"0 arrivals and 16 bytes missing"}, ErrorCode::deadlock);
  expect_copy_error(
      "if (one) { mbarrier_arrive_expect_tx(&s.full, 112); tma_load_2d(&p.map, &s.full, s.box, 0, "
      "0); } mbarrier_wait(&s.full, 0);",
      {"smem+32768", "16 bytes more than were announced"});
  // Before the arrival or after it: either way somebody notices.
  const std::string unannounced =
      "if (one) { tma_load_2d(&p.map, &s.full, s.box, 0, 0); WAIT mbarrier_arrive(&s.full); }";
  EXPECT_GT(count_copy_errors(
                "#define WAIT for (int i = 0; i < 100; ++i) fence_proxy_async();\n" + unannounced,
                "128 bytes more than were announced"),
            0);
  EXPECT_GT(count_copy_errors(
                "#define WAIT\n" + unannounced + "for (int i = 0; i < 500; ++i) elect_one();",
                "128 bytes that were copied and never announced"),
            0);
}

TEST(EngineCopyMisuse, Exits) {
  EXPECT_GT(count_copy_errors("if (one) { mbarrier_arrive_expect_tx(&s.full, 128); "
                              "tma_load_2d(&p.map, &s.full, s.box, 0, 0); }",
                              "last of its CTA to exit, while 1 copies"),
            0);
  expect_copy_error("if (one) tma_store_2d(&p.map, s.box, 0, 0);",
                    {"warp 0 lane 0", "no tma_store_commit"});
  expect_copy_error(
      "if (one) { tma_store_2d(&p.map, s.box, 0, 0); tma_store_commit(); tma_store_2d(&p.map, "
      "s.box, 0, 0); tma_store_wait_read<0>(); }",
      {"no tma_store_commit"});
  EXPECT_GT(count_copy_errors("if (one) { tma_store_2d(&p.map, s.box, 0, 0); tma_store_commit(); "
                              "tma_store_wait_read<1>(); }",
                              "tma_store_wait_read is missing"),
            10);
}

TEST(EngineCopyMisuse, Multicast) {
  const Grid pair = {.ctas = 2, .cluster = 2, .smem_bytes = kSmem};
  expect_copy_error("if (one) tma_load_2d_multicast(&p.map, &s.full, s.box, 0, 0, 0b100);",
                    {"mask 4", "cluster of 2"}, ErrorCode::internal, pair);
  expect_copy_error("if (one) tma_load_2d_multicast(&p.map, &s.full, s.box, 0, 0, 0);", {"mask 0"},
                    ErrorCode::internal, pair);
  expect_copy_error(R"(
    if (cluster_rank() == 1) return;
    for (int i = 0; i < 500; ++i) elect_one();
    if (one) tma_load_2d_multicast(&p.map, &s.full, s.box, 0, 0, 0b11);)",
                    {"CTA 1 of the cluster has exited"}, ErrorCode::internal, pair);
  // The partner leaves while a copy into it is under way.
  EXPECT_GT(count_copy_errors(R"(
    if (one) mbarrier_arrive_expect_tx(&s.full, 128);
    cluster_sync();
    if (one && cluster_rank() == 0) tma_load_2d_multicast(&p.map, &s.full, s.box, 0, 0, 0b11);
    if (cluster_rank() == 0) mbarrier_wait(&s.full, 0);)",
                              "last of its CTA to exit, while 1 copies", pair),
            0);
}

}  // namespace
}  // namespace kiln::emu
