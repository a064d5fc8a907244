// The header of a .npy file: a Python literal, of which this reads exactly what NumPy writes for an
// array of numbers: a dictionary of three keys, strings, True and False, a tuple of whole numbers.
#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <optional>

#include "cli/npy.hpp"
#include "cli/text.hpp"
#include "kiln/error.hpp"

namespace kiln::cli {
namespace {

/// What is wrong with the file, for the caller to put its name before.
struct Malformed {
  std::string what;
};

class LiteralReader {
 public:
  explicit LiteralReader(std::string_view text) : text_(text) {}

  /// Whether the next character is `c`, which is then behind us; spaces before it are skipped.
  bool accept(char c) {
    skip_spaces();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c, const char* where) {
    if (!accept(c)) fail(fmt::format("wanted '{}' {}", c, where));
  }

  std::string string(const char* what) {
    skip_spaces();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '\'' && quote != '"') fail(fmt::format("wanted {} in quotes", what));
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == text_.npos) fail(fmt::format("{} has no closing quote", what));
    const std::string_view inside = text_.substr(at_ + 1, end - at_ - 1);
    if (inside.find('\\') != inside.npos) fail(fmt::format("{} has a backslash in it", what));
    at_ = end + 1;
    return std::string(inside);
  }

  bool boolean() {
    skip_spaces();
    for (const std::string_view word : {"True", "False"})
      if (text_.substr(at_, word.size()) == word) {
        at_ += word.size();
        return word == "True";
      }
    fail("fortran_order is neither True nor False");
  }

  /// (), (3,), (3, 4), ... Python 2 wrote 3L for 3.
  std::vector<std::int64_t> shape() {
    constexpr std::size_t kMostDimensions = 64;  // NumPy's own limit
    std::vector<std::int64_t> sizes;
    expect('(', "before the shape");
    bool comma = true;
    while (!accept(')')) {
      if (!comma) fail("the sizes of the shape have no comma between them");
      if (sizes.size() == kMostDimensions) fail("the shape has more than 64 dimensions");
      sizes.push_back(number());
      comma = accept(',');
    }
    if (sizes.size() == 1 && !comma) fail("the shape is a number in brackets and no tuple");
    return sizes;
  }

  std::string_view rest() const { return text_.substr(at_); }

  [[noreturn]] void fail(const std::string& what) const {
    throw Malformed{fmt::format("its header is malformed at character {}: {}", at_, what)};
  }

 private:
  void skip_spaces() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }

  std::int64_t number() {
    skip_spaces();
    std::int64_t value = 0;
    const char* const first = text_.data() + at_;
    const auto [end, error] = std::from_chars(first, text_.data() + text_.size(), value);
    if (error == std::errc::result_out_of_range) fail("a size of the shape exceeds 2^63");
    if (error != std::errc() || value < 0) fail("a size of the shape is no whole number");
    at_ += static_cast<std::size_t>(end - first);
    if (at_ < text_.size() && text_[at_] == 'L') ++at_;
    return value;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

/// '<f4' and '<f2', or why this array is none that gemm can take.
NpyType index_type_of(const std::string& descr) {
  if (descr == "<i4") return NpyType::int32;
  if (descr == "<i8") return NpyType::int64;
  throw Malformed{"its dtype is " + in_quotes(descr) +
                  ", wanted int32 ('<i4') or int64 ('<i8'): convert it with x.astype('int64')"};
}

NpyType type_of(const std::string& descr) {
  constexpr const char* kWanted = "wanted float32 ('<f4') or float16 ('<f2')";
  if (descr == "<f4") return NpyType::float32;
  if (descr == "<f2") return NpyType::float16;
  const std::string kind = descr.size() > 1 ? descr.substr(1) : descr;
  const std::string got = "its dtype is " + in_quotes(descr);
  if (descr.starts_with('>') && (kind == "f4" || kind == "f2"))
    throw Malformed{got + ", which is big-endian, " + kWanted + ": convert it with x.astype('<" +
                    kind + "')"};
  if (kind == "f8" || kind == "f16" || kind == "g")
    throw Malformed{got + ", " + kWanted + ": convert it with x.astype('float32')"};
  if (kind.starts_with('O'))
    throw Malformed{got + ", which is pickled Python objects and never loaded, " + kWanted};
  if (kind.starts_with('V'))
    throw Malformed{got + " (bfloat16 and FP8 are saved like this), " + kWanted +
                    ": convert it with x.astype('float32') before saving"};
  throw Malformed{got + ", " + kWanted};
}

NpyHeader parse_dictionary(std::string_view text, NpyContent content) {
  LiteralReader reader(text);
  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<std::int64_t>> shape;
  reader.expect('{', "at the start");
  for (bool comma = true; !reader.accept('}'); comma = reader.accept(',')) {
    if (!comma) reader.fail("wanted ',' or '}'");
    const std::string key = reader.string("a key");
    reader.expect(':', "after a key");
    if (key == "descr" && !descr) {
      if (reader.accept('[')) throw Malformed{"it is an array of structures, wanted numbers"};
      descr = reader.string("descr");
    } else if (key == "fortran_order" && !fortran_order) {
      fortran_order = reader.boolean();
    } else if (key == "shape" && !shape) {
      shape = reader.shape();
    } else {
      reader.fail("the key " + in_quotes(key) + " is unknown or there twice");
    }
  }
  if (!descr || !fortran_order || !shape)
    reader.fail("wanted the keys descr, fortran_order and shape");
  const std::string_view rest = reader.rest();
  if (rest.empty() || rest.back() != '\n' || rest.find_first_not_of(' ') != rest.size() - 1)
    reader.fail("wanted spaces and a newline up to the end");
  return {.type = content == NpyContent::numbers ? type_of(*descr) : index_type_of(*descr),
          .fortran_order = *fortran_order,
          .shape = std::move(*shape)};
}

std::uint32_t little_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;)
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

