// Every rule of cuTensorMapEncodeTiled at its boundary: the last value that works, the first that
// does not, and what the message then says.
#include "runtime/tensor_map.hpp"

#include "tests/support/runtime_support.hpp"

namespace kiln {
namespace {

/// A map that breaks no rule: 128x128 boxes of a 4096x7168 matrix of bytes.
TensorMapSpec good() {
  TensorMapSpec spec;
  spec.base = reinterpret_cast<void*>(0x10000);
  spec.element = Element::u8;
  spec.rank = 2;
  spec.extent = {7168, 4096, 1};
  spec.stride = {7168, 0};
  spec.box = {128, 128, 1};
  spec.swizzle = Swizzle::b128;
  return spec;
}

TensorMapSpec good3() {
  TensorMapSpec spec = good();
  spec.rank = 3;
  spec.extent = {7168, 4096, 8};
  spec.stride = {7168, 7168 * 4096};
  spec.box = {128, 64, 2};
  return spec;
}

TensorMapSpec good5() {
  TensorMapSpec spec = good3();
  spec.rank = 5;
  spec.extent = {7168, 64, 8, 4, 2};
  spec.stride = {7168, 7168 * 64, 7168 * 512, 7168 * 2048};
  spec.box = {128, 16, 2, 2, 1};
  return spec;
}

template <class Change>
std::optional<std::string> rule(TensorMapSpec spec, Change&& change) {
  change(spec);
  return broken_rule(spec);
}

#define EXPECT_WORKS(spec, ...) \
  EXPECT_EQ(rule(spec, [](TensorMapSpec& s) { __VA_ARGS__; }), std::nullopt)
#define EXPECT_BREAKS(text, spec, ...) \
  EXPECT_EQ(rule(spec, [](TensorMapSpec& s) { __VA_ARGS__; }).value_or("nothing"), text)

TEST(RuntimeTensorMap, Rank) {
  EXPECT_EQ(broken_rule(good()), std::nullopt);
  EXPECT_EQ(broken_rule(good3()), std::nullopt);
  EXPECT_WORKS(good(), s.rank = 1);
  EXPECT_EQ(broken_rule(good5()), std::nullopt);
  EXPECT_BREAKS("the rank is 0, wanted 1 to 5", good(), s.rank = 0);
  EXPECT_BREAKS("the rank is 6, wanted 1 to 5", good5(), s.rank = 6);
}

TEST(RuntimeTensorMap, Base) {
  EXPECT_WORKS(good(), s.base = reinterpret_cast<void*>(16));
  EXPECT_BREAKS("the base address is null", good(), s.base = nullptr);
  for (std::uintptr_t i = 1; i < 16; ++i) {
    TensorMapSpec spec = good();
    spec.base = reinterpret_cast<void*>(0x10000 + i);
    EXPECT_EQ(broken_rule(spec).value_or("nothing"),
              "the base address lies " + std::to_string(i) +
                  " bytes after a multiple of 16, wanted on one");
  }
}

TEST(RuntimeTensorMap, Extents) {
  EXPECT_WORKS(good(), s.extent[0] = 1);
  EXPECT_WORKS(good(), s.extent[1] = std::uint64_t{1} << 32);
  EXPECT_BREAKS("the extent of dimension 0 is 0, wanted 1 to 4294967296; the nearest is 1", good(),
                s.extent[0] = 0);
  EXPECT_BREAKS(
      "the extent of dimension 1 is 4294967297, wanted 1 to 4294967296; the nearest is 4294967296",
      good(), s.extent[1] = (std::uint64_t{1} << 32) + 1);
  EXPECT_BREAKS("the extent of dimension 2 is 0, wanted 1 to 4294967296; the nearest is 1", good3(),
                s.extent[2] = 0);
  EXPECT_WORKS(good(), s.extent[2] = 0);  // not a dimension of this map
}

TEST(RuntimeTensorMap, Strides) {
  const std::uint64_t most = (std::uint64_t{1} << 40) - 16;
  EXPECT_WORKS(good(), s.stride[0] = 16);
  EXPECT_EQ(rule(good(), [&](TensorMapSpec& s) { s.stride[0] = most; }), std::nullopt);
  EXPECT_BREAKS(
      "the stride of dimension 1 is 100 bytes, wanted a multiple of 16; the nearest is 96", good(),
      s.stride[0] = 100);
  EXPECT_BREAKS(
      "the stride of dimension 1 is 104 bytes, wanted a multiple of 16; the nearest is 112", good(),
      s.stride[0] = 104);
  EXPECT_BREAKS("the stride of dimension 1 is 7 bytes, wanted a multiple of 16; the nearest is 16",
                good(), s.stride[0] = 7);
  EXPECT_BREAKS(
      "the stride of dimension 1 is 0 bytes, wanted a positive multiple of 16; "
      "the nearest is 16",
      good(), s.stride[0] = 0);
  EXPECT_BREAKS(
      "the stride of dimension 2 is 1099511627776 bytes, wanted less than 2^40; "
      "the nearest is 1099511627760",
      good3(), s.stride[1] = std::uint64_t{1} << 40);
  EXPECT_BREAKS("the stride of dimension 2 is 8 bytes, wanted a multiple of 16; the nearest is 16",
                good3(), s.stride[1] = 8);
  EXPECT_WORKS(good(), s.stride[1] = 8);  // not a dimension of this map
}

TEST(RuntimeTensorMap, Box) {
  EXPECT_WORKS(good(), s.box[1] = 1);
  EXPECT_WORKS(good(), s.box[1] = 256);
  EXPECT_WORKS(good(), s.swizzle = Swizzle::none, s.box[0] = 256);
  EXPECT_BREAKS("the box's dimension 1 is 0, wanted 1 to 256; the nearest is 1", good(),
                s.box[1] = 0);
  EXPECT_BREAKS("the box's dimension 1 is 257, wanted 1 to 256; the nearest is 256", good(),
                s.box[1] = 257);
  EXPECT_BREAKS("the box's dimension 0 is 272, wanted 1 to 256; the nearest is 256", good(),
                s.swizzle = Swizzle::none, s.box[0] = 272);
  EXPECT_BREAKS("the box's dimension 2 is 0, wanted 1 to 256; the nearest is 1", good3(),
                s.box[2] = 0);
}

TEST(RuntimeTensorMap, InnerBoxIsAMultipleOf16Bytes) {
  EXPECT_WORKS(good(), s.box[0] = 16);
  EXPECT_WORKS(good(), s.element = Element::bf16, s.box[0] = 8);
  EXPECT_WORKS(good(), s.element = Element::fp32, s.box[0] = 4);
  EXPECT_BREAKS("the box's inner dimension is 8 bytes, wanted a multiple of 16; the nearest is 16",
                good(), s.box[0] = 8);
  EXPECT_BREAKS("the box's inner dimension is 4 bytes, wanted a multiple of 16; the nearest is 16",
                good(), s.element = Element::bf16, s.box[0] = 2);
  EXPECT_BREAKS(
      "the box's inner dimension is 100 bytes, wanted a multiple of 16; the nearest is 96", good(),
      s.element = Element::fp32, s.box[0] = 25);
}

TEST(RuntimeTensorMap, InnerBoxFitsTheSwizzle) {
  for (const Swizzle swizzle : {Swizzle::b32, Swizzle::b64, Swizzle::b128})
    for (const Element element : {Element::u8, Element::bf16, Element::fp32, Element::s64}) {
      TensorMapSpec spec = good();
      spec.swizzle = swizzle;
      spec.element = element;
      const unsigned span = static_cast<unsigned>(span_of(swizzle) / size_of(element));
      spec.box[0] = span;
      EXPECT_EQ(broken_rule(spec), std::nullopt);
      spec.box[0] = span + 16u / static_cast<unsigned>(size_of(element));
      const std::string bytes = std::to_string(span_of(swizzle));
      EXPECT_EQ(broken_rule(spec).value_or("nothing"),
                "the box's inner dimension is " + std::to_string(span_of(swizzle) + 16) +
                    " bytes, wanted at most the span of the swizzle; the nearest is " + bytes);
    }
  // Without a swizzle only the 256 elements bound it.
  EXPECT_WORKS(good(), s.swizzle = Swizzle::none, s.element = Element::fp32, s.box[0] = 256);
}

TEST(RuntimeTensorMap, EveryDimensionIsLookedAt) {
  EXPECT_BREAKS("the extent of dimension 4 is 0, wanted 1 to 4294967296; the nearest is 1", good5(),
                s.extent[4] = 0);
  EXPECT_BREAKS("the stride of dimension 4 is 8 bytes, wanted a multiple of 16; the nearest is 16",
                good5(), s.stride[3] = 8);
  EXPECT_BREAKS("the box's dimension 4 is 257, wanted 1 to 256; the nearest is 256", good5(),
                s.box[4] = 257);
  EXPECT_BREAKS("the element stride of dimension 4 is 9, wanted 1 to 8; the nearest is 8", good5(),
                s.element_stride[4] = 9);
  EXPECT_WORKS(good5(), s.rank = 4, s.extent[4] = s.stride[3] = 0, s.box[4] = 0,
               s.element_stride[4] = 0);  // not a dimension of this map
}

TEST(RuntimeTensorMap, ElementStrides) {
  EXPECT_WORKS(good(), s.element_stride[1] = 8);
  EXPECT_BREAKS("the element stride of dimension 1 is 9, wanted 1 to 8; the nearest is 8", good(),
                s.element_stride[1] = 9);
  EXPECT_BREAKS("the element stride of dimension 1 is 0, wanted 1 to 8; the nearest is 1", good(),
                s.element_stride[1] = 0);
  EXPECT_BREAKS("the element stride of dimension 0 is 2, wanted 1: the copy engine would ignore it",
                good(), s.element_stride[0] = 2);
}

TEST(RuntimeTensorMap, FillAndInterleave) {
  for (const Element element : {Element::bf16, Element::fp16, Element::fp32, Element::fp64}) {
    TensorMapSpec spec = good();
    spec.swizzle = Swizzle::none;
    spec.element = element;
    spec.fill = Fill::nan;
    EXPECT_EQ(broken_rule(spec), std::nullopt);
  }
  for (const Element element :
       {Element::u8, Element::u16, Element::u32, Element::s32, Element::u64, Element::s64}) {
    TensorMapSpec spec = good();
    spec.swizzle = Swizzle::none;
    spec.element = element;
    EXPECT_EQ(broken_rule(spec), std::nullopt);
    spec.fill = Fill::nan;
    EXPECT_EQ(broken_rule(spec).value_or("nothing"),
              "the fill is NaN, wanted zero: the elements are no floating-point numbers");
  }
  EXPECT_BREAKS("the interleave is 16 bytes, wanted none", good(), s.interleave = Interleave::b16);
  EXPECT_BREAKS("the interleave is 32 bytes, wanted none", good(), s.interleave = Interleave::b32);
}

TEST(RuntimeTensorMap, TheNearestThatIsOfferedWorks) {
  for (std::uint64_t stride = 1; stride < 200; ++stride) {
    TensorMapSpec spec = good();
    spec.stride[0] = stride;
    if (const auto text = broken_rule(spec)) {
      spec.stride[0] = std::stoull(text->substr(text->rfind(' ')));
      EXPECT_EQ(broken_rule(spec), std::nullopt) << *text;
    }
  }
}

}  // namespace
}  // namespace kiln
