// Streams and graphs of the CUDA driver, which Kiln itself has no use for: its callers own them.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "kiln/error.hpp"
#include "runtime/driver.hpp"
#include "runtime/dynamic_library.hpp"

namespace kiln::test {

struct CUgraph_st;
struct CUgraphExec_st;
using CUgraph = CUgraph_st*;
using CUgraphExec = CUgraphExec_st*;

inline constexpr unsigned CU_STREAM_NON_BLOCKING = 1;
inline constexpr int CU_STREAM_CAPTURE_MODE_GLOBAL = 0;

/// What runtime/driver_api.hpp does not declare. Calls need a current context (OnDevice).
class StreamFunctions {
 public:
  using CUresult = cu::CUresult;
  using CUstream = cu::CUstream;

  CUresult (*cuStreamCreate)(CUstream* stream, unsigned flags);
  CUresult (*cuStreamSynchronize)(CUstream stream);
  CUresult (*cuStreamDestroy)(CUstream stream);
  CUresult (*cuStreamBeginCapture)(CUstream stream, int mode);
  CUresult (*cuStreamEndCapture)(CUstream stream, CUgraph* graph);
  CUresult (*cuGraphInstantiateWithFlags)(CUgraphExec* exec, CUgraph graph,
                                          unsigned long long flags);
  CUresult (*cuGraphLaunch)(CUgraphExec exec, CUstream stream);
  CUresult (*cuGraphExecDestroy)(CUgraphExec exec);
  CUresult (*cuGraphDestroy)(CUgraph graph);
  CUresult (*cuMemGetInfo)(std::size_t* free, std::size_t* total);

  static const StreamFunctions& get() {
    static const StreamFunctions functions;
    return functions;
  }

 private:
  StreamFunctions() {
    std::vector<std::string> failures;
    const DynamicLibrary library = DynamicLibrary::open({driver().path()}, failures);
    const auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(library ? library.symbol(name)
                                                                            : nullptr);
      if (!function) throw Error(ErrorCode::no_device, std::string("the driver lacks ") + name);
    };
    find(cuStreamCreate, "cuStreamCreate");
    find(cuStreamSynchronize, "cuStreamSynchronize");
    find(cuStreamDestroy, "cuStreamDestroy_v2");
    find(cuStreamBeginCapture, "cuStreamBeginCapture_v2");
    find(cuStreamEndCapture, "cuStreamEndCapture");
    find(cuGraphInstantiateWithFlags, "cuGraphInstantiateWithFlags");
    find(cuGraphLaunch, "cuGraphLaunch");
    find(cuGraphExecDestroy, "cuGraphExecDestroy");
    find(cuGraphDestroy, "cuGraphDestroy");
    find(cuMemGetInfo, "cuMemGetInfo_v2");
  }
};

/// Throws Error{driver} with the expression.
#define KILN_CU(call) driver().check(StreamFunctions::get().call, #call)

/// Makes a device's primary context current for a scope.
class OnDevice {
 public:
  explicit OnDevice(int ordinal) {
    driver().initialise();
    const cu::Functions& cuda = driver().functions();
    cu::CUdevice device = 0;
    cu::CUcontext context = nullptr;
    driver().check(cuda.cuDeviceGet(&device, ordinal), "cuDeviceGet");
    driver().check(cuda.cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
    driver().check(cuda.cuCtxPushCurrent(context), "cuCtxPushCurrent");
  }
  ~OnDevice() {
    cu::CUcontext ignored;
    driver().functions().cuCtxPopCurrent(&ignored);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
};

/// A stream that does not wait for the default stream, nor the default stream for it.
class Stream {
 public:
  explicit Stream(int ordinal = 0) : ordinal_(ordinal) {
    const OnDevice current(ordinal_);
    KILN_CU(cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING));
  }
  ~Stream() {
    const OnDevice current(ordinal_);
    StreamFunctions::get().cuStreamDestroy(stream_);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cu::CUstream get() const { return stream_; }
  int ordinal() const { return ordinal_; }
  void synchronize() const {
    const OnDevice current(ordinal_);
    KILN_CU(cuStreamSynchronize(stream_));
  }

 private:
  int ordinal_;
  cu::CUstream stream_ = nullptr;
};

/// What `calls` enqueues on the stream, captured in the mode that forbids the most.
class Graph {
 public:
  template <class Calls>
  Graph(const Stream& stream, Calls&& calls) : stream_(stream) {
    const OnDevice current(stream.ordinal());
    KILN_CU(cuStreamBeginCapture(stream.get(), CU_STREAM_CAPTURE_MODE_GLOBAL));
    try {
      calls();
    } catch (...) {
      StreamFunctions::get().cuStreamEndCapture(stream.get(), &graph_);
      throw;
    }
    KILN_CU(cuStreamEndCapture(stream.get(), &graph_));
    KILN_CU(cuGraphInstantiateWithFlags(&exec_, graph_, 0));
  }
  ~Graph() {
    const OnDevice current(stream_.ordinal());
    if (exec_) StreamFunctions::get().cuGraphExecDestroy(exec_);
    if (graph_) StreamFunctions::get().cuGraphDestroy(graph_);
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  /// Runs it once and waits.
  void replay() const {
    const OnDevice current(stream_.ordinal());
    KILN_CU(cuGraphLaunch(exec_, stream_.get()));
    KILN_CU(cuStreamSynchronize(stream_.get()));
  }

 private:
  const Stream& stream_;
  CUgraph graph_ = nullptr;
  CUgraphExec exec_ = nullptr;
};

}  // namespace kiln::test