/// The header's text; data_offset is where it ends.
std::string_view header_text(std::string_view start, std::uint64_t file_bytes) {
  constexpr std::string_view kMagic("\x93NUMPY", 6);
  if (start.empty()) throw Malformed{"it is empty"};
  if (start.starts_with("PK"))
    throw Malformed{"it is a zip archive (.npz?), wanted one array in a .npy file"};
  if (!start.starts_with(kMagic.substr(0, std::min(start.size(), kMagic.size()))))
    throw Malformed{"it is no .npy file: it starts with " + in_quotes(start.substr(0, 8))};
  const auto truncated = [&] {
    return Malformed{fmt::format("it ends within its header, after {} bytes", file_bytes)};
  };
  if (start.size() < 8) throw truncated();
  const auto major = static_cast<unsigned char>(start[6]);
  const auto minor = static_cast<unsigned char>(start[7]);
  if (major < 1 || major > 3 || minor != 0)
    throw Malformed{
        fmt::format("it is in version {}.{} of the format, wanted 1.0, 2.0 or 3.0", major, minor)};
  const std::size_t length_bytes = major == 1 ? 2 : 4;
  if (start.size() < 8 + length_bytes) throw truncated();
  const std::uint64_t length = little_endian(start.substr(8, length_bytes));
  const std::uint64_t end = 8 + length_bytes + length;
  if (end > file_bytes) throw truncated();
  if (end > start.size())
    throw Malformed{fmt::format("its header has {} bytes, wanted at most {}", length,
                                kMostNpyHeader - 8 - length_bytes)};
  return start.substr(8 + length_bytes, length);
}

std::string shape_words(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::int64_t size_of(NpyType type) {
  switch (type) {
    case NpyType::float16:
      return 2;
    case NpyType::float32:
    case NpyType::int32:
      return 4;
    case NpyType::int64:
      return 8;
  }
  return 0;
}

NpyHeader checked_header(std::string_view start, std::uint64_t file_bytes, NpyContent content) {
  const std::string_view text = header_text(start, file_bytes);
  NpyHeader header = parse_dictionary(text, content);
  header.data_offset = static_cast<std::size_t>(text.data() + text.size() - start.data());
  const std::int64_t size = size_of(header.type);
  std::int64_t bytes = size;
  bool too_many = false, none = false;
  for (const std::int64_t dimension : header.shape) {
    none = none || dimension == 0;
    too_many = too_many || __builtin_mul_overflow(bytes, dimension, &bytes);
  }
  if (none) {
    bytes = 0;
  } else if (too_many) {
    throw Malformed{"its shape " + shape_words(header.shape) + " exceeds the address space"};
  }
  const std::uint64_t there = file_bytes - header.data_offset;
  if (static_cast<std::uint64_t>(bytes) > there)
    throw Malformed{fmt::format("it is truncated: its shape {} takes {} bytes, but {} are there",
                                shape_words(header.shape), bytes, there)};
  if (static_cast<std::uint64_t>(bytes) < there)
    throw Malformed{fmt::format("its shape {} takes {} bytes, but {} follow the header",
                                shape_words(header.shape), bytes, there)};
  header.elements = bytes / size;
  return header;
}

}  // namespace

NpyHeader parse_npy_header(std::string_view start, std::uint64_t file_bytes,
                           const std::string& name, NpyContent content) {
  try {
    return checked_header(start, file_bytes, content);
  } catch (const Malformed& malformed) {
    throw Error(ErrorCode::io, "cannot read " + name + ": " + malformed.what);
  }
}

}  // namespace kiln::cli
