// The reader of .npy files against files that are right, wrong in every way, cut off at every byte
// and changed at random.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <random>

#include "arith/codecs.hpp"
#include "cli/npy.hpp"
#include "cli/output_file.hpp"
#include "kiln/error.hpp"
#include "tests/cli/cli_support.hpp"

namespace kiln::cli::test {
namespace {

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

const std::string kSix = bytes_of<float>({0, 1, 2, 3, 4, 5});

/// What is said of these bytes as a file; "" if they are accepted.
std::string complaint(const std::string& bytes) {
  const TestDirectory directory;
  write_text(directory / "x.npy", bytes);
  try {
    read_npy_matrix(directory / "x.npy");
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_THAT(error.what(), testing::StartsWith("cannot read " + (directory / "x.npy") + ": "));
    return error.what();
  }
}

NpyMatrix matrix_of(const std::string& bytes) {
  const TestDirectory directory;
  write_text(directory / "x.npy", bytes);
  return read_npy_matrix(directory / "x.npy");
}

std::string with_shape(std::string_view shape, const std::string& values = kSix) {
  return npy_bytes(1, npy_dictionary("<f4", false, shape), values);
}

std::string with_dictionary(std::string_view dictionary) { return npy_bytes(1, dictionary, kSix); }

float at(const TensorView& view, int row, int column) {
  return static_cast<const float*>(view.data)[row * view.stride[0] + column * view.stride[1]];
}

TEST(Npy, ReadsEveryVersion) {
  for (const int version : {1, 2, 3}) {
    NpyMatrix matrix = matrix_of(npy_bytes(version, npy_dictionary("<f4", false, "(2, 3)"), kSix));
    EXPECT_EQ(matrix.rows, 2);
    EXPECT_EQ(matrix.columns, 3);
    EXPECT_THAT(matrix.values, testing::ElementsAre(0, 1, 2, 3, 4, 5));
    EXPECT_EQ(at(matrix.view(), 1, 0), 3);
    EXPECT_EQ(at(matrix.transposed_view(), 0, 1), 3);
    EXPECT_THAT(matrix.transposed_view().shape, testing::ElementsAre(3, 2));
  }
}

TEST(Npy, ReadsFortranOrder) {
  NpyMatrix matrix = matrix_of(npy_bytes(1, npy_dictionary("<f4", true, "(2, 3)"), kSix));
  EXPECT_TRUE(matrix.fortran_order);
  EXPECT_EQ(at(matrix.view(), 1, 0), 1);
  EXPECT_EQ(at(matrix.view(), 0, 2), 4);
  EXPECT_EQ(at(matrix.transposed_view(), 2, 0), 4);
}

TEST(Npy, ReadsEveryHalf) {
  std::vector<u16> halves(65536);
  for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<u16>(i);
  const NpyMatrix matrix =
      matrix_of(npy_bytes(1, npy_dictionary("<f2", false, "(256, 256)"), bytes_of(halves)));
  EXPECT_EQ(matrix.type, NpyType::float16);
  for (std::size_t i = 0; i < halves.size(); ++i) {
    ASSERT_EQ(std::bit_cast<u32>(matrix.values[i]), std::bit_cast<u32>(fp16_to_float(halves[i])));
  }
}

TEST(Npy, ReadsWhatIsLargerThanAChunk) {
  const std::int64_t columns = 1 << 20;  // of 2 bytes: three chunks of 4 MiB
  std::vector<u16> halves(5 * columns);
  for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<u16>(i * 7 % 30000);
  const NpyMatrix matrix =
      matrix_of(npy_bytes(1, npy_dictionary("<f2", false, "(5, 1048576)"), bytes_of(halves)));
  ASSERT_EQ(matrix.values.size(), halves.size());
  for (std::size_t i = 0; i < halves.size(); i += 997)
    ASSERT_EQ(matrix.values[i], fp16_to_float(halves[i])) << i;
  EXPECT_EQ(matrix.values.back(), fp16_to_float(halves.back()));
}

TEST(Npy, ReadsEmptyMatrices) {
  for (const char* shape : {"(0, 5)", "(5, 0)", "(0, 0)"}) {
    const NpyMatrix matrix = matrix_of(with_shape(shape, ""));
    EXPECT_TRUE(matrix.values.empty()) << shape;
  }
  EXPECT_EQ(matrix_of(with_shape("(5, 0)", "")).rows, 5);
}

TEST(Npy, ReadsUnusualSpellings) {
  for (const char* dictionary :
       {"{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}",      // any order, no comma
        "{\"descr\":\"<f4\",\"fortran_order\":False,\"shape\":(2,3,),}",  // quotes, no spaces
        "  {  'descr' : '<f4' ,\n'fortran_order':\tFalse, 'shape': ( 2 , 3 ) }  ",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }"}) {  // Python 2
    EXPECT_EQ(complaint(with_dictionary(dictionary)), "") << dictionary;
  }
  EXPECT_EQ(complaint(std::string("\x93NUMPY\x01\0", 8) + std::string("\x3c\0", 2) +
                      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n" + kSix),
            "")
      << "no padding";
}

struct Malformed {
  const char* name;
  std::string bytes;
  const char* says;
};

std::vector<Malformed> malformed_files() {
  const std::string good = with_shape("(2, 3)");
  const auto changed = [&](std::size_t at, char to) {
    std::string bytes = good;
    bytes[at] = to;
    return bytes;
  };
  const auto typed = [](const char* descr) {
    return npy_bytes(1, npy_dictionary(descr, false, "(2, 3)"), kSix);
  };
  std::string no_newline = good;
  no_newline[no_newline.find('\n')] = ' ';
  return {
      {"empty", "", "it is empty"},
      {"text", "hello, world", "it is no .npy file: it starts with 'hello, w'"},
      {"escape codes", "\x1b[2Jhello", "it starts with '\\x1b[2Jhell'"},
      {"npz", "PK\x03\x04 and so on", "zip archive"},
      {"magic", changed(3, 'm'), "it is no .npy file"},
      {"version 0.0", changed(6, '\0'), "version 0.0 of the format"},
      {"version 4.0", changed(6, '\4'), "version 4.0"},
      {"version 1.1", changed(7, '\1'), "version 1.1"},
      {"version 255.0", changed(6, '\xFF'), "version 255.0"},
      {"header too long", changed(9, '\x7F'), "ends within its header"},
      {"header of 4 GiB", std::string("\x93NUMPY\x02\0\xFF\xFF\xFF\xFF", 12) + "{}",
       "ends within its header"},
      {"header too large",
       npy_bytes(2, npy_dictionary("<f4", false, "(2, 3)") + std::string(70000, ' '), kSix),
       "wanted at most"},
      {"big-endian", typed(">f4"), "big-endian"},
      {"big-endian half", typed(">f2"), "convert it with x.astype('<f2')"},
      {"float64", typed("<f8"), "convert it with x.astype('float32')"},
      {"long double", typed("<f16"), "wanted float32"},
      {"int32", typed("<i4"), "its dtype is '<i4', wanted float32"},
      {"bool", typed("|b1"), "'|b1'"},
      {"complex", typed("<c8"), "'<c8'"},
      {"string", typed("<U3"), "'<U3'"},
      {"object", typed("|O"), "pickled Python objects and never loaded"},
      {"void", typed("|V2"), "bfloat16"},
      {"no order", typed("f4"), "'f4'"},
      {"empty descr", typed(""), "its dtype is ''"},
      {"escape codes in descr", typed("\x1b[2J"), "'\\x1b[2J'"},
      {"structure",
       with_dictionary("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (6,)}"),
       "array of structures"},
      {"rank 0", with_shape("()", kSix.substr(0, 4)), "0 dimensions, wanted a matrix"},
      {"rank 1", with_shape("(6,)"), "1 dimension, wanted a matrix"},
      {"rank 3", with_shape("(1, 2, 3)"), "3 dimensions"},
      {"no tuple", with_shape("(6)"), "a number in brackets and no tuple"},
      {"a list", with_shape("[2, 3]"), "wanted '('"},
      {"negative", with_shape("(-2, 3)"), "no whole number"},
      {"a fraction", with_shape("(2.0, 3)"), "no comma"},
      {"an expression", with_shape("(1+1, 3)"), "no comma"},
      {"a name", with_shape("(n, 3)"), "no whole number"},
      {"two commas", with_shape("(2,, 3)"), "no whole number"},
      {"unclosed shape", with_shape("(2, 3"), "no whole number"},
      {"2^64", with_shape("(18446744073709551616, 3)"), "exceeds 2^63"},
      {"product beyond 2^63", with_shape("(4611686018427387904, 4611686018427387904)"),
       "exceeds the address space"},
      {"product that wraps to 24 bytes", with_shape("(4611686018427387910, 1)"),
       "exceeds the address space"},
      {"a terabyte promised", with_shape("(524288, 524288)"), "it is truncated"},
      {"65 dimensions", with_shape(fmt::format("({})", fmt::join(std::vector<int>(65, 1), ", "))),
       "more than 64 dimensions"},
      {"one value missing", with_shape("(2, 3)", kSix.substr(4)), "takes 24 bytes, but 20"},
      {"one byte too many", with_shape("(2, 3)", kSix + "x"), "takes 24 bytes, but 25 follow"},
      {"two arrays", good + good, "follow the header"},
      {"no shape", with_dictionary("{'descr': '<f4', 'fortran_order': False, }"),
       "wanted the keys"},
      {"a key twice",
       with_dictionary("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}"),
       "'descr' is unknown or there twice"},
      {"an unknown key",
       with_dictionary("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'x': 1}"),
       "'x' is unknown"},
      {"order 1", with_dictionary("{'descr': '<f4', 'fortran_order': 1, 'shape': (2, 3)}"),
       "neither True nor False"},
      {"no comma", with_dictionary("{'descr': '<f4' 'fortran_order': False, 'shape': (2, 3)}"),
       "wanted ',' or '}'"},
      {"no colon", with_dictionary("{'descr' '<f4'}"), "wanted ':'"},
      {"no quote", with_dictionary("{'descr: 3}"), "no closing quote"},
      {"a backslash", with_dictionary("{'de\\x73cr': '<f4'}"), "backslash"},
      {"no dictionary", with_dictionary("[1, 2]"), "wanted '{'"},
      {"unclosed", with_dictionary("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3),"),
       "in quotes"},
      {"something after it",
       with_dictionary("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} + {}"),
       "spaces and a newline"},
      {"no newline", no_newline, "spaces and a newline"},
      {"a header of nothing", std::string("\x93NUMPY\x01\0\0\0", 10), "wanted '{'"},
  };
}

TEST(Npy, RefusesMalformedFilesAndSaysWhy) {
  const std::vector<Malformed> files = malformed_files();
  EXPECT_GE(files.size(), 30u);
  for (const Malformed& file : files)
    EXPECT_THAT(complaint(file.bytes), testing::HasSubstr(file.says)) << file.name;
}

TEST(Npy, RefusesAFileThatEndsAnywhere) {
  const std::string good = with_shape("(2, 3)");
  ASSERT_EQ(complaint(good), "");
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_NE(complaint(good.substr(0, size)), "") << size << " bytes";
}

TEST(Npy, RefusesWhatIsNoFile) {
  const TestDirectory directory;
  const auto says = [](const std::string& path) -> std::string {
    try {
      read_npy_matrix(path);
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  };
  EXPECT_THAT(says(directory / "none.npy"), testing::HasSubstr("No such file"));
  EXPECT_THAT(says(directory.path()), testing::HasSubstr("it is a directory"));
  EXPECT_THAT(says("/dev/zero"), testing::HasSubstr("not a regular file"));
  ASSERT_EQ(::mkfifo((directory / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(says(directory / "pipe"), testing::HasSubstr("not a regular file"));
}

/// Random changes to good files. Whatever comes of them: no crash, no memory beyond the file's
/// size, and what is accepted is what the file holds.
TEST(Npy, SurvivesRandomChanges) {
  std::mt19937 random(7);
  const std::vector<std::string> seeds = {
      with_shape("(2, 3)"), npy_bytes(2, npy_dictionary("<f4", true, "(3, 2)"), kSix),
      npy_bytes(3, npy_dictionary("<f2", false, "(4, 3)"), kSix), with_shape("(0, 7)", "")};
  const std::string alphabet = "{}()[]'\",:0123456789<>|fO \n\\LTrueFals";
  int accepted = 0;
  for (int i = 0; i < 200000; ++i) {
    std::string bytes = seeds[random() % seeds.size()];
    for (unsigned changes = 1 + random() % 4; changes > 0 && !bytes.empty(); --changes) {
      const std::size_t at = random() % std::min<std::size_t>(bytes.size(), 90);
      switch (random() % 5) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes[at] = alphabet[random() % alphabet.size()];
          break;
        case 2:
          bytes.erase(at, 1 + random() % 3);
          break;
        case 3:
          bytes.insert(at, 1, alphabet[random() % alphabet.size()]);
          break;
        default:
          bytes.resize(random() % (bytes.size() + 1));
          break;
      }
    }
    try {
      const NpyHeader header = parse_npy_header(bytes, bytes.size(), "x.npy");
      const std::size_t size = header.type == NpyType::float16 ? 2 : 4;
      ASSERT_EQ(header.data_offset + static_cast<std::size_t>(header.elements) * size,
                bytes.size());
      ++accepted;
    } catch (const Error& error) {
      ASSERT_THAT(error.what(), testing::StartsWith("cannot read x.npy: it"));
    }
  }
  EXPECT_GT(accepted, 100) << "the changes are too wild to test anything";
}

TEST(Npy, WritesWhatItReads) {
  const TestDirectory directory;
  const std::vector<float> values = {1, -0.0F, std::nanf(""), INFINITY, 1e-45F, 6};
  for (const auto& [rows, columns] : {std::pair{2, 3}, {3, 2}, {1, 6}}) {
    std::vector<float> copy = values;
    {
      OutputFile file(directory / "x.npy");
      write_npy_matrix(file, TensorView::row_major(copy.data(), DType::fp32, rows, columns));
      file.commit();
    }
    const NpyMatrix matrix = read_npy_matrix(directory / "x.npy");
    EXPECT_EQ(matrix.rows, rows);
    EXPECT_EQ(matrix.columns, columns);
    EXPECT_EQ(bytes_of(matrix.values), bytes_of(values));
    EXPECT_EQ((read_text(directory / "x.npy").size() - 24) % 64, 0u);
  }
}

TEST(Npy, HeadersAreAlignedWhateverTheShape) {
  for (std::int64_t rows = 1; rows < 4'000'000'000'000'000'000 / 7; rows *= 7) {
    const std::string header = npy_header_of(rows, rows);
    ASSERT_EQ(header.size() % 64, 0u);
    ASSERT_EQ(header.back(), '\n');
  }
  const NpyHeader header = parse_npy_header(npy_header_of(0, 12345), 128, "x");
  EXPECT_THAT(header.shape, testing::ElementsAre(0, 12345));
}

}  // namespace
}  // namespace kiln::cli::test
