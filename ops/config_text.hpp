// A config as text and back, from the one list of its fields (for_each_field): for generated
// sources, log lines, test ids and the command line.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>
#include <type_traits>

#include "device/quantize.hpp"
#include "kiln/error.hpp"
#include "ops/gemm/config.hpp"

namespace kiln {

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
struct Words<ScaleBlock> {
  static constexpr const char* kType = "ScaleBlock";
  static constexpr const char* kWords[] = {"row_1x128", "block_128x128"};
};
template <>
struct Words<Element> {
  static constexpr const char* kType = "Element";
  static constexpr const char* kWords[] = {"u8",  "bf16", "fp32", "u16",  "u32",
                                           "s32", "u64",  "s64",  "fp16", "fp64"};
};
template <>
struct Words<CopyPath> {
  static constexpr const char* kType = "CopyPath";
  static constexpr const char* kWords[] = {"tma", "plain"};
};

template <>
struct Words<ScaleCopy> {
  static constexpr const char* kType = "ScaleCopy";
  static constexpr const char* kWords[] = {"plain", "tma_mn", "tma_k"};
};

template <class T>
std::string word_of(T value) {
  if constexpr (std::is_enum_v<T>) {
    return Words<T>::kWords[static_cast<int>(value)];
  } else {
    return fmt::format("{}", value);
  }
}

template <class T>
bool parse_word(std::string_view text, T& value) {
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

/// The translation unit that a compiler turns into a kernel: `kernel` is a template of `type`, and
/// `header` has both.
template <class Config>
std::string source_text(const Config& config, const char* header, const char* kernel,
                        const char* type) {
  std::string fields;
  for_each_field(config, [&](const char* name, const auto& value) {
    using T = std::decay_t<decltype(value)>;
    if (!fields.empty()) fields += ", ";
    fields += fmt::format(".{} = ", name);
    if constexpr (std::is_enum_v<T>) fields += fmt::format("kiln::{}::", Words<T>::kType);
    fields += word_of(value);
  });
  return fmt::format(
      "#include \"{}\"\n"
      "using K = kiln::{}<kiln::{}{{{}}}>;\n"
      "KILN_KERNEL(K)\n",
      header, kernel, type, fields);
}

/// "tile_n=128,stages=4,...": every field, in order.
template <class Config>
std::string config_text(const Config& config) {
  std::string text;
  for_each_field(config, [&](const char* name, const auto& value) {
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", name, word_of(value));
  });
  return text;
}

/// Reads config_text's form; fields left out keep the value they have in `config`. Throws
/// Error{invalid_argument} that names the field; `what` is the config's kind in words.
template <class Config>
Config parse_config(std::string_view text, Config config, const char* what) {
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), pair.size() + 1));
    const std::size_t equals = pair.find('=');
    bool known = false, good = false;
    if (equals != std::string_view::npos)
      for_each_field(config, [&](const char* name, auto& value) {
        if (pair.substr(0, equals) != name) return;
        known = true;
        good = parse_word(pair.substr(equals + 1), value);
      });
    if (!known)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("config: '{}' is not a field=value of a {} config", pair, what));
    if (!good)
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("config: '{}' is not a value of that field", pair));
  }
  return config;
}

}  // namespace kiln
