# Where apache-tvm-ffi's headers and library are: in the Python that has the package. Sets
# KILN_TVM_FFI_INCLUDE and KILN_TVM_FFI_LIBRARY, or nothing.
set(KILN_PYTHON_EXECUTABLE "" CACHE FILEPATH
    "A Python that has apache-tvm-ffi; empty: that of .venv, or python3")
set(candidates ${KILN_PYTHON_EXECUTABLE} ${Python_EXECUTABLE})
if(NOT candidates)
  set(candidates ${PROJECT_SOURCE_DIR}/.venv/bin/python3 python3)
endif()
foreach(python ${candidates})
  if(NOT KILN_TVM_FFI_INCLUDE OR NOT KILN_TVM_FFI_LIBRARY)
    execute_process(COMMAND ${python} -m tvm_ffi.config --includedir OUTPUT_VARIABLE include
                    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE no_include)
    execute_process(COMMAND ${python} -m tvm_ffi.config --libdir OUTPUT_VARIABLE libdir
                    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE no_library)
    if(no_include EQUAL 0 AND no_library EQUAL 0)
      find_path(KILN_TVM_FFI_INCLUDE tvm/ffi/c_api.h PATHS ${include} NO_DEFAULT_PATH)
      find_library(KILN_TVM_FFI_LIBRARY tvm_ffi PATHS ${libdir} NO_DEFAULT_PATH)
    endif()
  endif()
endforeach()
