// The cache in ordinary life: keys, entries, memory, disk, threads, and the commands of `kiln
// cache`.
#include <sys/stat.h>
#include <unistd.h>

#include <latch>
#include <thread>

#include "runtime_cache_support.hpp"

namespace kiln {
namespace {

class RuntimeCache : public CacheTest {};

TEST(RuntimeCacheKey, EveryComponentCounts) {
  const Toolchain base = fake_toolchain();
  std::vector<CacheKey> keys = {cache_key("build", base, "source"),
                                cache_key("build2", base, "source"),
                                cache_key("build", base, "source ")};
  const auto with = [&](auto&& change) {
    Toolchain toolchain = base;
    change(toolchain);
    keys.push_back(cache_key("build", toolchain, "source"));
  };
  with([](Toolchain& t) { t.kind = "nvcc"; });
  with([](Toolchain& t) { t.version = "1.1"; });
  with([](Toolchain& t) { t.target = "sm_100a"; });
  with([](Toolchain& t) { t.flags = {"-b", "-a"}; });
  with([](Toolchain& t) { t.flags = {"-a"}; });
  with([](Toolchain& t) { t.flags = {"-a-b"}; });
  with([](Toolchain& t) { t.flags = {"-a", "-b", ""}; });
  // Where one component ends and the next begins counts as well.
  with([](Toolchain& t) { t.kind = "fake1", t.version = ".0"; });
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(std::adjacent_find(keys.begin(), keys.end()), keys.end());
  EXPECT_EQ(cache_key("build", base, "source"), cache_key("build", base, "source"));
}

TEST(RuntimeCacheKey, TheBuildIsTheVersionAndTheSources) {
  EXPECT_THAT(build_id(), testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+ [0-9a-f]+"));
}

TEST(RuntimeCacheEntry, RoundTrip) {
  for (const std::size_t size : {0u, 1u, 5000u}) {
    const std::vector<std::byte> image(size, std::byte{7});
    const auto parsed = parse_entry(key_of("a"), make_entry(key_of("a"), kShape, image));
    ASSERT_TRUE(std::holds_alternative<Entry>(parsed)) << std::get<std::string>(parsed);
    EXPECT_EQ(std::get<Entry>(parsed).image, image);
    EXPECT_EQ(std::get<Entry>(parsed).shape, kShape);
  }
}

TEST(RuntimeCacheEntry, EveryFlippedBitAndEveryTruncationIsSeen) {
  const auto good = make_entry(key_of("a"), kShape, std::vector<std::byte>(200, std::byte{7}));
  for (std::size_t i = 0; i < good.size() * 8; ++i) {
    auto bad = good;
    bad[i / 8] ^= std::byte{1} << i % 8;
    ASSERT_TRUE(std::holds_alternative<std::string>(parse_entry(key_of("a"), bad))) << "bit " << i;
  }
  for (std::size_t size = 0; size < good.size(); ++size)
    ASSERT_TRUE(std::holds_alternative<std::string>(
        parse_entry(key_of("a"), {good.begin(), good.begin() + static_cast<long>(size)})));
  auto longer = good;
  longer.push_back(std::byte{0});
  EXPECT_TRUE(std::holds_alternative<std::string>(parse_entry(key_of("a"), longer)));
  EXPECT_TRUE(std::holds_alternative<std::string>(parse_entry(key_of("b"), good)));
}

TEST_F(RuntimeCache, CompilesOnceThenMemoryThenDisk) {
  Cache cache(options_for(cache_directory));
  EXPECT_EQ(ask(cache, "a"), image_of("a"));
  EXPECT_EQ(ask(cache, "a"), image_of("a"));
  EXPECT_EQ(ask(cache, "b"), image_of("b"));
  EXPECT_EQ(compiles, 2);
  EXPECT_EQ(ask_anew("a"), image_of("a"));
  EXPECT_EQ(ask_anew("b"), image_of("b"));
  EXPECT_EQ(compiles, 2);
  EXPECT_THAT(warnings, testing::IsEmpty());
  EXPECT_EQ(cache.status().compiles, 2u);
  EXPECT_EQ(cache.status().memory_hits, 1u);
  EXPECT_EQ(cache.status().disk_hits, 0u);
  EXPECT_EQ(cache.status().directory, cache_directory);
}

TEST_F(RuntimeCache, FilesArePrivate) {
  const mode_t before = ::umask(0);
  ask_anew("a");
  ::umask(0777);
  ask_anew("b");
  ::umask(before);
  struct stat info;
  ASSERT_EQ(::stat(cache_directory.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700u);
  for (const char* source : {"a", "b"}) {
    ASSERT_EQ(::stat(entry(source).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u);
  }
  EXPECT_EQ(ask_anew("b"), image_of("b"));
  EXPECT_EQ(compiles, 2);
}

TEST_F(RuntimeCache, ThreadsShareOneCompile) {
  constexpr int kThreads = 16;
  Cache cache(options_for(cache_directory));
  std::latch start(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&] {
      start.arrive_and_wait();
      const Image image = cache.get(key_of("a"), kShape, [&] {
        ++compiles;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        return image_of("a");
      });
      EXPECT_EQ(*image, image_of("a"));
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(compiles, 1);
}

TEST_F(RuntimeCache, DifferentKernelsCompileConcurrently) {
  Cache cache(options_for(cache_directory));
  std::latch both_compiling(2);
  const auto compile = [&](const char* source) {
    return [&, source] {
      both_compiling.arrive_and_wait();  // would never return if compiles were serialised
      return image_of(source);
    };
  };
  std::thread other([&] { cache.get(key_of("a"), kShape, compile("a")); });
  cache.get(key_of("b"), kShape, compile("b"));
  other.join();
}

TEST_F(RuntimeCache, AFailedCompileIsTriedAgainAndPassesThrough) {
  Cache cache(options_for(cache_directory));
  const auto refuse = []() -> std::vector<std::byte> {
    throw Error(ErrorCode::compile_failed, "no");
  };
  for (int i = 0; i < 2; ++i)
    expect_error(ErrorCode::compile_failed, {"no"},
                 [&] { cache.get(key_of("a"), kShape, refuse); });
  EXPECT_EQ(ask(cache, "a"), image_of("a"));
  EXPECT_EQ(compiles, 1);
}

TEST_F(RuntimeCache, WithoutADirectoryMemoryServes) {
  CacheOptions options;
  options.no_directory_because = "HOME is not set";
  Cache cache(options);
  EXPECT_EQ(ask(cache, "a"), image_of("a"));
  EXPECT_EQ(ask(cache, "a"), image_of("a"));
  EXPECT_EQ(compiles, 1);
  EXPECT_EQ(cache.status().directory, "");
  EXPECT_THAT(cache.status().warnings,
              testing::ElementsAre("compiled kernels are kept in memory only: HOME is not set"));
  expect_error(ErrorCode::cache, {"HOME is not set"}, [&] { cache.stats(); });
  Cache off(CacheOptions{});
  EXPECT_THAT(off.status().warnings, testing::IsEmpty());
  expect_error(ErrorCode::cache, {"switched off"}, [&] { off.clear(); });
}

TEST_F(RuntimeCache, WhereItLies) {
  Settings s;
  EXPECT_EQ(cache_options(s, "").directory, "");
  EXPECT_THAT(cache_options(s, "").no_directory_because, testing::HasSubstr("HOME"));
  s.home = "/home/u";
  EXPECT_EQ(cache_options(s, "").directory, "/home/u/.cache/kiln");
  EXPECT_EQ(cache_options(s, "").existing, "/home/u");
  s.xdg_cache_home = "/xdg";
  EXPECT_EQ(cache_options(s, "").directory, "/xdg/kiln");
  s.cache = "/mine";
  EXPECT_EQ(cache_options(s, "").directory, "/mine");
  s.cache = "";
  EXPECT_EQ(cache_options(s, "").directory + cache_options(s, "").no_directory_because, "");
  EXPECT_THAT(cache_options(s, "/opt/lib/libkiln.so").read_only_directories,
              testing::ElementsAre("/opt/lib/kiln_kernels"));
}

TEST_F(RuntimeCache, ParentsAreCreatedButNoHome) {
  CacheOptions options = options_for(path("a/b/c"));
  EXPECT_EQ(Cache(options).status().directory, options.directory);
  options = options_for(path("home/.cache/kiln"));
  options.existing = path("home");
  EXPECT_THAT(Cache(options).status().warnings, testing::Contains(testing::HasSubstr("No such")));
  EXPECT_FALSE(std::filesystem::exists(path("home")));
  std::filesystem::create_directory(path("home"));
  EXPECT_EQ(Cache(options).status().directory, options.directory);
}

TEST_F(RuntimeCache, ReadOnlyLayersAreUsedAndNeverWritten) {
  ask_anew("a");                                                  // fills cache_directory
  std::filesystem::create_hard_link(entry("a"), path("linked"));  // as package managers do
  CacheOptions options = options_for(path("upper"));
  options.read_only_directories = {path("missing"), cache_directory};
  Cache cache(options);
  EXPECT_EQ(ask(cache, "a"), image_of("a"));
  EXPECT_EQ(compiles, 1);
  ask(cache, "b");
  EXPECT_EQ(compiles, 2);
  EXPECT_FALSE(std::filesystem::exists(entry("b")));
  EXPECT_TRUE(std::filesystem::exists(path("upper/") + entry_name("b")));
  EXPECT_FALSE(std::filesystem::exists(path("missing")));

  write_text(entry("c"), "not an entry");
  EXPECT_EQ(ask(cache, "c"), image_of("c"));
  EXPECT_EQ(read_text(entry("c")), "not an entry");
}

TEST_F(RuntimeCache, StatsVerifyAndClear) {
  Cache cache(options_for(cache_directory));
  ask(cache, "a");
  ask(cache, "b");
  EXPECT_EQ(cache.stats().entries, 2u);
  EXPECT_EQ(cache.stats().bytes, image_of("a").size() + image_of("b").size() + 2 * kEntryHeader);
  for (const CacheFile& file : cache.verify()) EXPECT_EQ(file.problem, "") << file.name;

  std::filesystem::resize_file(entry("a"), 1000);
  write_text(cache_directory + "/.tmp-0", "left over");
  write_text(cache_directory + "/notes.txt", "the user's");
  const auto files = cache.verify();
  ASSERT_EQ(files.size(), 3u);
  for (const CacheFile& file : files) {
    const char* wanted = file.name == entry_name("a")   ? "bytes of image"
                         : file.name == entry_name("b") ? ""
                                                        : "never completed";
    EXPECT_THAT(file.problem, testing::HasSubstr(wanted)) << file.name;
    EXPECT_EQ(file.problem.empty(), *wanted == '\0') << file.name;
  }
  EXPECT_EQ(cache.stats().other_files, 1u);
  EXPECT_EQ(cache.clear(), 3);
  EXPECT_THAT(names_in(cache_directory), testing::ElementsAre(".lock", "notes.txt"));
}

TEST_F(RuntimeCache, ClearRemovesLinksAndNotWhatTheyPointTo) {
  std::filesystem::create_directory(path("precious"));
  write_text(path("precious/file"), "x");
  Cache cache(options_for(cache_directory));
  std::filesystem::create_symlink(path("precious/file"), entry("a"));
  std::filesystem::create_directory_symlink(path("precious"), entry("b"));
  std::filesystem::create_hard_link(path("precious/file"), entry("c"));
  EXPECT_EQ(cache.clear(), 3);
  EXPECT_EQ(read_text(path("precious/file")), "x");
  std::filesystem::create_directory(entry("d"));
  expect_error(ErrorCode::cache, {entry_name("d"), "cannot remove"}, [&] { cache.clear(); });
}

TEST_F(RuntimeCache, OldLeftOversAreSweptNewOnesStay) {
  std::filesystem::create_directory(cache_directory);
  std::filesystem::permissions(cache_directory, std::filesystem::perms::owner_all);
  for (const char* name : {"/.tmp-old", "/.bad-old", "/.tmp-new"}) {
    write_text(cache_directory + name, "x");
    if (std::string_view(name).ends_with("old"))
      std::filesystem::last_write_time(
          cache_directory + name,
          std::filesystem::file_time_type::clock::now() - std::chrono::hours(48));
  }
  ask_anew("a");
  EXPECT_THAT(names_in(cache_directory),
              testing::UnorderedElementsAre(".lock", ".tmp-new", entry_name("a")));
}

}  // namespace
}  // namespace kiln
