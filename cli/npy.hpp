// Matrices in NumPy's .npy files, read strictly: what the file says is believed only as far as its
// size bears it out, and everything else is refused with the reason.
//
//   offset  bytes
//        0      6  "\x93NUMPY"
//        6      2  major and minor version: 1.0, 2.0 or 3.0
//        8      2  bytes of the header (4 from version 2 on), little-endian
//                  a Python dictionary with the keys descr, fortran_order and shape, spaces,
//                  newline the values, and nothing after them
//
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
// (Of our own, since Debian has no C++ library for it that is kept up: libcnpy trusts its input.)
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kiln/tensor.hpp"

namespace kiln::cli {

enum class NpyType { float16, float32, int32, int64 };
const char* to_string(NpyType type);

/// What a file is to hold: float16 or float32, or int32 or int64.
enum class NpyContent { numbers, indices };

/// What the header of an array says.
struct NpyHeader {
  NpyType type = NpyType::float32;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
  std::size_t data_offset = 0;  // bytes from the start of the file
  std::int64_t elements = 0;    // the product of the shape
};

/// Most bytes that a header may have, with everything before it. NumPy's own take 128.
inline constexpr std::size_t kMostNpyHeader = 65536;

/// Reads the header from the first bytes of a file (kMostNpyHeader of them or all), which is
/// `file_bytes` long. Throws Error{io} that says what is wrong with `name`.
NpyHeader parse_npy_header(std::string_view start, std::uint64_t file_bytes,
                           const std::string& name, NpyContent content = NpyContent::numbers);

/// A matrix of FP32 in the order of the file.
struct NpyMatrix {
  NpyType type = NpyType::float32;  // in the file
  std::int64_t rows = 0, columns = 0;
  bool fortran_order = false;
  std::vector<float> values;

  /// [rows, columns].
  TensorView view();
  TensorView transposed_view();
};

/// Throws Error{io}. Memory is taken only for values that the file really holds.
NpyMatrix read_npy_matrix(const std::string& path);

/// A matrix of indices, int32 or int64, in the order of the file.
struct NpyIndices {
  NpyType type = NpyType::int64;
  std::int64_t rows = 0, columns = 0;
  bool fortran_order = false;
  std::vector<std::byte> bytes;

  TensorView view();
};

/// Throws as read_npy_matrix does.
NpyIndices read_npy_indices(const std::string& path);

/// The bytes before the values of a matrix in C order; "<f4" is float32.
std::string npy_header_of(std::int64_t rows, std::int64_t columns, const char* descr = "<f4");

class OutputFile;
/// Writes a BF16 or FP32 matrix, of any strides, as float32.
void write_npy_matrix(OutputFile& file, const TensorView& matrix);

/// Writes a dense, row-major matrix as it is: E4M3 codes as uint8, FP32 and int32 as themselves,
/// BF16 as float32.
void write_npy_tensor(const std::string& path, const TensorView& matrix);

}  // namespace kiln::cli
