# What cli/bench adds to kiln_cli_parts: the commit, and CUPTI's and cuBLASLt's headers where a
# toolkit has them. Both libraries are opened at run time; nothing is linked.
set(build_info ${PROJECT_BINARY_DIR}/bench_build_info.cpp)
set(write_build_info ${CMAKE_COMMAND} -DOUT=${build_info} -DROOT=${PROJECT_SOURCE_DIR}
                     -P ${CMAKE_CURRENT_LIST_DIR}/build_info.cmake)
add_custom_target(kiln_bench_build_info COMMAND ${write_build_info} BYPRODUCTS ${build_info} VERBATIM)
add_dependencies(kiln_cli_parts kiln_bench_build_info)
target_sources(kiln_cli_parts PRIVATE ${build_info})

# Only these two files see the toolkit's headers.
function(kiln_use_toolkit_header header library file)
  string(TOUPPER ${library} name)
  if(KILN_USE_TOOLKIT)
    find_path(KILN_${name}_INCLUDE ${header}
              HINTS $ENV{CUDA_HOME} $ENV{CUDA_PATH} /usr/local/cuda /usr/local/cuda/extras/CUPTI
              PATH_SUFFIXES include)
    find_path(KILN_CUDA_INCLUDE cuda.h HINTS $ENV{CUDA_HOME} $ENV{CUDA_PATH} /usr/local/cuda
              PATH_SUFFIXES include)
  endif()
  if(KILN_USE_TOOLKIT AND KILN_${name}_INCLUDE AND KILN_CUDA_INCLUDE)
    set_source_files_properties(
      ${CMAKE_CURRENT_LIST_DIR}/${file} PROPERTIES
      COMPILE_DEFINITIONS KILN_HAS_${name}
      COMPILE_OPTIONS "-isystem;${KILN_${name}_INCLUDE};-isystem;${KILN_CUDA_INCLUDE}")
    message(STATUS "kiln bench: ${library} from ${KILN_${name}_INCLUDE}")
  else()
    message(STATUS "kiln bench: without ${library} (no ${header})")
  endif()
endfunction()
kiln_use_toolkit_header(cupti.h cupti cupti.cpp)
kiln_use_toolkit_header(cublasLt.h cublaslt cublaslt.cpp)
