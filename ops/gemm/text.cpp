#include "ops/gemm/text.hpp"

#include <fmt/format.h>

#include <charconv>
#include <type_traits>

#include "kiln/error.hpp"

namespace kiln {
namespace {

// The words of each enumeration, in the order of its values.
template <class E>
struct Words;
template <>
struct Words<Multicast> {
  static constexpr const char* kType = "Multicast";
  static constexpr const char* kWords[] = {"none", "a", "b"};
};
template <>
struct Words<BScales> {
  static constexpr const char* kType = "BScales";
  static constexpr const char* kWords[] = {"block_128x128", "row_1x128"};
};
template <>
struct Words<Addend> {
  static constexpr const char* kType = "Addend";
  static constexpr const char* kWords[] = {"none", "bf16", "fp32"};
};
template <>
struct Words<OutType> {
  static constexpr const char* kType = "OutType";
  static constexpr const char* kWords[] = {"bf16", "fp32"};
};
template <>
struct Words<CopyPath> {
  static constexpr const char* kType = "CopyPath";
  static constexpr const char* kWords[] = {"tma", "plain"};
};

template <class T>
std::string word(T value) {
  if constexpr (std::is_enum_v<T>) {
    return Words<T>::kWords[static_cast<int>(value)];
  } else {
    return fmt::format("{}", value);
  }
}

template <class T>
bool parse(std::string_view text, T& value) {
  if constexpr (std::is_enum_v<T>) {
    int i = 0;
    for (const char* candidate : Words<T>::kWords) {
      if (text == candidate) {
        value = static_cast<T>(i);
        return true;
      }
      ++i;
    }
    return false;
  } else {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
  }
}

}  // namespace

std::string source_of(const GemmConfig& config) {
  std::string fields;
  for_each_field(config, [&](const char* name, const auto& value) {
    using T = std::decay_t<decltype(value)>;
    if (!fields.empty()) fields += ", ";
    fields += fmt::format(".{} = ", name);
    if constexpr (std::is_enum_v<T>) fields += fmt::format("kiln::{}::", Words<T>::kType);
    fields += word(value);
  });
  return fmt::format(
      "#include \"ops/gemm/kernel.cuh\"\n"
      "using K = kiln::Gemm<kiln::GemmConfig{{{}}}>;\n"
      "KILN_KERNEL(K)\n",
      fields);
}

std::string to_string(const GemmConfig& config) {
  std::string text;
  for_each_field(config, [&](const char* name, const auto& value) {
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", name, word(value));
  });
  return text;
}

std::string short_name(const GemmConfig& c) {
  std::string text =
      fmt::format("{}x{} {}wg {}st", c.tile_m, c.tile_n, c.math_warpgroups, c.stages);
  if (c.store == CopyPath::tma) text += fmt::format(" {}strips", c.store_strips);
  if (c.multicast != Multicast::none) text += fmt::format(" share-{}", word(c.multicast));
  if (c.b_scales == BScales::row_1x128) text += " b-rows";
  if (c.c != Addend::none) text += fmt::format(" +c-{}", word(c.c));
  if (c.d != OutType::bf16) text += fmt::format(" {}", word(c.d));
  if (c.load == CopyPath::plain) text += " plain-load";
  if (c.store == CopyPath::plain) text += " plain-store";
  return text;
}

GemmConfig parse_gemm_config(std::string_view text, const GemmConfig& base) {
  GemmConfig config = base;
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), pair.size() + 1));
    const std::size_t equals = pair.find('=');
    bool known = false, good = false;
    if (equals != std::string_view::npos)
      for_each_field(config, [&](const char* name, auto& value) {
        if (pair.substr(0, equals) != name) return;
        known = true;
        good = parse(pair.substr(equals + 1), value);
      });
    if (!known)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("config: '{}' is not a field=value of a gemm config", pair));
    if (!good)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("config: '{}' is not a value of that field", pair));
  }
  return config;
}

}  // namespace kiln
