// Runs the `kiln` program as a user would, and makes the files that it reads.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kiln::cli::test {

/// A directory that goes with its object.
class TestDirectory {
 public:
  TestDirectory();
  ~TestDirectory();
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }
  /// The names of what is in it, sorted.
  std::vector<std::string> names() const;

 private:
  std::string path_;
};

struct Invocation {
  std::vector<std::string> arguments;              // after the program's name
  std::map<std::string, std::string> environment;  // beside PATH, HOME and a private cache
  std::string out;                                 // a file for stdout instead of a pipe
  std::string program;                             // instead of kiln
  std::string terminal_input;  // not empty: runs on a terminal on which this is typed
  int interrupt_after_ms = 0;  // not 0: SIGINT then
};

struct Outcome {
  int code = -1;    // of exit
  int signal = 0;   // that ended it
  std::string out;  // what it said on stdout; on a terminal, all that it said
  std::string err;
};

/// Runs it to its end; a minute at most.
Outcome kiln(const Invocation& run);
Outcome kiln(const std::vector<std::string>& arguments);

/// Whether `terminal_input` works here.
bool has_terminals();

/// The directory that kiln gets as TMPDIR, and the cache that all runs share.
const TestDirectory& scratch_directory();
const TestDirectory& cache_directory();

std::string read_text(const std::string& path);
void write_text(const std::string& path, std::string_view text);
void write_program(const std::string& path, std::string_view text);

inline constexpr const char* kCleanProperties =
    "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads";
/// Stands in for nvcc: makes a cubin of a few bytes and says what ptxas would. `more` is shell.
void write_fake_nvcc(const std::string& path, const std::string& properties = kCleanProperties,
                     const std::string& more = "");

/// A .npy file from its parts. The dictionary is padded as NumPy does it.
std::string npy_bytes(int version, std::string_view dictionary, std::string_view values);
std::string npy_dictionary(std::string_view descr, bool fortran_order, std::string_view shape);

/// A float32 matrix in C order; values by row and column.
using ValueOf = std::function<float(std::int64_t row, std::int64_t column)>;
std::string npy_matrix(std::int64_t rows, std::int64_t columns, const ValueOf& value);
std::string npy_fortran(std::int64_t rows, std::int64_t columns, const ValueOf& value);

/// Normals, the same for the same seed, some columns 30 times as large, as activations have them.
ValueOf heavy_tailed(std::int64_t rows, std::int64_t columns, unsigned seed);

/// The values of a file that kiln wrote: float32 in C order.
std::vector<float> written_values(const std::string& path);

}  // namespace kiln::cli::test
