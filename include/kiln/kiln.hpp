// Everything a C++ user of Kiln includes.
#pragma once

#include "kiln/error.hpp"
#include "kiln/gemm.hpp"
#include "kiln/grouped_gemm.hpp"
#include "kiln/options.hpp"
#include "kiln/permute.hpp"
#include "kiln/quantize.hpp"
#include "kiln/swiglu.hpp"
#include "kiln/tensor.hpp"
#include "kiln/version.hpp"
