#include "cli/npy.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "arith/codecs.hpp"
#include "arith/host_matrix.hpp"
#include "cli/output_file.hpp"
#include "kiln/error.hpp"
#include "runtime/files.hpp"

namespace kiln::cli {
namespace {

static_assert(std::endian::native == std::endian::little, "values are copied as they are");

constexpr std::size_t kChunk = 4 << 20;  // bytes read or written at a time

[[noreturn]] void cannot_read(const std::string& path, const std::string& why) {
  throw Error(ErrorCode::io, "cannot read " + path + ": " + why);
}

/// An open regular file and its size.
class InputFile {
 public:
  explicit InputFile(const std::string& path)
      // Not blocking: a pipe that nobody writes to is refused below instead of waited for.
      : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    struct stat info;
    if (!file_ || ::fstat(file_.get(), &info) != 0) cannot_read(path, errno_text(errno));
    if (S_ISDIR(info.st_mode)) cannot_read(path, "it is a directory");
    if (!S_ISREG(info.st_mode)) cannot_read(path, "it is not a regular file");
    size_ = static_cast<std::uint64_t>(info.st_size);
  }
  std::uint64_t size() const { return size_; }

  void read(std::uint64_t offset, void* to, std::size_t bytes) const {
    for (auto* at = static_cast<char*>(to); bytes > 0;) {
      const ssize_t got = ::pread(file_.get(), at, bytes, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) cannot_read(path_, errno_text(errno));
      if (got == 0) cannot_read(path_, "it became shorter while it was read");
      at += got;
      offset += static_cast<std::uint64_t>(got);
      bytes -= static_cast<std::size_t>(got);
    }
  }

 private:
  std::string path_;
  FileDescriptor file_;
  std::uint64_t size_ = 0;
};

void read_halves(const InputFile& file, std::uint64_t offset, std::span<float> values) {
  std::vector<u16> chunk(std::min(values.size(), kChunk / sizeof(u16)));
  while (!values.empty()) {
    const std::size_t count = std::min(values.size(), chunk.size());
    file.read(offset, chunk.data(), count * sizeof(u16));
    std::transform(chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(count),
                   values.begin(), fp16_to_float);
    offset += count * sizeof(u16);
    values = values.subspan(count);
  }
}

}  // namespace

const char* to_string(NpyType type) {
  constexpr const char* kWords[] = {"float16", "float32", "int32", "int64"};
  return kWords[static_cast<int>(type)];
}

TensorView NpyMatrix::view() {
  return fortran_order ? TensorView::column_major(values.data(), DType::fp32, rows, columns)
                       : TensorView::row_major(values.data(), DType::fp32, rows, columns);
}

TensorView NpyMatrix::transposed_view() {
  const TensorView v = view();
  return {v.data, v.dtype, {v.shape[1], v.shape[0]}, {v.stride[1], v.stride[0]}};
}

namespace {

/// The header of a matrix.
NpyHeader matrix_header(const InputFile& file, const std::string& path, NpyContent content) {
  std::string start(static_cast<std::size_t>(std::min<std::uint64_t>(file.size(), kMostNpyHeader)),
                    '\0');
  file.read(0, start.data(), start.size());
  const NpyHeader header = parse_npy_header(start, file.size(), path, content);
  if (header.shape.size() != 2)
    cannot_read(path, fmt::format("it has {} dimension{}, wanted a matrix of 2",
                                  header.shape.size(), header.shape.size() == 1 ? "" : "s"));
  return header;
}

}  // namespace

TensorView NpyIndices::view() {
  const DType dtype = type == NpyType::int32 ? DType::int32 : DType::int64;
  return fortran_order ? TensorView::column_major(bytes.data(), dtype, rows, columns)
                       : TensorView::row_major(bytes.data(), dtype, rows, columns);
}

NpyIndices read_npy_indices(const std::string& path) {
  const InputFile file(path);
  const NpyHeader header = matrix_header(file, path, NpyContent::indices);
  const std::size_t size = header.type == NpyType::int32 ? 4 : 8;
  NpyIndices indices{
      .type = header.type,
      .rows = header.shape[0],
      .columns = header.shape[1],
      .fortran_order = header.fortran_order,
      .bytes = std::vector<std::byte>(static_cast<std::size_t>(header.elements) * size)};
  file.read(header.data_offset, indices.bytes.data(), indices.bytes.size());
  return indices;
}

NpyMatrix read_npy_matrix(const std::string& path) {
  const InputFile file(path);
  const NpyHeader header = matrix_header(file, path, NpyContent::numbers);
  NpyMatrix matrix{.type = header.type,
                   .rows = header.shape[0],
                   .columns = header.shape[1],
                   .fortran_order = header.fortran_order,
                   .values = std::vector<float>(static_cast<std::size_t>(header.elements))};
  if (header.type == NpyType::float16) {
    read_halves(file, header.data_offset, matrix.values);
  } else {
    file.read(header.data_offset, matrix.values.data(), matrix.values.size() * sizeof(float));
  }
  return matrix;
}

std::string npy_header_of(std::int64_t rows, std::int64_t columns, const char* descr) {
  constexpr std::size_t kBefore = 10, kAlignment = 64;
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}, {}), }}",
                                 descr, rows, columns);
  // Spaces and a newline, so that the values start at a multiple of 64.
  const std::size_t bytes = (kBefore + text.size() + 1 + kAlignment - 1) / kAlignment * kAlignment;
  text.resize(bytes - kBefore - 1, ' ');
  text += '\n';
  const char before[kBefore] = {'\x93',
                                'N',
                                'U',
                                'M',
                                'P',
                                'Y',
                                1,
                                0,
                                static_cast<char>(text.size() & 0xFF),
                                static_cast<char>(text.size() >> 8)};
  return std::string(before, kBefore) + text;
}

void write_npy_matrix(OutputFile& file, const TensorView& matrix) {
  const auto [rows, columns] = matrix.shape;
  file.write(as_bytes(npy_header_of(rows, columns)));
  std::vector<float> chunk;
  chunk.reserve(kChunk / sizeof(float));
  const auto flush = [&] {
    file.write(std::as_bytes(std::span(chunk)));
    chunk.clear();
  };
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j) {
      chunk.push_back(read_element(matrix, i, j));
      if (chunk.size() == chunk.capacity()) flush();
    }
  flush();
}

void write_npy_tensor(const std::string& path, const TensorView& matrix) {
  OutputFile file(path);
  if (matrix.dtype == DType::bf16) {
    write_npy_matrix(file, matrix);
  } else {
    const char* descr = matrix.dtype == DType::e4m3   ? "|u1"
                        : matrix.dtype == DType::fp32 ? "<f4"
                                                      : "<i4";
    const auto [rows, columns] = matrix.shape;
    file.write(as_bytes(npy_header_of(rows, columns, descr)));
    file.write({static_cast<const std::byte*>(matrix.data),
                static_cast<std::size_t>(rows * columns * size_of(matrix.dtype))});
  }
  file.commit();
}

}  // namespace kiln::cli
